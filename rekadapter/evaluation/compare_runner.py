"""Compares photographs 1:1 through each system's own compare operation, once and for all.

The largest face of either picture counts: a system may compare the largest of the first with every
face of the second, and the best of many faces would be a match that nobody asked for. Scores are
uncensored, and a picture without a face is an answer, as in searches.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from rekadapter.evaluation.answers import AnswerStore, StoredAnswer, StoredCandidate
from rekadapter.evaluation.asking import (
    Asking,
    Given,
    Progress,
    acquire_failure,
    request_ids,
    searched_face,
)
from rekadapter.evaluation.comparison_plan import photographs_by_digest
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample
from rekadapter.evaluation.record import EvaluationRecord, PairEntry, SystemEntry
from rekadapter.evaluation.runner import Options, SystemUnderTest, questions, still_open
from rekadapter.imaging import Image
from rekadapter.recognizer import QualityFilter
from rekadapter.types import Verification

NOT_COMPARED = "NOT_COMPARED"
"""Cause of a comparison in which the system saw the face and gave no score all the same."""


def pending_comparisons(
    record: EvaluationRecord, name: str, store: AnswerStore, options: Options
) -> int:
    """How many comparisons one system has to make: the base of every estimate."""
    return len(_open_pairs(record, name, store, options))


def collect_comparisons(
    system: SystemUnderTest,
    inputs: ComparisonInputs,
    store: AnswerStore,
    options: Options,
    stop: threading.Event,
    progress: Progress,
) -> int:
    """Makes every comparison that has no answer; returns early once ``stop`` is set.

    Returns how many had to be made.

    Raises:
        BackendError: nothing can be asked of this system now; what was answered is kept.
        OutputError: an answer cannot be written.
    """
    waiting = _open_pairs(inputs.record, system.name, store, options)
    if waiting:
        label = f"{system.name}, 1:1"
        asking = Asking(label, system.workers, store, options.session, stop, progress)
        progress.started(label, len(waiting))
        asker = _Comparer(system, inputs, asking)
        asking.each(waiting, asker.answer)
    return len(waiting)


@dataclass(frozen=True, slots=True)
class ComparisonInputs:
    """The record, and the photographs behind its digests."""

    record: EvaluationRecord
    samples: dict[str, CheckedSample]

    @classmethod
    def of(cls, record: EvaluationRecord, checked: CheckedDataset) -> ComparisonInputs:
        compared = (one for pair in checked.pairs for one in (pair.first, pair.second))
        everything = (*checked.gallery, *checked.probes, *compared)
        return cls(record, {one.sha256: one for one in everything})


def planned_pairs(record: EvaluationRecord, entry: SystemEntry) -> tuple[PairEntry, ...]:
    """The pairs that a system is to compare; none of a remote one that nobody asked for."""
    plan = record.comparisons
    if plan is None or (entry.remote and not plan.remote):
        return ()
    return plan.pairs


def _open_pairs(
    record: EvaluationRecord, name: str, store: AnswerStore, options: Options
) -> list[PairEntry]:
    entry = next(one for one in record.systems if one.name == name)
    asker = questions(record, entry)
    return [
        pair
        for pair in planned_pairs(record, entry)
        if still_open(store.get(asker.compare(pair)), options)
    ]


class _Comparer:
    """Asks one system."""

    def __init__(self, system: SystemUnderTest, inputs: ComparisonInputs, asking: Asking) -> None:
        entry = next(one for one in inputs.record.systems if one.name == system.name)
        self._questions = questions(inputs.record, entry)
        self._recognizer = system.recognizer
        self._samples = inputs.samples
        self._photographs = photographs_by_digest(inputs.record)
        self._asking = asking

    def answer(self, pair: PairEntry) -> StoredAnswer:
        def read() -> tuple[Image, Image]:
            first, second = (self._samples[sha].sample.image() for sha in (pair.first, pair.second))
            _ = first.pixels, second.pixels
            return first, second

        def ask(images: tuple[Image, Image]) -> Given:
            answer = self._recognizer.verify(
                *images,
                threshold=self._recognizer.capabilities.match_all,
                quality=QualityFilter.NONE,
            )
            return _given(answer, self._photographs[pair.second].person)

        return self._asking.answered(self._questions.compare(pair), read, ask)


def _given(answer: Verification, person: str) -> Given:
    ids = request_ids(answer.original)
    face = searched_face(answer.source) if answer.source else None
    if answer.failure is not None:
        return Given(
            failure=acquire_failure(str(answer.failure.reason)), face=face, request_ids=ids
        )
    compared = max(answer.comparisons, key=lambda one: one.face.box.area, default=None)
    if compared is None or compared.score is None:
        return Given(failure=acquire_failure(NOT_COMPARED), face=face, request_ids=ids)
    raw = compared.raw_score.value if compared.raw_score else None
    found = StoredCandidate(person, compared.score.value, raw)
    return Given(candidates=(found,), face=face, request_ids=ids)
