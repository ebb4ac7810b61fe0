"""Evaluations made by hand, for tests of what reads them: made-up scores stored as answers are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from rekadapter.evaluation.answers import SearchedFace, Stage, StoredAnswer, StoredCandidates
from rekadapter.evaluation.answers import StoredFailure as Failed
from rekadapter.evaluation.evaluate import StoredEvaluation
from rekadapter.evaluation.outcomes import PersonId, RankedSubjects, SearchOutcome
from rekadapter.evaluation.protocol import Person, SplitRule, split_people
from rekadapter.evaluation.record import (
    EvaluationRecord,
    Label,
    PersonEntry,
    Photograph,
    SystemEntry,
    stated_keys,
)
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.synthetic import ScoreModel, SearchDesign, simulate_searches

START: Final = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def made_up_evaluation(
    design: SearchDesign,
    models: Mapping[str, ScoreModel],
    *,
    default_threshold: float,
    rules: Rules | None = None,
) -> StoredEvaluation:
    """Scores drawn from each system's model, as if its answers had been stored.

    The record is marked synthetic, so that no report of it can conclude anything.
    """
    searched = {
        name: simulate_searches(design, model, system)
        for system, (name, model) in enumerate(models.items())
    }
    outcomes = next(iter(searched.values()))
    record = _record(design, outcomes, tuple(models), default_threshold, rules or Rules())
    answers = {
        answer.question.key: answer
        for name, own in searched.items()
        for answer in _answers(record, name, own)
    }
    return StoredEvaluation(record, answers)


def _record(
    design: SearchDesign,
    outcomes: tuple[SearchOutcome, ...],
    systems: tuple[str, ...],
    default_threshold: float,
    rules: Rules,
) -> EvaluationRecord:
    groups = {outcome.person: outcome.groups for outcome in outcomes}
    absent = [
        Person(o.person, o.groups) for o in {o.person: o for o in outcomes if not o.mated}.values()
    ]
    calibration = split_people(absent, SplitRule(rules.calibration_share, rules.seed)).calibration
    people = sorted({*groups, *design.gallery_people})
    return EvaluationRecord(
        tool_version="test",
        rules=rules,
        stated=tuple(sorted(stated_keys(rules))),
        people=tuple(
            PersonEntry(
                id=person,
                enrolled=person.startswith("g"),
                side="calibration" if person in calibration else "test",
                groups=tuple(
                    Label(attribute=g.attribute, value=g.value) for g in groups.get(person, ())
                ),
            )
            for person in people
        ),
        gallery=tuple(_photograph(f"{p}-enrolled", p) for p in design.gallery_people),
        probes=tuple(_photograph(outcome.search_id, outcome.person) for outcome in outcomes),
        systems=tuple(made_up_system(name, default_threshold) for name in systems),
        held_out=False,
        synthetic=True,
    )


def _photograph(name: str, person: PersonId) -> Photograph:
    return Photograph(sha256=hashlib.sha256(name.encode()).hexdigest(), person=person)


def made_up_system(name: str, default_threshold: float) -> SystemEntry:
    """A system of this machine with scores around 0 to 1, higher closer."""
    return SystemEntry(
        name=name,
        kind="local",
        model=f"{name} v1",
        remote=False,
        scale=f"{name} similarity",
        scale_low=-10.0,
        scale_high=10.0,
        higher_is_closer=True,
        default_threshold=default_threshold,
        match_all=-10.0,
        max_candidates=4096,
        details={"license": "CC0"},
    )


def _answers(
    record: EvaluationRecord, system: str, outcomes: tuple[SearchOutcome, ...]
) -> Iterator[StoredAnswer]:
    asked = questions(record, next(one for one in record.systems if one.name == system))
    for number, photograph in enumerate(record.gallery):
        yield StoredAnswer(
            question=asked.enroll(photograph),
            answered_at=START + timedelta(seconds=number),
            read_seconds=0.002,
            answer_seconds=0.05,
            enrolled=1,
        )
    for number, (photograph, outcome) in enumerate(zip(record.probes, outcomes, strict=True)):
        failed = outcome.failure
        yield StoredAnswer(
            question=asked.search(photograph),
            answered_at=START + timedelta(seconds=1000 + number),
            read_seconds=0.002,
            answer_seconds=0.05 + 0.001 * (number % 97),
            candidates=_stored(outcome.ranked),
            limit=4096,
            failure=Failed(Stage.ACQUIRE, failed.cause) if failed else None,
            face=None if failed else SearchedFace(eye_distance_px=40.0 + number % 31),
        )


def _stored(ranked: RankedSubjects) -> StoredCandidates:
    return StoredCandidates(ranked.names, ranked.codes, ranked.scores, None)
