"""What people who reviewed a run decided, how long it took, how well they agree, and how often they
were wrong.

Of the decisions of one reviewer on one track the last counts. The order of lines in the log matters
for nothing else, except for the numbers by which the report calls reviewers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from rekadapter.evaluation.cost import ReviewTime
from rekadapter.evaluation.feed_sections import Watch, alerts_per_day
from rekadapter.evaluation.reliability import estimate_alpha
from rekadapter.evaluation.result_base import EstimateResult
from rekadapter.evaluation.review_queue import MOST_SECONDS, reviewer_key, track_key
from rekadapter.evaluation.review_results import (
    PassedResult,
    ReviewedResult,
    ReviewerResult,
    ReviewErrorsResult,
    ReviewsResult,
)
from rekadapter.evaluation.rules import Review
from rekadapter.evaluation.statistics import IntArray, Settings, Trials, estimate_rate, refused
from rekadapter.evaluation.summary import percentile
from rekadapter.evaluation.track_words import TrackKey
from rekadapter.evaluation.transits import SystemTransits
from rekadapter.evaluation.truth import Truth
from rekadapter.evaluation.wording import many
from rekadapter.observation import Run, TrackRecord
from rekadapter.sinks.audit import Verdict
from rekadapter.sinks.review_log import LoggedReview, RunLog

RULE: Final = (
    "Of the decisions of one reviewer on one track the last counts. An alert passes where enough "
    "reviewers confirmed it and none rejected it."
)
LEAST_TIMED: Final = 10
"""Decisions that a median needs to stand in for a figure nobody gave (proposal)."""
_LEAST_FOR_P95: Final = 20
"""With fewer values a nearest-rank p95 is their maximum."""
_VERDICTS: Final = tuple(Verdict)
_BEST_FIRST: Final = ("passed", "open", "stopped")
_DAMAGED: Final = "not read: what lies in the run's directory does not fit its audit log"
_NO_LOG: Final = "the run keeps no audit log"
_NOBODY: Final = "nobody has decided on what it said (rekadapter review)"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that counts; ``reviewer`` is a number from 1."""

    track: TrackKey
    reviewer: int
    verdict: Verdict
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a log came to: the decisions that count, by track and reviewer."""

    counted: tuple[Decision, ...] = ()
    records: int = 0
    left_out: int = 0
    last: LoggedReview | None = None


def decisions_of(reviews: Iterable[LoggedReview], run: Run) -> Decisions:
    """Of each reviewer the last decision on each track of the run."""
    ordered = sorted(reviews, key=lambda one: one.n)
    tracks: set[TrackKey] = {_key(one) for one in run.tracks}
    numbers: dict[str, int] = {}
    counted: dict[tuple[TrackKey, int], Decision] = {}
    left_out = 0
    for one in ordered:
        decision = one.decision
        if track_key(decision) not in tracks or decision.verdict not in _VERDICTS:
            left_out += 1
            continue
        number = numbers.setdefault(reviewer_key(decision.by), len(numbers) + 1)
        counted[track_key(decision), number] = Decision(
            track_key(decision),
            number,
            Verdict(decision.verdict),
            _believable(decision.seconds),
        )
    return Decisions(
        tuple(counted[place] for place in sorted(counted)),
        len(ordered),
        left_out,
        ordered[-1] if ordered else None,
    )


def _believable(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds <= MOST_SECONDS else None


def _key(track: TrackRecord) -> TrackKey:
    return track.backend, track.camera, track.track


@dataclass(frozen=True, slots=True)
class Reviews:
    """Decisions on a run, ready to be measured."""

    run: Run
    log: RunLog | None
    rules: Review
    decisions: Decisions

    @classmethod
    def of(cls, run: Run, log: RunLog | None, rules: Review) -> Reviews:
        """Of a run and its log; None: there is none that fits."""
        return cls(run, log, rules, decisions_of(log.reviews if log else (), run))

    @property
    def min_reviewers(self) -> int:
        """How many have to confirm an alert: what the rules say, else one."""
        return self.rules.min_reviewers or 1

    def measured_times(self) -> Mapping[str, ReviewTime]:
        """By system, what an alert takes all its reviewers together, where enough was timed."""
        found = {}
        for system, own in self._of_names().items():
            seconds = [one.seconds for one in own if one.seconds is not None]
            median = percentile(seconds, 50)
            if median is not None and len(seconds) >= LEAST_TIMED:
                times = f" x {self.min_reviewers} reviewers" if self.min_reviewers > 1 else ""
                found[system] = ReviewTime(
                    median * self.min_reviewers,
                    f"measured: median of {len(seconds):,} decisions, {median:.3g} s{times}",
                )
        return found

    def result(
        self,
        found: Sequence[SystemTransits],
        truth: Truth | None,
        watch: Watch,
        settings: Settings,
    ) -> ReviewsResult:
        """Everything that can be said; ``found`` are the systems held against the truth, none where
        nobody said who was there."""
        decisions = self.decisions
        last = decisions.last
        return ReviewsResult(
            rule=RULE,
            reason=self._reason(),
            min_reviewers=self.min_reviewers,
            min_reviewers_stated=bool(self.rules.min_reviewers),
            records=decisions.records,
            left_out=decisions.left_out,
            decisions=len(decisions.counted),
            last_record=last.n if last else None,
            last_sha256=last.sha256 if last else None,
            reviewers=tuple(self._reviewers()),
            systems=tuple(self._systems(settings)) if decisions.counted else (),
            errors=tuple(
                _errors(_Judged(self, one, truth.tolerance_seconds), watch.total(None), settings)
                for one in found
            )
            if truth and decisions.counted
            else (),
        )

    def _reason(self) -> str:
        if self.run.damage:
            return _DAMAGED
        if self.log is None:
            return _NO_LOG
        return "" if self.decisions.counted else _NOBODY

    def _of_names(self) -> Mapping[str, list[Decision]]:
        names = {_key(one) for one in self.run.tracks if one.decision.subject is not None}
        found: dict[str, list[Decision]] = defaultdict(list)
        for one in self.decisions.counted:
            if one.track in names:
                found[one.track[0]].append(one)
        return found

    def _reviewers(self) -> Iterator[ReviewerResult]:
        own: dict[int, list[Decision]] = defaultdict(list)
        for one in self.decisions.counted:
            own[one.reviewer].append(one)
        for number in sorted(own):
            said = Counter(one.verdict for one in own[number])
            seconds = _seconds(own[number])
            yield ReviewerResult(
                number=number,
                decisions=said.total(),
                confirmed=said[Verdict.CONFIRMED],
                rejected=said[Verdict.REJECTED],
                undecided=said[Verdict.UNDECIDED],
                timed=len(seconds),
                p50_seconds=percentile(seconds, 50),
                hours=_hours(seconds),
            )

    def _systems(self, settings: Settings) -> Iterator[ReviewedResult]:
        """The names of each system, and its unknowns where anybody looked at one."""
        for backend in self.run.record.backends:
            own = [one for one in self.run.tracks if one.backend == backend.name]
            named = [one for one in own if one.decision.subject is not None]
            others = [one for one in own if one.decision.subject is None]
            yield self._reviewed(backend.name, "name", named, settings)
            unknown = self._reviewed(backend.name, "unknown", others, settings)
            if unknown.reviewed:
                yield unknown

    def by_track(self) -> Mapping[TrackKey, list[Decision]]:
        """The decisions on each track."""
        found: dict[TrackKey, list[Decision]] = defaultdict(list)
        for one in self.decisions.counted:
            found[one.track].append(one)
        return found

    def _reviewed(
        self,
        system: str,
        said: Literal["name", "unknown"],
        tracks: Sequence[TrackRecord],
        settings: Settings,
    ) -> ReviewedResult:
        by_track = self.by_track()
        looked_at = [one for one in tracks if by_track.get(_key(one))]
        own = [one for track in looked_at for one in by_track[_key(track)]]
        made_of = Counter(_together(by_track[_key(track)]) for track in looked_at)
        several = [one for one in looked_at if len(by_track[_key(one)]) > 1]
        counts = np.array(
            [_verdict_counts(by_track[_key(one)]) for one in several], dtype=np.intp
        ).reshape(-1, len(_VERDICTS))
        differ = (counts > 0).sum(axis=1) > 1
        about = _people(several)
        seconds = _seconds(own)
        return ReviewedResult(
            system=system,
            said=said,
            alerts=len(tracks),
            reviewed=len(looked_at),
            confirmed=made_of["confirmed"],
            rejected=made_of["rejected"],
            disputed=made_of["disputed"],
            undecided=made_of["undecided"],
            by_enough=sum(len(by_track[_key(one)]) >= self.min_reviewers for one in looked_at),
            reviewers=len({one.reviewer for one in own}),
            decisions=len(own),
            timed=len(seconds),
            p50_seconds=percentile(seconds, 50),
            p95_seconds=percentile(seconds, 95) if len(seconds) >= _LEAST_FOR_P95 else None,
            hours=_hours(seconds),
            compared=len(several),
            disagreement=EstimateResult.of(estimate_rate(Trials(differ, about), settings)),
            alpha=EstimateResult.of(estimate_alpha(counts, about, settings)),
        )


def _verdict_counts(decisions: Sequence[Decision]) -> list[int]:
    said = Counter(one.verdict for one in decisions)
    return [said[verdict] for verdict in _VERDICTS]


def _together(decisions: Sequence[Decision]) -> str:
    """What several reviewers made of one alert."""
    said = {one.verdict for one in decisions}
    if said >= {Verdict.CONFIRMED, Verdict.REJECTED}:
        return "disputed"
    if Verdict.REJECTED in said:
        return "rejected"
    return "confirmed" if Verdict.CONFIRMED in said else "undecided"


def _seconds(decisions: Iterable[Decision]) -> list[float]:
    return [one.seconds for one in decisions if one.seconds is not None]


def _hours(seconds: Sequence[float]) -> float | None:
    return math.fsum(seconds) / 3600 if seconds else None


def _people(tracks: Sequence[TrackRecord]) -> IntArray:
    """Codes of those named (of an unknown: whom it resembled most)."""
    names = np.array([_about(one) for one in tracks], dtype=np.str_)
    return np.unique(names, return_inverse=True)[1].astype(np.intp)


def _about(track: TrackRecord) -> str:
    decision = track.decision
    nearest = decision.best.subject if decision.best else None
    return str(decision.subject or nearest or "")


# --- against the truth ------------------------------------------------------------------------


class _Judged:
    """One system's names after review."""

    def __init__(self, reviews: Reviews, found: SystemTransits, tolerance: float) -> None:
        self.found = found
        self._tolerance = tolerance
        self._right: dict[tuple[str, str], list[TrackRecord]] = defaultdict(list)
        for one in found.right_names:
            self._right[one.camera, str(one.decision.subject)].append(one)
        self._least = reviews.min_reviewers
        self._by_track = reviews.by_track()

    def decisions(self, track: TrackRecord) -> Sequence[Decision]:
        return self._by_track.get(_key(track), ())

    def fate(self, track: TrackRecord) -> Literal["passed", "stopped", "open"]:
        """What became of an alert; see ``PassedResult``."""
        said = Counter(one.verdict for one in self.decisions(track))
        if said[Verdict.REJECTED]:
            return "stopped"
        if said[Verdict.CONFIRMED] >= self._least:
            return "passed"
        return "stopped" if said.total() >= self._least else "open"

    def identified(self) -> PassedResult:
        """Transits of enrolled people that were named: passed where any name that named them is,
        stopped where all are."""
        fates = Counter[str]()
        for answer in self.found.answers:
            entry = answer.crossing.entry
            own = {
                self.fate(one)
                for one in self._right[entry.camera, entry.person]
                if entry.overlap(one.first_seconds, one.last_seconds) >= -self._tolerance
            }
            fates.update([one for one in _BEST_FIRST if one in own][:1])
        return _passed(fates)


def _passed(fates: Counter[str]) -> PassedResult:
    return PassedResult(
        all=fates.total(), passed=fates["passed"], stopped=fates["stopped"], open=fates["open"]
    )


def _errors(judged: _Judged, days: float | None, settings: Settings) -> ReviewErrorsResult:
    found = judged.found
    wrong = [one.track for one in found.false_alerts]
    right = list(found.right_names)
    left = [one for one in found.false_alerts if judged.fate(one.track) == "passed"]
    wrong_fates = Counter[str](judged.fate(one) for one in wrong)
    per_day = alerts_per_day(left, days, settings)
    if wrong_fates["open"]:
        waiting = many(wrong_fates["open"], "false alert")
        waits = f"{waiting} still to be looked at by enough reviewers"
        per_day = replace(refused(len(left), len(left), per_day.people, waits), unit="alert")
    return ReviewErrorsResult(
        system=found.backend.name,
        wrong_confirmed=_said(judged, wrong, Verdict.CONFIRMED, settings),
        right_rejected=_said(judged, right, Verdict.REJECTED, settings),
        false_alerts=_passed(wrong_fates),
        right_names=_passed(Counter[str](judged.fate(one) for one in right)),
        identified=judged.identified(),
        false_left=_share(wrong, judged.fate, "passed", settings),
        right_lost=_share(right, judged.fate, "stopped", settings),
        false_left_per_camera_day=EstimateResult.of(per_day),
    )


def _said(
    judged: _Judged, tracks: Sequence[TrackRecord], verdict: Verdict, settings: Settings
) -> EstimateResult:
    """Share of decisions on these tracks that are ``verdict``; an undecided one is none."""
    pairs = [(track, one.verdict) for track in tracks for one in judged.decisions(track)]
    erred = np.array([said == verdict for _, said in pairs], dtype=np.bool_)
    people = _people([track for track, _ in pairs])
    return EstimateResult.of(estimate_rate(Trials(erred, people), settings))


def _share(
    tracks: Sequence[TrackRecord],
    fate: Callable[[TrackRecord], str],
    counted: str,
    settings: Settings,
) -> EstimateResult:
    """Share of the tracks that are not open whose fate is ``counted``."""
    known = [one for one in tracks if fate(one) != "open"]
    erred = np.array([fate(one) == counted for one in known], dtype=np.bool_)
    return EstimateResult.of(estimate_rate(Trials(erred, _people(known)), settings))
