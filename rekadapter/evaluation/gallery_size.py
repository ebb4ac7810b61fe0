"""How error rates move with the size of the gallery.

Were a search of N people N independent comparisons, FPIR(N) = 1 - (1 - FMR)^N. Some engines do not
work that way (NIST, FRTE 1:N), so the effect is measured on parts of the gallery and printed beside
that extrapolation. The parts are cut from complete candidate lists; they show what a smaller
gallery would have given if a score does not depend on who else is enrolled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rekadapter.errors import UsageError
from rekadapter.evaluation.columns import CodeArray, Names
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    SearchTable,
    fnir_unknown,
    fpir_unknown,
    search_table,
)
from rekadapter.evaluation.outcomes import PersonId, RankedSubjects, SearchOutcome
from rekadapter.evaluation.statistics import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class SizePlan:
    """Which parts of the gallery to measure, at which rank, how often, with which seed."""

    fractions: tuple[float, ...] = (0.25, 0.5, 1.0)
    draws: int = 20
    rank: int = ANY_RANK
    seed: int = 5

    def __post_init__(self) -> None:
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ValueError("parts of a gallery are fractions above 0 and up to 1")
        if self.draws < 1:
            raise ValueError("a gallery part is drawn at least once")


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and range of a rate over several draws of the gallery; None where no draw gave one."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class GallerySizePoint:
    """Rates at one gallery size. ``fpir_if_independent`` extrapolates from the smallest size."""

    size: int
    draws: int
    fpir: Spread
    fnir: Spread
    fpir_if_independent: float | None


@dataclass(frozen=True, slots=True)
class GallerySizeEffect:
    """Rates at rising gallery sizes and one threshold; empty, with a reason, where refused."""

    threshold: float
    points: tuple[GallerySizePoint, ...]
    reason: str = ""


def fpir_if_independent(fmr: float, size: int) -> float:
    """FPIR of a gallery of ``size`` if a search were that many independent comparisons."""
    return -math.expm1(size * math.log1p(-fmr)) if fmr < 1 else 1.0


def fmr_if_independent(fpir: float, size: int) -> float:
    """The FMR per comparison that such a gallery's FPIR would imply."""
    return -math.expm1(math.log1p(-fpir) / size) if fpir < 1 else 1.0


def gallery_size_effect(
    outcomes: Sequence[SearchOutcome],
    gallery: Sequence[PersonId],
    threshold: float,
    plan: SizePlan | None = None,
) -> GallerySizeEffect:
    """FPIR and FNIR at parts of the gallery and one threshold.

    FNIR is that of the mated searches whose mate is in the part drawn. Refused where candidate
    lists were cut above the threshold: then a smaller gallery might have shown others.

    Raises:
        UsageError: a candidate is not in the gallery.
    """
    plan = plan or SizePlan()
    table = search_table(outcomes)
    unknown = _unknown(table, outcomes, threshold) if gallery else "nobody is enrolled"
    if unknown:
        return GallerySizeEffect(threshold, (), unknown)
    lists = _candidate_lists(outcomes, gallery, threshold)
    rng = np.random.default_rng(plan.seed)
    points: list[GallerySizePoint] = []
    for size in sorted({max(1, round(f * len(lists.subjects))) for f in plan.fractions}):
        draws = 1 if size == len(lists.subjects) else plan.draws
        rates = [_rates(lists, _draw(rng, lists, size), threshold, plan.rank) for _ in range(draws)]
        fpir = _spread([rate.fpir for rate in rates])
        base = points[0] if points else None
        points.append(
            GallerySizePoint(
                size=size,
                draws=draws,
                fpir=fpir,
                fnir=_spread([rate.fnir for rate in rates]),
                fpir_if_independent=_extrapolated(base, size) if base else fpir.mean,
            )
        )
    return GallerySizeEffect(threshold, tuple(points))


def _extrapolated(base: GallerySizePoint, size: int) -> float | None:
    if base.fpir.mean is None:
        return None
    return fpir_if_independent(fmr_if_independent(base.fpir.mean, base.size), size)


def _unknown(table: SearchTable, outcomes: Sequence[SearchOutcome], threshold: float) -> str:
    known = fnir_unknown(table, threshold) or fpir_unknown(table, threshold)
    full = any(
        o.cut and o.cut.max_candidates == len(o.candidates) and o.candidates[-1].score >= threshold
        for o in outcomes
    )
    cut = "candidate lists were cut above the threshold: a smaller gallery may have shown others"
    return known or (cut if full else "")


@dataclass(frozen=True, slots=True, eq=False)
class _CandidateLists:
    """The candidates that a rate may hang on in one row (candidates,): search, subject, and whether
    they stand at or above the threshold, and the mate; per search: mate's code (-1 for none) and
    mate's score. All others change nothing, and there are many."""

    subjects: IntArray
    search: CodeArray
    subject: CodeArray
    at_or_above_threshold: BoolArray
    at_or_above_mate: BoolArray
    mate: IntArray
    mate_score: FloatArray


def _candidate_lists(
    outcomes: Sequence[SearchOutcome], gallery: Sequence[PersonId], threshold: float
) -> _CandidateLists:
    members = _Members(gallery)
    parts = [members.listed(outcome, threshold) for outcome in outcomes]
    members.refuse_strangers()
    rows = [part.subject.size for part in parts]
    return _CandidateLists(
        subjects=np.arange(members.count),
        search=np.repeat(np.arange(len(parts), dtype=np.int32), rows),
        subject=_in_a_row([part.subject for part in parts]),
        at_or_above_threshold=_in_a_row([part.at_or_above_threshold for part in parts]),
        at_or_above_mate=_in_a_row([part.at_or_above_mate for part in parts]),
        mate=np.array([part.mate for part in parts], dtype=np.intp),
        mate_score=np.array([part.mate_score for part in parts], dtype=np.float64),
    )


_Array = TypeVar("_Array", CodeArray, BoolArray)


def _in_a_row(parts: Sequence[_Array]) -> _Array:
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Listed:
    """The candidates of one search that a rate may hang on (candidates,)."""

    subject: CodeArray
    at_or_above_threshold: BoolArray
    at_or_above_mate: BoolArray
    mate: int
    mate_score: float


class _Members:
    """The members of a gallery by number, and who is listed without being one."""

    def __init__(self, gallery: Sequence[PersonId]) -> None:
        self._names = Names()
        self._names.codes(gallery)
        self._tables: dict[Names, CodeArray] = {}
        self._strangers: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._names.all())

    def listed(self, outcome: SearchOutcome, threshold: float) -> _Listed:
        ranked = outcome.ranked
        mate_score = ranked.score_of(outcome.person) if outcome.mated else -math.inf
        above = ranked.scores >= threshold
        above_mate = (ranked.scores >= mate_score) & np.isfinite(mate_score)
        kept = above | above_mate
        return _Listed(
            subject=self._codes(ranked)[kept],
            at_or_above_threshold=above[kept],
            at_or_above_mate=above_mate[kept],
            mate=self._mate(outcome),
            mate_score=mate_score,
        )

    def refuse_strangers(self) -> None:
        if self._strangers:
            raise UsageError(
                f"{len(self._strangers)} candidates or mates are not in the gallery given: "
                "list everyone who was to be enrolled"
            )

    def _mate(self, outcome: SearchOutcome) -> int:
        if not outcome.mated:
            return -1
        code = self._names.code(outcome.person)
        if code < 0:
            self._strangers.add(outcome.person)
        return code

    def _codes(self, ranked: RankedSubjects) -> CodeArray:
        """By a table for each set of names: many lists share theirs."""
        if ranked.names not in self._tables:
            numbers = map(self._names.code, ranked.names.all())
            self._tables[ranked.names] = np.fromiter(numbers, dtype=np.int32)
        codes: CodeArray = self._tables[ranked.names][ranked.codes]
        if (codes < 0).any():
            own = zip(ranked.subjects(), codes.tolist(), strict=True)
            self._strangers |= {subject for subject, code in own if code < 0}
        return codes


@dataclass(frozen=True, slots=True)
class _Rates:
    fpir: float | None
    fnir: float | None


def _draw(rng: np.random.Generator, lists: _CandidateLists, size: int) -> BoolArray:
    kept = np.zeros(lists.subjects.size, dtype=np.bool_)
    kept[rng.choice(lists.subjects, size=size, replace=False)] = True
    return kept


def _rates(lists: _CandidateLists, kept: BoolArray, threshold: float, rank: int) -> _Rates:
    searches = lists.mate.size
    listed = kept[lists.subject]
    alerts = np.bincount(lists.search[listed & lists.at_or_above_threshold], minlength=searches) > 0
    ahead = np.bincount(lists.search[listed & lists.at_or_above_mate], minlength=searches)
    nonmated = lists.mate < 0
    mated = ~nonmated & kept[lists.mate]
    hit = (lists.mate_score >= threshold) & np.isfinite(lists.mate_score) & (ahead <= rank)
    return _Rates(
        fpir=float(alerts[nonmated].mean()) if nonmated.any() else None,
        fnir=float((~hit[mated]).mean()) if mated.any() else None,
    )


def _spread(rates: list[float | None]) -> Spread:
    known = [rate for rate in rates if rate is not None]
    if not known:
        return Spread(None, None, None)
    return Spread(float(np.mean(known)), min(known), max(known))
