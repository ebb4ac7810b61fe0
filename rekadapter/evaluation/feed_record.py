"""A run on feeds in the words of an evaluation: people, probes, systems, searches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from rekadapter.evaluation.answers import Kind, Question, Stage, StoredAnswer, StoredFailure
from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.outcomes import Failure, PersonId
from rekadapter.evaluation.protocol import Person, SplitRule, split_people
from rekadapter.evaluation.record import EvaluationRecord, PersonEntry, Photograph, SystemEntry
from rekadapter.evaluation.searches import AnsweredPhotograph, SystemOutcomes
from rekadapter.evaluation.summary import cameras_of
from rekadapter.evaluation.transits import Crossing, SystemTransits
from rekadapter.evaluation.truth import Truth
from rekadapter.evaluation.wording import many
from rekadapter.observation import BackendRecord, Run
from rekadapter.types import Reason

_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)


def feed_record(run: Run, inputs: FeedInputs, crossings: Sequence[Crossing]) -> EvaluationRecord:
    """Who is searched, who is enrolled, by which rules; each transit stands as one probe."""
    truth, rules = inputs.truth, inputs.rules
    if "name" not in inputs.stated:
        rules = rules.model_copy(update={"name": many(len(cameras_of(run)), "camera")})
    known = [one for one in crossings if not one.entry.nameless]
    people = tuple(_people(truth, known, rules.calibration_share, rules.seed)) if truth else ()
    return EvaluationRecord(
        tool_version=run.record.tool_version,
        rules=rules,
        stated=inputs.stated,
        people=people,
        gallery=tuple(_photograph("gallery", one.id) for one in people if one.enrolled),
        probes=tuple(_probe(one) for one in known),
        systems=tuple(_system(backend, inputs) for backend in run.record.backends),
        held_out=False,
    )


def _people(
    truth: Truth, known: Sequence[Crossing], share: float, seed: int
) -> Iterator[PersonEntry]:
    """Everybody enrolled, and everybody who crossed a view and has a name. One absent person alone
    cannot be split: nobody chooses a threshold then."""
    absent = sorted({one.entry.person for one in known if not one.enrolled})
    calibration: frozenset[PersonId] = frozenset()
    if len(absent) > 1:
        rule = SplitRule(share, seed)
        everybody = [Person(PersonId(one)) for one in absent]
        calibration = split_people(everybody, rule).calibration
    for person in sorted({*truth.gallery, *absent}):
        yield PersonEntry(
            id=person,
            enrolled=person in truth.gallery,
            side="calibration" if person in calibration else "test",
            groups=truth.labels(person),
        )


def _photograph(kind: str, name: str) -> Photograph:
    return Photograph(sha256=hashlib.sha256(f"{kind}\x00{name}".encode()).hexdigest(), person=name)


def _probe(crossing: Crossing) -> Photograph:
    entry = crossing.entry
    return Photograph(
        sha256=hashlib.sha256(f"transit\x00{crossing.id}".encode()).hexdigest(),
        person=entry.person,
        camera=entry.camera,
        transit=crossing.id,
    )


def _system(backend: BackendRecord, inputs: FeedInputs) -> SystemEntry:
    known = inputs.system(backend.name)
    scale = backend.scale
    return SystemEntry(
        name=backend.name,
        kind=backend.kind,
        model=backend.model,
        remote=backend.remote,
        scale=scale.name,
        scale_low=scale.low,
        scale_high=scale.high,
        higher_is_closer=scale.higher_is_closer,
        default_threshold=known.default_threshold if known else backend.threshold,
        match_all=scale.low if scale.higher_is_closer else scale.high,
        max_candidates=1,
        details=dict(backend.details),
        prices=known.prices if known else (),
    )


def feed_outcomes(
    record: EvaluationRecord, entry: SystemEntry, found: SystemTransits | None
) -> SystemOutcomes:
    """What one system made of the transits whose people have a name, each transit a search."""
    answers = [a for a in found.answers if a.search is not None] if found else []
    sides = {person.id: person.side for person in record.people}
    probes = {one.transit: one for one in record.probes}
    searches = [one.search for one in answers if one.search is not None]
    answered = {
        one.search_id: _answered(probes[one.search_id], entry, _stored_failure(one.failure))
        for one in searches
    }
    return SystemOutcomes(
        entry=entry,
        enrollments=(),
        enroll_answers=(),
        answered=tuple(answered.values()),
        calibration=tuple(o for o in searches if sides[o.person] == "calibration"),
        test=tuple(o for o in searches if sides[o.person] == "test"),
        members={name: (one,) for name, one in answered.items()},
        missing=0,
    )


def _stored_failure(failure: Failure | None) -> StoredFailure | None:
    if failure is None:
        return None
    lost = failure.cause == str(Reason.REQUEST_FAILED)
    return StoredFailure(Stage.REQUEST if lost else Stage.ACQUIRE, failure.cause)


def _answered(
    probe: Photograph, entry: SystemEntry, failure: StoredFailure | None
) -> AnsweredPhotograph:
    """A transit as an answer, so that failures are counted by cause; scores are elsewhere."""
    question = Question(Kind.SEARCH, entry.name, entry.identity, "", probe.sha256)
    answer = StoredAnswer(question, _NO_TIME, 0.0, 0.0, failure=failure)
    return AnsweredPhotograph(probe, answer)
