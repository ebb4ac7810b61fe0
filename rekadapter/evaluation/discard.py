"""Error versus discard: what refusing the worst pictures would help, and whom it would hide.

The curve: FNIR of the mated searches that are left once the worst x % by a measure of quality are
refused, at the system's own threshold (Grother and Tabassi, IEEE TPAMI 29 (2007), section 5, draw
it as error against rejection). A picture without a measure, such as one in which no face was found,
is worse than any other. Pictures as good as the worst one kept are kept too.

A quality gate does not make anybody found: beside the rate of what is left stands the rate of all,
in which a picture refused is a miss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from rekadapter.evaluation.accuracy import row_in_force, settings_of
from rekadapter.evaluation.answers import SearchedFace
from rekadapter.evaluation.discard_results import DiscardGroup, DiscardPoint, DiscardResult
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    fnir,
    fnir_unknown,
    fpir,
    fpir_unknown,
    known_rate,
    search_table,
)
from rekadapter.evaluation.outcomes import SearchOutcome
from rekadapter.evaluation.rates import percent
from rekadapter.evaluation.record import EvaluationRecord
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.results import AccuracyResult
from rekadapter.evaluation.searches import AnsweredPhotograph, SystemOutcomes
from rekadapter.evaluation.statistics import (
    BoolArray,
    Estimate,
    FloatArray,
    Interval,
    Settings,
    Trials,
    batches,
    estimate_rate,
    refused,
    too_few_people,
)

SHARES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""of the mated searches, refused"""
GAIN_AT: Final = 0.2
SUPPRESS_BELOW: Final = 10
"""People; as in the section on groups."""
_MIDDLE: Final = 50.0
"""Percent. Neither dark nor glaring: a proposal, as no system says which brightness serves it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of a searched picture; ``sign`` 1: more is better, -1: less is."""

    name: str
    source: Literal["system", "brought"]
    sign: Literal[1, -1]
    value: Callable[[AnsweredPhotograph], float | None]


def discard_sections(
    record: EvaluationRecord,
    systems: Sequence[SystemOutcomes],
    accuracy: Sequence[AccuracyResult],
) -> Iterator[DiscardResult]:
    """Each system by each measure that is known of any of its mated searches."""
    measures = (*_OF_SYSTEMS, *_brought(record))
    for system in systems:
        row = row_in_force(system.entry.name, accuracy)
        for measure in measures:
            searches = _Searches(record, system, row, measure)
            if searches.known:
                yield searches.result()


# --- measures ---------------------------------------------------------------------------------


def _of_face(
    name: str, sign: Literal[1, -1], value: Callable[[SearchedFace], float | None]
) -> Measure:
    def of(one: AnsweredPhotograph) -> float | None:
        return None if one.answer.face is None else value(one.answer.face)

    return Measure(name, "system", sign, of)


def _off_middle(face: SearchedFace) -> float | None:
    return None if face.brightness is None else abs(face.brightness - _MIDDLE)


def _turned_away(face: SearchedFace) -> float | None:
    known = [abs(angle) for angle in (face.yaw, face.pitch) if angle is not None]
    return max(known, default=None)


_OF_SYSTEMS: Final = (
    _of_face("pixels between the eyes", 1, lambda face: face.eye_distance_px),
    _of_face("sharpness, %", 1, lambda face: face.sharpness),
    _of_face("brightness off the middle, points of 50", -1, _off_middle),
    _of_face("degrees turned away", -1, _turned_away),
)


def _brought(record: EvaluationRecord) -> Iterator[Measure]:
    """Measures from the user's own file; more is better, as in ISO/IEC 29794-5's scale."""
    values = {one.sha256: one.values for one in record.quality}
    for name in sorted({name for own in values.values() for name in own}):
        yield Measure(name, "brought", 1, _lookup(values, name))


def _lookup(
    values: Mapping[str, Mapping[str, float]], name: str
) -> Callable[[AnsweredPhotograph], float | None]:
    return lambda one: values.get(one.photograph.sha256, {}).get(name)


# --- one system by one measure ----------------------------------------------------------------


class _Searches:
    """Test searches of one system with their quality: higher is better, -inf is not known."""

    def __init__(
        self,
        record: EvaluationRecord,
        system: SystemOutcomes,
        row: AccuracyResult,
        measure: Measure,
    ) -> None:
        assert row.threshold is not None  # noqa: S101  the row in force has a threshold
        self._settings: Settings = settings_of(record)
        self._system, self._row, self._measure = system, row, measure
        self._threshold = row.threshold
        self._mated = [one for one in system.test if one.mated]
        self._quality = self._of(self._mated)
        self._other_quality = self._of([one for one in system.test if not one.mated])
        table, at = search_table(system.test), system.turned(row.threshold)
        rank = record.rules.rank or ANY_RANK
        self._missed, self._alarmed = fnir(table, at, rank), fpir(table, at)
        self._missed_unknown = fnir_unknown(table, at, rank)
        self._alarmed_unknown = fpir_unknown(table, at)

    @property
    def known(self) -> bool:
        """Whether the measure is known of any mated search."""
        return bool(np.isfinite(self._quality).any())

    def _of(self, searches: Sequence[SearchOutcome]) -> FloatArray:
        """A search of several pictures is as good as the best of them."""
        return np.array([self._best(search) for search in searches], dtype=np.float64)

    def _best(self, search: SearchOutcome) -> float:
        members = self._system.members[search.search_id]
        values = [value for one in members if (value := self._measure.value(one)) is not None]
        return max((self._measure.sign * value for value in values), default=-math.inf)

    def result(self) -> DiscardResult:
        gain = self._gain()
        verdict = _verdict(gain)
        return DiscardResult(
            system=self._system.entry.name,
            measure=self._measure.name,
            source=self._measure.source,
            sign=self._measure.sign,
            label=self._row.label,
            threshold=self._threshold,
            searches=len(self._mated),
            without=int(np.isneginf(self._quality).sum()),
            points=tuple(self._point(share) for share in SHARES),
            gain_at=GAIN_AT,
            gain=EstimateResult.of(gain),
            verdict=verdict,
            sentence=_sentence(self._system.entry.name, self._measure.name, verdict, gain),
            groups=tuple(self._groups()),
        )

    # --- the curve ----------------------------------------------------------------------------

    def _point(self, share: float) -> DiscardPoint:
        cut = _cut(self._quality, share)
        kept = self._quality >= cut
        left = Trials(self._missed.errors[kept], self._missed.people[kept])
        of_all = Trials(self._missed.errors | ~kept, self._missed.people)
        others = self._other_quality >= cut
        alarmed = Trials(self._alarmed.errors[others], self._alarmed.people[others])
        gone = set(self._missed.people.tolist()) - set(left.people.tolist())
        return DiscardPoint(
            asked=share,
            refused=float(np.mean(~kept)),
            kept_from=None if math.isinf(cut) else self._measure.sign * cut,
            fnir=self._estimate(left, self._missed_unknown),
            missed_of_all=self._estimate(of_all, self._missed_unknown),
            fpir=self._estimate(alarmed, self._alarmed_unknown),
            people_gone=len(gone),
        )

    def _estimate(self, trials: Trials, unknown: str) -> EstimateResult:
        return EstimateResult.of(known_rate(trials, unknown, self._settings))

    # --- what it helps ------------------------------------------------------------------------

    def _gain(self) -> Estimate:
        known = np.isfinite(self._quality)
        trials = Trials(self._missed.errors[known], self._missed.people[known])
        quality = self._quality[known]
        if self._missed_unknown:
            people = int(np.unique(trials.people).size)
            return refused(trials.errors.size, None, people, self._missed_unknown)
        return gain_of(trials, quality >= _cut(quality, GAIN_AT), self._settings)

    # --- whom it hides ------------------------------------------------------------------------

    def _groups(self) -> Iterator[DiscardGroup]:
        gone = self._quality < _cut(self._quality, GAIN_AT)
        labels = sorted({label for one in self._mated for label in one.groups}, key=str)
        for label in labels:
            own = np.array([label in one.groups for one in self._mated], dtype=np.bool_)
            trials = Trials(gone[own], self._missed.people[own])
            shown = np.unique(trials.people).size >= SUPPRESS_BELOW
            share = estimate_rate(trials, self._settings) if shown else None
            yield DiscardGroup(
                attribute=label.attribute,
                group=label.value,
                refused=EstimateResult.of(share) if share else None,
            )


def _cut(quality: FloatArray, share: float) -> float:
    """The quality of the worst search kept where ``share`` of them may go."""
    ordered = np.sort(quality)
    return float(ordered[min(math.floor(share * ordered.size + 1e-9), ordered.size - 1)])


# --- the difference ---------------------------------------------------------------------------


def gain_of(trials: Trials, kept: BoolArray, settings: Settings) -> Estimate:
    """The error rate of the trials kept minus that of all: below 0 where refusing helps.

    The interval is plus or minus z standard errors over resampled people, each with all trials of
    theirs. The cut is not drawn again: it is a property of pictures and not of errors. One more
    person for and one against, each erring once among what went, is added to the variance, as in
    ``differences``, so that few errors do not look certain. ``errors`` counts errors refused.

    Args:
        trials: all trials.
        kept: bool (n,), those that are left.
    """
    people = int(np.unique(trials.people).size)
    n, gone = int(kept.size), int((trials.errors & ~kept).sum())
    if people < settings.evidence.min_people:
        return refused(n, gone, people, too_few_people(people, settings.evidence))
    wrong = int(trials.errors.sum())
    if not wrong or not kept.any() or kept.all():
        reason = "nobody was missed" if not wrong else "no picture is worse than the others"
        return refused(n, gone, people, reason)
    value = float(trials.errors[kept].mean() - trials.errors.mean())
    spread = _resampled_gains(trials, kept, settings)
    error = math.sqrt(float(np.nanvar(spread)) + 2 / int(kept.sum()) ** 2)
    reach = NormalDist().inv_cdf(0.5 + settings.level / 2) * error
    enough = wrong >= settings.evidence.min_errors
    return Estimate(
        value=value,
        n=n,
        errors=gone,
        people=people,
        ci=Interval(
            max(-1.0, value - reach),
            min(1.0, value + reach),
            settings.level,
            "resampled people, normal",
        ),
        sufficient=enough,
        reason="" if enough else f"only {wrong} misses in all",
    )


def _resampled_gains(trials: Trials, kept: BoolArray, settings: Settings) -> FloatArray:
    """Differences of resampled people (resamples,); nan where nothing was kept of a draw."""
    _, person = np.unique(trials.people, return_inverse=True)
    counts = np.stack(
        [
            np.bincount(person, weights=weights)
            for weights in (trials.errors, np.ones(kept.size), trials.errors & kept, kept)
        ]
    )
    kinds, count = np.unique(counts, axis=1, return_counts=True)
    people = int(count.sum())
    rng = np.random.default_rng(settings.seed)
    found = []
    for size in batches(settings.resamples, count.size):
        drawn = rng.multinomial(people, count / people, size=size)
        errors, trials_drawn, errors_kept, trials_kept = (drawn @ kind for kind in kinds)
        left = np.where(trials_kept > 0, trials_kept, np.nan)
        found.append(errors_kept / left - errors / trials_drawn)
    return np.concatenate(found)


_Verdict = Literal["fewer misses", "more misses", "no difference shown", "not enough evidence"]


def _verdict(gain: Estimate) -> _Verdict:
    if gain.ci is None or not gain.sufficient:
        return "not enough evidence"
    if gain.ci.high < 0:
        return "fewer misses"
    return "more misses" if gain.ci.low > 0 else "no difference shown"


def _sentence(system: str, measure: str, verdict: _Verdict, gain: Estimate) -> str:
    start = f"{system}, without the worst {percent(GAIN_AT)} by {measure}"
    if gain.value is None or gain.ci is None:
        return f"{start}: not known ({gain.reason})"
    low, high = 100 * gain.ci.low, 100 * gain.ci.high
    points = f"{100 * gain.value:+.2g} points, {low:+.2g} to {high:+.2g}"
    doubt = f"; {gain.reason}" if gain.reason else ""
    return f"{start}: {verdict} among what is left ({points}{doubt})"
