"""The part of ``report.json`` that a run on feeds adds: transits, names said, running."""

from __future__ import annotations

from rekadapter.evaluation.result_base import EstimateResult, Result
from rekadapter.evaluation.review_results import ReviewsResult


class TransitsResult(Result):
    """One system's transits at the threshold that was in force; ``camera`` None: all cameras.

    ``missed`` and ``falsely_named`` count every person once for what it is worth; ``nameless``
    transits (nobody said who it was) are counted and carry no interval.
    """

    system: str
    camera: str | None
    threshold: float
    mated: int
    identified: int
    named_as_another: int
    nonmated: int
    nonmated_named: int
    nameless: int
    nameless_named: int
    missed: EstimateResult
    falsely_named: EstimateResult


class AlertsResult(Result):
    """Names said by one system; ``camera`` None: all cameras.

    ``false_alerts``: nobody of that name was in view. ``nobody_in_view``: nobody at all was.
    ``several_in_view``: it is not certain whom the false alert belongs to.
    """

    system: str
    camera: str | None
    names_said: int
    right: int
    false_alerts: int
    nobody_in_view: int
    several_in_view: int
    camera_days: float | None
    per_camera_day: EstimateResult
    timed: int
    p50_seconds: float | None
    p95_seconds: float | None


class FeedPairResult(Result):
    """B's missed transits minus A's, each at its own threshold in force."""

    a: str
    b: str
    diff: EstimateResult
    discordant_people: int
    p_value: float | None
    test: str
    margin: float
    verdict: str


class AgreementResult(Result):
    """How two systems' tracks compare; it says nothing about who is right."""

    a: str
    b: str
    tracks: int
    comparable: int
    same: int
    outcomes: dict[str, int]


class WatchedCamera(Result):
    """One feed of the run. ``dropped``: by system and cause. A live camera was away
    ``interruptions`` times, ``away_seconds`` together."""

    id: str
    width: int | None
    height: int | None
    seconds: float | None
    captured: int | None
    processed: dict[str, int]
    dropped: dict[str, dict[str, int]]
    interruptions: int
    away_seconds: float
    error: str | None


class OutagesResult(Result):
    """Stretches in which at least two requests (frames, for a system without requests) in a row
    failed and none was answered."""

    count: int
    longest_seconds: float | None


class RunningResult(Result):
    """How one system kept up with the feeds. Rates are by the clock of the run, not of the feeds.

    ``unanswered``: share of requests (frames) that failed; five minutes are the unit.
    """

    system: str
    captured: int | None
    processed: int | None
    failed_frames: int
    unaccounted: int | None
    dropped: dict[str, int]
    run_seconds: float | None
    frames_per_second: float | None
    faces_per_second: float | None
    unanswered: EstimateResult
    outages: OutagesResult
    bits_per_second: float | None
    highest_10_s_bits_per_second: float | None
    ceiling_bits_per_second: float | None


class ReviewResult(Result):
    """What people have to look at. ``wrong``: share of the names said that were wrong, where
    somebody said who was there. Hours only where seconds an alert are given, or measured:
    ``seconds_basis`` says which."""

    system: str
    names_per_camera_day: float | None
    wrong: EstimateResult
    hours_per_camera_day: float | None
    reason: str
    seconds_per_alert: float | None = None
    seconds_basis: str = ""


class FeedsResult(Result):
    """What a run on feeds came to. ``truth``: somebody said who was really there."""

    state: str
    truth: bool
    tolerance_seconds: float | None
    cameras: tuple[WatchedCamera, ...]
    transits: tuple[TransitsResult, ...]
    alerts: tuple[AlertsResult, ...]
    pairs: tuple[FeedPairResult, ...]
    agreement: tuple[AgreementResult, ...]
    running: tuple[RunningResult, ...]
    review: tuple[ReviewResult, ...]
    reviews: ReviewsResult | None = None
