"""The figures of a run on feeds at the thresholds in force: transits, names said, agreement."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
import scipy.stats  # type: ignore[import-untyped]  # scipy ships no annotations

from rekadapter.evaluation.differences import PairedTrials, paired_difference
from rekadapter.evaluation.feed_results import (
    AgreementResult,
    AlertsResult,
    FeedPairResult,
    TransitsResult,
    WatchedCamera,
)
from rekadapter.evaluation.metrics import OperatingPoint
from rekadapter.evaluation.pairing import Outcome, pair_backends
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.statistics import (
    Estimate,
    IntArray,
    Interval,
    Settings,
    Trials,
    estimate_mean,
    estimate_rate,
    refused,
)
from rekadapter.evaluation.summary import percentile
from rekadapter.evaluation.transits import CrossingAnswer, FalseAlert, SystemTransits
from rekadapter.observation import Run, TrackRecord

IN_FORCE: Final = "threshold in force"
"""What the row of the threshold that a run was made with is called."""
_SECONDS_A_DAY: Final = 86_400.0
_LEAST_DAYS: Final = 1 / 24
"""An hour: a figure by the day from less would be an extrapolation (proposal)."""


@dataclass(frozen=True, slots=True)
class Watch:
    """For how many days each camera was watched; None where that was not recorded."""

    days: Mapping[str, float | None]

    @classmethod
    def of(cls, run: Run) -> Watch:
        """From the feeds' own clocks."""
        return cls(
            {
                one.camera: None if one.seconds is None else one.seconds / _SECONDS_A_DAY
                for one in run.record.cameras
            }
        )

    def total(self, camera: str | None) -> float | None:
        """Camera-days of one camera, or of all."""
        if camera is not None:
            return self.days.get(camera)
        known = [days for days in self.days.values() if days is not None]
        return sum(known) if known and len(known) == len(self.days) else None


# --- transits -------------------------------------------------------------------------------------


def transit_rows(
    found: SystemTransits, cameras: Sequence[str], settings: Settings
) -> Iterator[TransitsResult]:
    """All cameras together, and each."""
    for camera in (None, *(cameras if len(cameras) > 1 else ())):
        yield _transits(found, camera, settings)


def _transits(found: SystemTransits, camera: str | None, settings: Settings) -> TransitsResult:
    own = [a for a in found.answers if camera is None or a.crossing.entry.camera == camera]
    mated = [a for a in own if a.crossing.enrolled]
    absent = [a for a in own if not a.crossing.enrolled and not a.crossing.entry.nameless]
    nameless = [a for a in own if a.crossing.entry.nameless]
    return TransitsResult(
        system=found.backend.name,
        camera=camera,
        threshold=found.backend.threshold,
        mated=len(mated),
        identified=sum(a.named for a in mated),
        named_as_another=sum(not a.named and a.false_names > 0 for a in mated),
        nonmated=len(absent),
        nonmated_named=sum(a.false_names > 0 for a in absent),
        nameless=len(nameless),
        nameless_named=sum(a.false_names > 0 for a in nameless),
        missed=EstimateResult.of(estimate_rate(missed(mated), settings)),
        falsely_named=EstimateResult.of(estimate_rate(_trials(absent, _falsely), settings)),
    )


def missed(mated: Sequence[CrossingAnswer]) -> Trials:
    """Mated transits whose person was not named; a person who was never seen is missed too."""
    return _trials(mated, lambda answer: not answer.named)


def _falsely(answer: CrossingAnswer) -> bool:
    return answer.false_names > 0


def _trials(answers: Sequence[CrossingAnswer], erred: Callable[[CrossingAnswer], bool]) -> Trials:
    return Trials(np.array([erred(a) for a in answers], dtype=np.bool_), _people(answers))


def _people(answers: Sequence[CrossingAnswer]) -> IntArray:
    names = np.array([a.crossing.entry.person for a in answers], dtype=np.str_)
    return np.unique(names, return_inverse=True)[1].astype(np.intp)


def point_in_force(found: SystemTransits, settings: Settings) -> OperatingPoint:
    """Misses and false alerts by transit at the threshold in force. It was not chosen on anybody
    here, so everybody tests it."""
    mated = [a for a in found.answers if a.crossing.enrolled]
    absent = [a for a in found.answers if not a.crossing.enrolled and a.search is not None]
    names = np.array([float(a.false_names) for a in absent], dtype=np.float64)
    return OperatingPoint(
        basis=IN_FORCE,
        threshold=found.backend.threshold,
        rank=None,
        fnir=estimate_rate(missed(mated), settings),
        fpir=estimate_rate(_trials(absent, _falsely), settings),
        selectivity=estimate_mean(names, _people(absent), settings),
    )


def pair_rows(
    found: Sequence[SystemTransits], margin: float, settings: Settings
) -> Iterator[FeedPairResult]:
    """Each two systems on the same mated transits, each at its threshold in force."""
    for a, b in combinations(found, 2):
        errors = [missed([x for x in one.answers if x.crossing.enrolled]) for one in (a, b)]
        trials = PairedTrials(errors[0].errors, errors[1].errors, errors[0].people)
        compared = paired_difference(trials, margin, settings)
        tested = compared.difference.value is not None
        yield FeedPairResult(
            a=a.backend.name,
            b=b.backend.name,
            diff=EstimateResult.of(compared.difference),
            discordant_people=compared.discordant_people,
            p_value=compared.p_value if tested else None,
            test=compared.test,
            margin=margin,
            verdict=str(compared.verdict),
        )


# --- names said -----------------------------------------------------------------------------------


def alert_rows(
    found: SystemTransits, cameras: Sequence[str], watch: Watch, settings: Settings
) -> Iterator[AlertsResult]:
    """All cameras together, and each."""
    for camera in (None, *(cameras if len(cameras) > 1 else ())):
        yield _alerts(found, camera, watch.total(camera), settings)


def _alerts(
    found: SystemTransits, camera: str | None, days: float | None, settings: Settings
) -> AlertsResult:
    right: list[TrackRecord] = [t for t in found.right_names if camera in {None, t.camera}]
    false = [one for one in found.false_alerts if camera in {None, one.track.camera}]
    waits = [
        a.seconds_to_name
        for a in found.answers
        if camera in {None, a.crossing.entry.camera} and a.seconds_to_name is not None
    ]
    return AlertsResult(
        system=found.backend.name,
        camera=camera,
        names_said=len(right) + len(false),
        right=len(right),
        false_alerts=len(false),
        nobody_in_view=sum(one.crossing is None for one in false),
        several_in_view=sum(one.in_view > 1 for one in false),
        camera_days=days,
        per_camera_day=EstimateResult.of(alerts_per_day(false, days, settings)),
        timed=len(waits),
        p50_seconds=percentile(waits, 50),
        p95_seconds=percentile(waits, 95),
    )


def alerts_per_day(false: Sequence[FalseAlert], days: float | None, settings: Settings) -> Estimate:
    """False alerts a camera-day. The interval is the exact one of a Poisson count (Garwood,
    Biometrika 28, 1936); it takes alerts for independent, which those of one person are not."""
    count = len(false)
    people = len({a.crossing.entry.person for a in false if a.crossing})
    if days is None or days < _LEAST_DAYS:
        short = "not recorded" if days is None else f"{days * _SECONDS_A_DAY:.0f} s"
        reason = f"watched: {short}; a figure by the day needs an hour at least"
        return replace(refused(count, count, people, reason), unit="alert")
    enough = count >= settings.evidence.min_errors
    bound = -math.log(1 - settings.level) / days
    reason = f"it rests on {count} alerts; {settings.evidence.min_errors} are needed to rely on it"
    if not count:
        reason = f"no false alert in {days:.2g} camera-days: at most {bound:.2g} a day, not none"
    return Estimate(
        value=count / days if count else None,
        n=count,
        errors=count,
        people=people,
        ci=_poisson(count, days, settings.level)
        if count
        else Interval(0.0, bound, settings.level, "rule of 3 on camera-days"),
        sufficient=enough,
        reason="" if enough else reason,
        unit="alert",
    )


def _poisson(count: int, days: float, level: float) -> Interval:
    tail = (1 - level) / 2
    low = float(scipy.stats.chi2.ppf(tail, 2 * count)) / 2
    high = float(scipy.stats.chi2.ppf(1 - tail, 2 * count + 2)) / 2
    method = "exact Poisson on alerts, taken as independent"
    return Interval(low / days, high / days, level, method)


# --- what needs no truth --------------------------------------------------------------------------


def agreement_rows(run: Run) -> Iterator[AgreementResult]:
    """Each two systems, track by track."""
    names = [backend.name for backend in run.record.backends]
    for a, b in combinations(names, 2):
        counts = pair_backends(run, a, b).counts()
        tracks = sum(counts.values())
        yield AgreementResult(
            a=a,
            b=b,
            tracks=tracks,
            comparable=tracks - counts[Outcome.NOT_COMPARABLE],
            same=sum(count for outcome, count in counts.items() if outcome.agrees),
            outcomes={str(outcome): count for outcome, count in counts.items()},
        )


def watched_cameras(run: Run) -> Iterator[WatchedCamera]:
    """Every feed, counted. A run that was killed left no counts."""
    for one in run.record.cameras:
        yield WatchedCamera(
            id=one.camera,
            width=one.width or None,
            height=one.height or None,
            seconds=one.seconds,
            captured=one.captured,
            processed=dict(one.processed),
            dropped={name: dict(sorted(causes.items())) for name, causes in one.dropped.items()},
            interruptions=one.interruptions,
            away_seconds=one.away_seconds,
            error=one.error,
        )
