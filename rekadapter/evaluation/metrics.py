"""Error rates of searches (1:N) and comparisons (1:1), as ISO/IEC 19795-1 and NIST name them.

Every threshold is inclusive: a score equal to it counts as at or above. Failures stay in every
denominator with score minus infinity. Ties go against the system: a mate whose score others share
ranks behind them. Each rate comes as trials (which erred, and whose they were), so that
``statistics`` can say how sure it is; a point that a cut candidate list cannot answer is refused.

Definitions: ISO/IEC 19795-1:2021 through NIST's FRTE reports (nvlpubs.nist.gov, NISTIR 8271 for
1:N, NISTIR 8238 for FNIR(N, R, T)).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    EnrollmentOutcome,
    PersonId,
    SearchOutcome,
)
from rekadapter.evaluation.statistics import (
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    PairTrials,
    Settings,
    Trials,
    estimate_mean,
    estimate_rate,
    refused,
)

ANY_RANK: Final = np.iinfo(np.intp).max
"""The rank limit of a search that counts a mate anywhere in the list."""
NO_THRESHOLD: Final = -math.inf
"""The threshold of investigation: the list counts, whatever its scores."""


# --- searches as arrays -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class MatedSearches:
    """Mated searches as arrays, one row each.

    ``score``: the mate's, minus infinity where the mate is not in the list. ``rank``: 1 + the
    number of others at or above the mate's score; ``ANY_RANK`` where there is none. ``hidden_at``:
    the mate may stand, unseen, at or below this score (minus infinity: the list was complete).
    ``listed``: candidates returned. ``floor``: no score below it was returned.
    """

    score: FloatArray
    rank: IntArray
    listed: IntArray
    hidden_at: FloatArray
    floor: FloatArray
    people: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class NonmatedSearches:
    """Non-mated searches as arrays, one row each; ``top`` is minus infinity for an empty list.

    ``hidden_at``: more candidates may stand, unseen, at or below this score. ``listed`` holds each
    search's candidate scores (candidates,), those of the outcomes and no copies.
    """

    top: FloatArray
    floor: FloatArray
    hidden_at: FloatArray
    people: IntArray
    listed: tuple[FloatArray, ...]

    def candidates_at(self, threshold: float) -> IntArray:
        """Candidates at or above a threshold by search (n,)."""
        counts = [np.count_nonzero(scores >= threshold) for scores in self.listed]
        return np.array(counts, dtype=np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class SearchTable:
    """Outcomes of one system on one gallery as arrays; ``person_ids[code]`` names a person."""

    mated: MatedSearches
    nonmated: NonmatedSearches
    person_ids: tuple[PersonId, ...]

    @property
    def people(self) -> frozenset[PersonId]:
        return frozenset(self.person_ids)


def search_table(outcomes: Iterable[SearchOutcome]) -> SearchTable:
    """Search outcomes as arrays. The order of the outcomes does not matter to any figure."""
    searches = tuple(outcomes)
    ids = tuple(sorted({outcome.person for outcome in searches}))
    code = {person: index for index, person in enumerate(ids)}
    mated = [outcome for outcome in searches if outcome.mated]
    nonmated = [outcome for outcome in searches if not outcome.mated]
    return SearchTable(_mated_rows(mated, code), _nonmated_rows(nonmated, code), ids)


def _mated_rows(searches: list[SearchOutcome], code: dict[PersonId, int]) -> MatedSearches:
    scores = [_mate_score(outcome) for outcome in searches]
    found = list(zip(searches, scores, strict=True))
    return MatedSearches(
        score=np.array(scores, dtype=np.float64),
        rank=np.array([_rank(outcome, score) for outcome, score in found], dtype=np.intp),
        listed=np.array([len(outcome.candidates) for outcome in searches], dtype=np.intp),
        hidden_at=np.array(
            [_hidden_at(outcome) if score == -math.inf else -math.inf for outcome, score in found],
            dtype=np.float64,
        ),
        floor=_floors(searches),
        people=np.array([code[outcome.person] for outcome in searches], dtype=np.intp),
    )


def _nonmated_rows(searches: list[SearchOutcome], code: dict[PersonId, int]) -> NonmatedSearches:
    return NonmatedSearches(
        top=np.array(
            [o.candidates[0].score if o.candidates else -math.inf for o in searches],
            dtype=np.float64,
        ),
        floor=_floors(searches),
        hidden_at=np.array([_hidden_at(outcome) for outcome in searches], dtype=np.float64),
        people=np.array([code[outcome.person] for outcome in searches], dtype=np.intp),
        listed=tuple(outcome.ranked.scores for outcome in searches),
    )


def _mate_score(outcome: SearchOutcome) -> float:
    return outcome.ranked.score_of(outcome.person)


def _rank(outcome: SearchOutcome, mate_score: float) -> int:
    if mate_score == -math.inf:
        return int(ANY_RANK)
    return int(np.count_nonzero(outcome.ranked.scores >= mate_score))


def _hidden_at(outcome: SearchOutcome) -> float:
    """The lowest score returned where the list is as long as it may be; others may tie with it."""
    length = outcome.cut.max_candidates if outcome.cut else None
    full = length is not None and len(outcome.candidates) == length
    return outcome.candidates[-1].score if full else -math.inf


def _floors(searches: list[SearchOutcome]) -> FloatArray:
    floors = (o.cut.floor if o.cut and not o.failure else None for o in searches)
    return np.array([-math.inf if f is None else f for f in floors], dtype=np.float64)


# --- what cut lists cannot answer -------------------------------------------------------------


def fnir_unknown(table: SearchTable, threshold: float, rank: int = ANY_RANK) -> str:
    """Why FNIR at this threshold and rank cannot be known, or an empty text where it can."""
    mated = table.mated
    beyond = np.isneginf(mated.score) & (mated.listed < rank)
    below = beyond & (mated.floor > threshold)
    if below.any():
        return _below_floor(float(mated.floor[below].max()), threshold)
    hidden = beyond & np.isfinite(mated.hidden_at) & (mated.hidden_at >= threshold)
    if hidden.any():
        return (
            f"{int(hidden.sum())} candidate lists were cut before their mate could appear: "
            "give a rank within the lists, or ask for longer ones"
        )
    return ""


def fpir_unknown(table: SearchTable, threshold: float) -> str:
    """Why FPIR at this threshold cannot be known, or an empty text where it can."""
    below = np.isneginf(table.nonmated.top) & (table.nonmated.floor > threshold)
    return _below_floor(float(table.nonmated.floor[below].max()), threshold) if below.any() else ""


def _below_floor(floor: float, threshold: float) -> str:
    return (
        f"scores below {floor:g} were not returned, so nothing is known at {threshold:g}: "
        "collect uncensored scores"
    )


# --- rates of searches ------------------------------------------------------------------------


def fnir(table: SearchTable, threshold: float, rank: int = ANY_RANK) -> Trials:
    """FNIR(N, R, t): mated searches whose mate is not among the first ``rank`` at or above t.

    With ``NO_THRESHOLD`` this is the rank-k miss rate of investigation. A failure is a miss at any
    threshold.
    """
    mated = table.mated
    hit = (mated.rank <= rank) & (mated.score >= threshold) & ~np.isneginf(mated.score)
    return Trials(~hit, mated.people)


def fpir(table: SearchTable, threshold: float) -> Trials:
    """FPIR(N, t): non-mated searches with at least one candidate at or above t.

    A failed search raises no alert and stays in the denominator; read FPIR beside the failures.
    """
    top = table.nonmated.top
    return Trials((top >= threshold) & ~np.isneginf(top), table.nonmated.people)


def cmc(table: SearchTable, ranks: Sequence[int]) -> FloatArray:
    """CMC(k) for each rank (ranks,): the share of mated searches with the mate among the first k.

    Failures and mates that are not in the list count as misses. nan without mated searches.
    """
    return np.array([1 - fnir(table, NO_THRESHOLD, rank).rate for rank in ranks], dtype=np.float64)


def selectivity(table: SearchTable, threshold: float, settings: Settings | None = None) -> Estimate:
    """Mean candidates per non-mated search at or above t: what a reviewer has to look through.

    Refused where the candidate lists were cut above the threshold.
    """
    searches = table.nonmated
    counts = searches.candidates_at(threshold)
    cut = (searches.floor > threshold) | (searches.hidden_at >= threshold)
    if np.any(cut & ~np.isneginf(np.maximum(searches.floor, searches.hidden_at))):
        reason = f"candidate lists were cut above {threshold:g}: some candidates were not counted"
        return refused(int(counts.size), None, int(np.unique(searches.people).size), reason)
    return estimate_mean(counts.astype(np.float64), searches.people, settings)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One system at one threshold: what it misses, what it falsely alerts, what it asks to review.

    ``basis`` says where the threshold comes from, in words: "shipped default 80", or "FPIR 0.01 on
    the calibration people". ``threshold`` is None where none could be chosen: then every figure is
    refused with the reason. ``rank`` None counts a mate anywhere in the list.
    """

    basis: str
    threshold: float | None
    rank: int | None
    fnir: Estimate
    fpir: Estimate
    selectivity: Estimate

    @property
    def tpir(self) -> Estimate:
        """The chance that a person in the gallery is found."""
        return self.fnir.complement()


def operating_point(
    table: SearchTable,
    basis: str,
    threshold: float,
    rank: int = ANY_RANK,
    settings: Settings | None = None,
) -> OperatingPoint:
    """FNIR, FPIR and selectivity at one threshold, such as a system's shipped default."""
    unknown = fnir_unknown(table, threshold, rank), fpir_unknown(table, threshold)
    return OperatingPoint(
        basis=basis,
        threshold=threshold,
        rank=None if rank == ANY_RANK else rank,
        fnir=known_rate(fnir(table, threshold, rank), unknown[0], settings),
        fpir=known_rate(fpir(table, threshold), unknown[1], settings),
        selectivity=selectivity(table, threshold, settings),
    )


def known_rate(trials: Trials, unknown: str, settings: Settings | None) -> Estimate:
    """The rate of the trials, or a refusal where ``unknown`` says that it cannot be known."""
    if unknown:
        people = int(np.unique(trials.people).size)
        return refused(int(trials.errors.size), None, people, unknown)
    return estimate_rate(trials, settings)


# --- DET --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class DetCurve:
    """Two error rates at rising thresholds, arrays (points,).

    ``false_positive`` (FPIR or FMR) never rises with the threshold, ``false_negative`` (FNIR or
    FNMR) never falls. ``cut_at`` is the score below which the system returned nothing, where it
    did: the curve starts there. Raw rates: intervals belong to the operating points.
    """

    threshold: FloatArray
    false_positive: FloatArray
    false_negative: FloatArray
    cut_at: float | None = None

    def thinned(self, most: int) -> DetCurve:
        """At most ``most`` of the points, ends kept, for drawing: the rest lie between them."""
        if most < 2:
            raise ValueError("a curve needs at least two points")
        if self.threshold.size <= most:
            return self
        moves = np.hypot(np.diff(_logs(self.false_positive)), np.diff(_logs(self.false_negative)))
        # rounded, so that the last bits of a logarithm do not decide which point is kept
        along = np.concatenate([[0.0], np.cumsum(moves)]).round(9)
        wanted = np.searchsorted(along, np.linspace(0, along[-1], most).round(9)).clip(
            max=along.size - 1
        )
        keep = np.unique(np.concatenate([[0], wanted[1:-1], [along.size - 1]]))
        return DetCurve(
            self.threshold[keep], self.false_positive[keep], self.false_negative[keep], self.cut_at
        )


def det_curve(table: SearchTable, rank: int = ANY_RANK) -> DetCurve:
    """FNIR(N, R, t) against FPIR(N, t) at every threshold where either changes.

    Empty where there are no mated or no non-mated searches.
    """
    mated = table.mated
    ranked = np.where(mated.rank <= rank, mated.score, -math.inf)
    hidden = np.nextafter(_finite(mated.hidden_at[mated.listed < rank]), math.inf)
    floors = np.concatenate([mated.floor, table.nonmated.floor, hidden])
    known_from = float(floors.max()) if floors.size else -math.inf
    return _det(ranked, table.nonmated.top, known_from)


def comparison_det(table: ComparisonTable) -> DetCurve:
    """FNMR(t) against FMR(t) at every threshold where either changes; empty without both kinds."""
    return _det(table.score[table.mated], table.score[~table.mated], table.withheld_below)


def _det(mated: FloatArray, nonmated: FloatArray, floor: float) -> DetCurve:
    scores = np.concatenate([mated, nonmated])
    thresholds = np.unique(scores[np.isfinite(scores) & (scores >= floor)])
    if not (mated.size and nonmated.size and thresholds.size):
        empty = np.empty(0)
        return DetCurve(empty, empty, empty, _named(floor))
    above = np.nextafter(thresholds[-1], math.inf)  # the point where nothing passes any more
    thresholds = np.append(thresholds, above)
    at_or_above = nonmated.size - np.searchsorted(np.sort(nonmated), thresholds, side="left")
    below = np.searchsorted(np.sort(mated), thresholds, side="left")
    return DetCurve(thresholds, at_or_above / nonmated.size, below / mated.size, _named(floor))


def _finite(values: FloatArray) -> FloatArray:
    return values[np.isfinite(values)]


def _named(floor: float) -> float | None:
    return None if math.isinf(floor) else floor


def _logs(rates: FloatArray) -> FloatArray:
    return np.log10(np.maximum(rates, 1e-9))


# --- rates of comparisons ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonTable:
    """Comparisons of one system as arrays (n,); a failure or a withheld score is minus infinity.

    ``withheld_below`` is the highest score below which any of them was withheld.
    """

    score: FloatArray
    mated: BoolArray
    first: IntArray
    second: IntArray
    withheld_below: float
    person_ids: tuple[PersonId, ...]

    @property
    def people(self) -> frozenset[PersonId]:
        return frozenset(self.person_ids)


def comparison_table(outcomes: Iterable[ComparisonOutcome]) -> ComparisonTable:
    """Comparison outcomes as arrays."""
    compared = tuple(outcomes)
    ids = tuple(sorted({p for outcome in compared for p in (outcome.first, outcome.second)}))
    code = {person: index for index, person in enumerate(ids)}
    withheld = (o.withheld_below for o in compared if o.score is None and o.failure is None)
    return ComparisonTable(
        score=np.array([-math.inf if o.score is None else o.score for o in compared]),
        mated=np.array([outcome.mated for outcome in compared], dtype=np.bool_),
        first=np.array([code[outcome.first] for outcome in compared], dtype=np.intp),
        second=np.array([code[outcome.second] for outcome in compared], dtype=np.intp),
        withheld_below=max((w for w in withheld if w is not None), default=-math.inf),
        person_ids=ids,
    )


def comparison_unknown(table: ComparisonTable, threshold: float) -> str:
    """Why FMR and FNMR at this threshold cannot be known, or an empty text where they can."""
    floor = table.withheld_below
    return _below_floor(floor, threshold) if floor > threshold else ""


def fnmr(table: ComparisonTable, threshold: float) -> Trials:
    """FNMR(t): mated comparisons with a score below t, failures among them."""
    score = table.score[table.mated]
    return Trials((score < threshold) | np.isneginf(score), table.first[table.mated])


def fmr(table: ComparisonTable, threshold: float) -> PairTrials:
    """FMR(t): non-mated comparisons with a score at or above t; a failure is not one."""
    other = ~table.mated
    score = table.score[other]
    wrong = (score >= threshold) & ~np.isneginf(score)
    return PairTrials(wrong, table.first[other], table.second[other])


# --- failures ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CauseCount:
    """How often something failed for one cause."""

    cause: str
    count: int


def failure_to_acquire(outcomes: Iterable[SearchOutcome]) -> Trials:
    """FTX: probes that gave nothing to search with, over all probes."""
    searches = tuple(outcomes)
    return _failed([o.failure is not None for o in searches], [o.person for o in searches])


def failure_to_enroll(outcomes: Iterable[EnrollmentOutcome]) -> Trials:
    """FTE: people who could not be enrolled, over all who should have been."""
    people = tuple(outcomes)
    return _failed([o.failure is not None for o in people], [o.person for o in people])


def _failed(failed: list[bool], people: list[PersonId]) -> Trials:
    codes = np.unique(np.array(people, dtype=np.str_), return_inverse=True)[1]
    return Trials(np.array(failed, dtype=np.bool_), codes.astype(np.intp))


def failure_causes(
    outcomes: Iterable[SearchOutcome | ComparisonOutcome | EnrollmentOutcome],
) -> tuple[CauseCount, ...]:
    """Failures by cause, most frequent first; their sum is the number of failures."""
    causes = Counter(o.failure.cause for o in outcomes if o.failure is not None)
    ranked = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    return tuple(CauseCount(cause, count) for cause, count in ranked)
