"""The part of ``report.json`` about people who reviewed what a run said. It names none of them."""

from __future__ import annotations

from typing import Literal

from rekadapter.evaluation.result_base import EstimateResult, Result


class ReviewerResult(Result):
    """One person, by number in the order of first decisions; ``timed`` decisions have seconds."""

    number: int
    decisions: int
    confirmed: int
    rejected: int
    undecided: int
    timed: int
    p50_seconds: float | None
    hours: float | None


class ReviewedResult(Result):
    """What people made of the names (or of the unknowns) that one system said.

    ``reviewed`` alerts, on which anybody decided, are ``confirmed`` (somebody confirmed, nobody
    rejected) + ``rejected`` (the other way round) + ``disputed`` (both) + ``undecided``.
    ``by_enough``: at least as many different reviewers as the rules ask for. ``disagreement``: the
    share of the ``compared`` alerts, those with two reviewers or more, about which not all said the
    same; ``alpha`` is Krippendorff's, for nominal data. People of both are those named (of an
    unknown, whom it resembled most).
    """

    system: str
    said: Literal["name", "unknown"]
    alerts: int
    reviewed: int
    confirmed: int
    rejected: int
    disputed: int
    undecided: int
    by_enough: int
    reviewers: int
    decisions: int
    timed: int
    p50_seconds: float | None
    p95_seconds: float | None
    hours: float | None
    compared: int
    disagreement: EstimateResult
    alpha: EstimateResult


class PassedResult(Result):
    """Alerts after review: ``passed`` were confirmed by enough reviewers and rejected by none,
    ``stopped`` were rejected, or not confirmed by enough although enough looked, and ``open`` ones
    have not been looked at by enough. ``all = passed + stopped + open``."""

    all: int
    passed: int
    stopped: int
    open: int


class ReviewErrorsResult(Result):
    """Reviewers and one system held against the truth.

    ``wrong_confirmed``: share of decisions on wrong names that confirmed them; ``right_rejected``:
    share of decisions on right names that rejected them. ``false_left`` and ``right_lost`` are
    those of system and reviewers together, of the names that are not open. ``identified`` counts
    transits of enrolled people, by the names that named them rightly. The interval is over people
    named, not over reviewers.
    """

    system: str
    wrong_confirmed: EstimateResult
    right_rejected: EstimateResult
    false_alerts: PassedResult
    right_names: PassedResult
    identified: PassedResult
    false_left: EstimateResult
    right_lost: EstimateResult
    false_left_per_camera_day: EstimateResult


class ReviewsResult(Result):
    """All of it. ``records`` were read from the audit log, up to record ``last_record`` whose line
    has the hash ``last_sha256``; ``decisions`` count by the ``rule``, and ``left_out`` records are
    about no track of the run, or no verdict. ``reason`` says why there is nothing."""

    rule: str
    reason: str
    min_reviewers: int
    min_reviewers_stated: bool
    records: int
    left_out: int
    decisions: int
    last_record: int | None
    last_sha256: str | None
    reviewers: tuple[ReviewerResult, ...]
    systems: tuple[ReviewedResult, ...]
    errors: tuple[ReviewErrorsResult, ...]
