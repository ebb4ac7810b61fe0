"""Error versus discard: what refusing the worst pictures would help, and whom it would hide.

The curve: FNIR of the mated searches that are left once the worst x % by a measure of quality are
refused, at the system's own threshold (Grother and Tabassi, IEEE TPAMI 29 (2007), draw
it as error against rejection). A picture without a measure, such as one in which no face was found,
is worse than any other, and all of them go before the first of the others, however many they are:
no gate can keep some and refuse some. Pictures as good as the worst one kept are kept too.

A quality gate does not make anybody found: beside the rate of what is left stands the rate of all,
in which a picture refused is a miss.

Whether refusing helps is asked of every system by every measure, so the answers are corrected for
their number (Holm): among twenty measures that are noise one looks helpful at 5 %.
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
from rekadapter.evaluation.demographics import PeopleByGroup, chance_of_spread
from rekadapter.evaluation.differences import holm
from rekadapter.evaluation.discard_results import (
    DiscardGroup,
    DiscardPoint,
    DiscardResult,
    DiscardSpread,
)
from rekadapter.evaluation.metrics import (
    ANY_RANK,
    fnir,
    fnir_unknown,
    fpir,
    fpir_unknown,
    known_rate,
    search_table,
)
from rekadapter.evaluation.outcomes import GroupLabel, SearchOutcome
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
    tally_people,
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
) -> tuple[DiscardResult, ...]:
    """Each system by each measure that is known of any of its mated searches."""
    measures = (*_OF_SYSTEMS, *_brought(record))
    rows = [row_in_force(system.entry.name, accuracy) for system in systems]
    found = [
        _Searches(record, system, row, measure)
        for system, row in zip(systems, rows, strict=True)
        for measure in measures
    ]
    asked = [one for one in found if one.known]
    answers = judged([one.gain() for one in asked], settings_of(record).level)
    return tuple(one.result(answer) for one, answer in zip(asked, answers, strict=True))


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
    """Measures from the user's own file, in its order; more is better, as in ISO/IEC 29794-5."""
    values = {one.sha256: one.values for one in record.quality}
    for name in dict.fromkeys(name for own in values.values() for name in own):
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

    def result(self, answer: Answer) -> DiscardResult:
        without = np.isneginf(self._quality)
        shares = tuple(self._groups())
        return DiscardResult(
            system=self._system.entry.name,
            measure=self._measure.name,
            source=self._measure.source,
            sign=self._measure.sign,
            label=self._row.label,
            threshold=self._threshold,
            searches=len(self._mated),
            without=int(without.sum()),
            without_missed=int(self._missed.errors[without].sum()),
            points=tuple(self._point(share) for share in SHARES),
            gain_at=GAIN_AT,
            gain=EstimateResult.of(answer.gain.estimate),
            p_value=answer.gain.p_value,
            p_holm=answer.p_holm,
            verdict=answer.verdict,
            sentence=_sentence(self._system.entry.name, self._measure.name, answer),
            groups=shares,
            spreads=tuple(self._spreads(shares)),
        )

    # --- the curve ----------------------------------------------------------------------------

    def _point(self, share: float) -> DiscardPoint:
        cut = worst_kept(self._quality, share)
        kept = self._quality >= cut
        left = Trials(self._missed.errors[kept], self._missed.people[kept])
        of_all = Trials(self._missed.errors | ~kept, self._missed.people)
        others = self._other_quality >= cut
        alarmed = Trials(self._alarmed.errors[others], self._alarmed.people[others])
        gone = set(self._missed.people.tolist()) - set(left.people.tolist())
        return DiscardPoint(
            asked=share,
            refused=float(np.mean(~kept)),
            kept_from=None if kept.all() else self._measure.sign * cut,
            fnir=self._estimate(left, self._missed_unknown),
            missed_of_all=self._estimate(of_all, self._missed_unknown),
            fpir=self._estimate(alarmed, self._alarmed_unknown),
            people_gone=len(gone),
        )

    def _estimate(self, trials: Trials, unknown: str) -> EstimateResult:
        return EstimateResult.of(known_rate(trials, unknown, self._settings))

    # --- what it helps ------------------------------------------------------------------------

    def gain(self) -> Gain:
        """What refusing helps, among the searches whose measure is known."""
        known = np.isfinite(self._quality)
        trials = Trials(self._missed.errors[known], self._missed.people[known])
        quality = self._quality[known]
        if self._missed_unknown:
            people = int(np.unique(trials.people).size)
            return Gain(refused(trials.errors.size, None, people, self._missed_unknown), None)
        return gain_of(trials, quality >= worst_kept(quality, GAIN_AT), self._settings)

    # --- whom it hides ------------------------------------------------------------------------

    def _groups(self) -> Iterator[DiscardGroup]:
        trials = self._refusals()
        labels = sorted({label for one in self._mated for label in one.groups}, key=str)
        for label in labels:
            own = np.array([label in one.groups for one in self._mated], dtype=np.bool_)
            part = Trials(trials.errors[own], trials.people[own])
            shown = np.unique(part.people).size >= SUPPRESS_BELOW
            share = estimate_rate(part, self._settings) if shown else None
            yield DiscardGroup(
                attribute=label.attribute,
                group=label.value,
                refused=EstimateResult.of(share) if share else None,
            )

    def _refusals(self) -> Trials:
        """The searches refused at ``GAIN_AT``, as errors."""
        return Trials(self._quality < worst_kept(self._quality, GAIN_AT), self._missed.people)

    def _spreads(self, shares: Sequence[DiscardGroup]) -> Iterator[DiscardSpread]:
        """By attribute: whether groups lie further apart than chance would put them."""
        told = {name: self._told(shares, name) for name in {one.attribute: None for one in shares}}
        found = {name: self._chance(name, tuple(own)) for name, own in told.items()}
        adjusted = iter(holm([p for p in found.values() if p is not None]))
        for name, p_value in found.items():
            p_holm = None if p_value is None else next(adjusted)
            apart = p_holm is not None and p_holm < 1 - self._settings.level
            yield DiscardSpread(
                attribute=name,
                chance_p=p_value,
                p_holm=p_holm,
                finding=self._apart(name, told[name]) if apart else "",
            )

    def _told(self, shares: Sequence[DiscardGroup], attribute: str) -> dict[str, float]:
        """Shares refused of the groups of an attribute, of enough people each."""
        least = self._settings.evidence.min_people
        own = ((one.group, one.refused) for one in shares if one.attribute == attribute)
        return {g: (e.errors or 0) / e.n for g, e in own if e is not None and e.people >= least}

    def _chance(self, attribute: str, told: Sequence[str]) -> float | None:
        """The permutation p-value over some groups of an attribute."""
        codes = {GroupLabel(attribute, group): code for code, group in enumerate(told)}
        group = [next((codes[g] for g in one.groups if g in codes), -1) for one in self._mated]
        coded = np.array(group, dtype=np.intp)
        refusals, own = self._refusals(), coded >= 0
        trials = Trials(refusals.errors[own], refusals.people[own])
        _, first = np.unique(trials.people, return_index=True)
        tally = tally_people(trials)
        people = PeopleByGroup(tally.errors, tally.trials, coded[own][first])
        return chance_of_spread(people, self._settings)

    def _apart(self, attribute: str, told: Mapping[str, float]) -> str:
        least, most = min(told, key=lambda one: told[one]), max(told, key=lambda one: told[one])
        start = _start(self._system.entry.name, self._measure.name)
        more, less = percent(told[most]), percent(told[least])
        return (
            f"{start}: {more} of {attribute} {most} go and {less} of {least}, further apart than "
            "chance puts them"
        )


def worst_kept(quality: FloatArray, share: float) -> float:
    """The quality of the worst search kept where ``share`` of them may go, or minus infinity: all.

    Args:
        quality: of each search (n,), higher is better; minus infinity where it is not known. Where
            any search goes, all of these go. One search at least has a known quality.
        share: 0 to below 1.
    """
    ordered = np.sort(quality)
    place = min(math.floor(share * ordered.size + 1e-9), ordered.size - 1)
    if not place:
        return -math.inf
    unknown = int(np.isneginf(ordered).sum())
    return float(ordered[min(max(place, unknown), ordered.size - 1)])


# --- the difference ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gain:
    """The error rate of what is left minus that of all: below 0 where refusing helps.

    ``p_value`` (two-sided) tests that refusing changes nothing; None where the data are too few.
    """

    estimate: Estimate
    p_value: float | None


def gain_of(trials: Trials, kept: BoolArray, settings: Settings) -> Gain:
    """What refusing does to the error rate of what is left.

    The interval is plus or minus z standard errors over resampled people, each with all trials of
    theirs. The cut is not drawn again: it is a property of pictures and not of errors. One more
    person for and one against, each erring once among what went, is added to the variance, as in
    ``differences``, so that few errors do not look certain. ``errors`` counts errors refused.

    Args:
        trials: all trials.
        kept: bool (n,), those that are left.
        settings: level, seed, evidence.
    """
    people = int(np.unique(trials.people).size)
    n, gone = int(kept.size), int((trials.errors & ~kept).sum())
    wrong = int(trials.errors.sum())
    reason = _no_gain(people, wrong, kept, settings)
    if reason:
        return Gain(refused(n, gone, people, reason), None)
    value = float(trials.errors[kept].mean() - trials.errors.mean())
    spread = _resampled_gains(trials, kept, settings)
    error = math.sqrt(float(np.nanvar(spread)) + 2 / int(kept.sum()) ** 2)
    normal = NormalDist()
    reach = normal.inv_cdf(0.5 + settings.level / 2) * error
    low, high = max(-1.0, value - reach), min(1.0, value + reach)
    enough = wrong >= settings.evidence.min_errors
    estimate = Estimate(
        value=value,
        n=n,
        errors=gone,
        people=people,
        ci=Interval(low, high, settings.level, "resampled people, normal"),
        sufficient=enough,
        reason="" if enough else f"only {wrong} misses in all",
    )
    return Gain(estimate, 2 * normal.cdf(-abs(value) / error) if enough else None)


def _no_gain(people: int, wrong: int, kept: BoolArray, settings: Settings) -> str:
    """Why there is nothing to compare; empty where there is."""
    if people < settings.evidence.min_people:
        return too_few_people(people, settings.evidence)
    if not wrong:
        return "nobody was missed"
    return "more pictures tie as the worst than may go" if kept.all() or not kept.any() else ""


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


# --- in words ---------------------------------------------------------------------------------

_Verdict = Literal["fewer misses", "more misses", "no difference shown", "not enough evidence"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A gain judged among ``asked`` others; ``by_chance``: alone it would have shown something."""

    gain: Gain
    p_holm: float | None
    verdict: _Verdict
    by_chance: bool
    asked: int


def judged(gains: Sequence[Gain], level: float) -> list[Answer]:
    """What each gain says, given how many were looked at (Holm): the chance that any of them is
    called a difference where there is none stays at 1 - ``level``."""
    p_values = [one.p_value for one in gains if one.p_value is not None]
    adjusted = iter(holm(p_values))
    return [
        _judged(one, None if one.p_value is None else next(adjusted), 1 - level, len(p_values))
        for one in gains
    ]


def _judged(gain: Gain, p_holm: float | None, limit: float, asked: int) -> Answer:
    if gain.p_value is None or p_holm is None:
        return Answer(gain, None, "not enough evidence", by_chance=False, asked=asked)
    if p_holm >= limit:
        alone = gain.p_value < limit
        return Answer(gain, p_holm, "no difference shown", by_chance=alone, asked=asked)
    fewer = (gain.estimate.value or 0.0) < 0
    verdict: _Verdict = "fewer misses" if fewer else "more misses"
    return Answer(gain, p_holm, verdict, by_chance=False, asked=asked)


def _start(system: str, measure: str) -> str:
    return f"{system}, without the worst {percent(GAIN_AT)} by {measure}"


def _sentence(system: str, measure: str, answer: Answer) -> str:
    gain = answer.gain.estimate
    start = _start(system, measure)
    if gain.value is None or gain.ci is None:
        return f"{start}: not enough evidence ({gain.reason})"
    low, high = 100 * gain.ci.low, 100 * gain.ci.high
    points = f"{100 * gain.value:+.2g} points, {low:+.2g} to {high:+.2g}"
    doubt = f"; {gain.reason}" if gain.reason else ""
    if answer.by_chance:
        doubt = f"; among {answer.asked} such questions one may look so by chance"
    return f"{start}: {answer.verdict} among what is left ({points}{doubt})"
