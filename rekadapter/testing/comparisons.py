"""Comparisons (1:1) made by hand, for tests of what reads them: made-up scores as answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from rekadapter.evaluation.answers import StoredAnswer, StoredCandidate
from rekadapter.evaluation.comparison_plan import CHECKED_PAIRS, PhotographPairs
from rekadapter.evaluation.evaluate import StoredEvaluation
from rekadapter.evaluation.outcomes import PersonId
from rekadapter.evaluation.protocol import Person, SplitRule, split_people
from rekadapter.evaluation.record import (
    ComparisonPlan,
    EvaluationRecord,
    Label,
    PairEntry,
    PersonEntry,
    Photograph,
    stated_keys,
)
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, mated_scores, pair_scores
from rekadapter.testing.evaluations import START, made_up_system


@dataclass(frozen=True, slots=True)
class PairDesign:
    """``people``, each compared with ``captures`` further photographs of their own, and each with
    everybody else once. ``groups`` take the people in turn; their models shift the mated scores."""

    people: int
    captures: int = 4
    groups: tuple[GroupModel, ...] = ()
    seed: int = 5


def made_up_comparisons(
    design: PairDesign,
    models: Mapping[str, ScoreModel],
    *,
    default_threshold: float,
    rules: Rules | None = None,
) -> StoredEvaluation:
    """A data set of pairs whose scores are drawn from each system's model."""
    record = _record(design, tuple(models), default_threshold, rules or Rules())
    answers = {
        answer.question.key: answer
        for number, (name, model) in enumerate(models.items())
        for answer in _answers(record, design, name, (model, number))
    }
    return StoredEvaluation(record, answers)


def _person(index: int) -> PersonId:
    return PersonId(f"p{index:05d}")


def _photograph(person: int, capture: int) -> Photograph:
    digest = hashlib.sha256(f"{person}-{capture}".encode()).hexdigest()
    return Photograph(sha256=digest, person=_person(person))


def _record(
    design: PairDesign, systems: Sequence[str], default_threshold: float, rules: Rules
) -> EvaluationRecord:
    everybody = [_person(index) for index in range(design.people)]
    rule = SplitRule(rules.calibration_share, rules.seed)
    split = split_people([Person(person) for person in everybody], rule)
    return EvaluationRecord(
        tool_version="test",
        rules=rules,
        stated=tuple(sorted(stated_keys(rules))),
        people=tuple(
            PersonEntry(
                id=person,
                enrolled=False,
                side="calibration" if person in split.calibration else "test",
                groups=_groups(design, index),
            )
            for index, person in enumerate(everybody)
        ),
        gallery=(),
        probes=(),
        systems=tuple(made_up_system(name, default_threshold) for name in systems),
        held_out=False,
        synthetic=True,
        comparisons=ComparisonPlan(
            exact=True,
            remote=True,
            calibration=tuple(sorted(split.calibration)),
            crossing=len(split.calibration) * len(split.test),
            pairs=tuple(_pairs(design)),
            photographs=tuple(
                _photograph(person, capture)
                for person in range(design.people)
                for capture in range(design.captures + 1)
            ),
        ),
    )


def _groups(design: PairDesign, index: int) -> tuple[Label, ...]:
    if not design.groups:
        return ()
    label = design.groups[index % len(design.groups)].label
    return (Label(attribute=label.attribute, value=label.value),)


def _pairs(design: PairDesign) -> Iterator[PairEntry]:
    """Mated pairs first, then non-mated ones, in the order of ``mated_scores`` and
    ``pair_scores``."""
    for person in range(design.people):
        for capture in range(1, design.captures + 1):
            yield _entry(_photograph(person, capture), _photograph(person, 0))
    for first, second in zip(*np.triu_indices(design.people, 1), strict=True):
        yield _entry(_photograph(int(first), 0), _photograph(int(second), 0))


def _entry(first: Photograph, second: Photograph) -> PairEntry:
    return PairEntry(first=first.sha256, second=second.sha256)


def _answers(
    record: EvaluationRecord, design: PairDesign, name: str, model: tuple[ScoreModel, int]
) -> Iterator[StoredAnswer]:
    assert record.comparisons is not None
    rng = np.random.default_rng([design.seed, 1 + model[1]])
    mated = mated_scores(model[0], design.people, design.captures, rng)
    scores = [*mated.scores, *pair_scores(model[0], design.people, rng).scores]
    shifts = [group.mated_shift for group in design.groups] or [0.0]
    for place, person in enumerate(mated.people):
        scores[place] += shifts[int(person) % len(shifts)]
    asked = questions(record, next(one for one in record.systems if one.name == name))
    people = {one.sha256: one.person for one in record.comparisons.photographs}
    for number, (pair, score) in enumerate(zip(record.comparisons.pairs, scores, strict=True)):
        yield StoredAnswer(
            question=asked.compare(pair),
            answered_at=START + timedelta(milliseconds=number),
            read_seconds=0.004,
            answer_seconds=0.08 + 0.001 * (number % 53),
            candidates=(StoredCandidate(people[pair.second], float(score)),),
        )


# --- searches that are compared too -----------------------------------------------------------


def with_compared_pairs(
    stored: StoredEvaluation, *, pairs: int = CHECKED_PAIRS, off_by: float = 0.0
) -> StoredEvaluation:
    """An evaluation of searches whose systems also compared some pairs, with scores that lie
    ``off_by`` above those of their searches."""
    record = stored.record
    people = [Person(PersonId(person.id)) for person in record.people]
    split = split_people(people, SplitRule(record.rules.calibration_share, record.rules.seed))
    drawn = PhotographPairs(record, split.calibration)
    half = pairs // 2
    chosen = (*list(drawn.mated())[:half], *list(drawn.nonmated())[: pairs - half])
    plan = ComparisonPlan(
        exact=False, remote=True, calibration=tuple(sorted(split.calibration)), pairs=chosen
    )
    record = record.model_copy(update={"comparisons": plan})
    answers = dict(stored.answers)
    owners = {one.sha256: one.person for one in record.gallery}
    probes = {one.sha256: one for one in record.probes}
    for entry in record.systems:
        asked = questions(record, entry)
        for pair in chosen:
            search = answers[asked.search(probes[pair.first]).key]
            found = [
                replace(one, score=one.score + off_by)
                for one in search.candidates
                if one.subject == owners[pair.second]
            ]
            compared = replace(
                search, question=asked.compare(pair), candidates=tuple(found), limit=0
            )
            answers[compared.question.key] = compared
    return replace(stored, record=record, answers=answers)
