"""A resolution sweep made by hand, for tests of what reads it: scores that fall with the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rekadapter.evaluation.answers import Stage, StoredAnswer, StoredCandidate, StoredFailure
from rekadapter.evaluation.evaluate import StoredEvaluation
from rekadapter.evaluation.record import MeasuredEyes, SweepPlan
from rekadapter.evaluation.rules import SweepStream
from rekadapter.evaluation.runner import questions
from rekadapter.evaluation.sweep_plan import at_step, cohort, steps


def with_made_up_sweep(
    stored: StoredEvaluation,
    lost: Mapping[float, float],
    *,
    native_px: float = 130.0,
    no_face_below_px: float = 0.0,
    streams: Mapping[SweepStream, float] = MappingProxyType({}),
) -> StoredEvaluation:
    """An evaluation of searches, swept: at each size of ``lost`` every mate's score is that much
    lower, and behind a stream by what ``streams`` says besides. Below ``no_face_below_px`` every
    fourth photograph shows no face any more."""
    record = stored.record
    test = {person.id for person in record.people if person.side == "test"}
    plan = SweepPlan(
        eye_px=tuple(sorted(lost, reverse=True)),
        quality=80,
        min_side_px=80,
        finder="made up",
        streams=tuple(streams),
        measured=tuple(
            MeasuredEyes(sha256=probe.sha256, eye_px=native_px)
            for probe in record.probes
            if probe.person in test
        ),
    )
    record = record.model_copy(update={"sweep": plan})
    answers = dict(stored.answers)
    for entry in record.systems:
        asked = questions(record, entry)
        for step in steps(plan):
            less = lost[step.eye_px] + (streams[step.stream] if step.stream else 0.0)
            made = zip(cohort(record), at_step(record, step).probes, strict=True)
            for number, (original, smaller) in enumerate(made):
                found = answers[asked.search(original).key]
                unseen = step.eye_px < no_face_below_px and number % 4 == 0
                answer = _smaller(found, original.person, less, unseen=unseen)
                question = asked.search(smaller)
                answers[question.key] = replace(answer, question=question)
    return replace(stored, record=record, answers=answers)


def _smaller(answer: StoredAnswer, mate: str, less: float, *, unseen: bool) -> StoredAnswer:
    if unseen:
        return replace(answer, candidates=(), failure=StoredFailure(Stage.ACQUIRE, "NO_FACE"))
    lower = [
        StoredCandidate(one.subject, one.score - less if one.subject == mate else one.score)
        for one in answer.candidates
    ]
    lower.sort(key=lambda one: -one.score)
    return replace(answer, candidates=tuple(lower))
