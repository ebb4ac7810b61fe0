"""What gates look at and what they say: shared by the gates of searches and of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from rekadapter.evaluation.one_to_one_results import OneToOneResult
from rekadapter.evaluation.record import EvaluationRecord, SystemEntry
from rekadapter.evaluation.results import (
    AccuracyResult,
    CameraResult,
    CostResult,
    DataResult,
    EquityResult,
    EstimateResult,
    GovernanceField,
    OpsResult,
    Outcome,
)
from rekadapter.evaluation.statistics import Evidence, Verdict, verdict_at_most
from rekadapter.evaluation.survey_results import SurveyResult
from rekadapter.evaluation.sweep_results import SweepResult

PASS: Final[Outcome] = "pass"  # noqa: S105 - a verdict, not a password
FAIL: Final[Outcome] = "fail"
UNKNOWN: Final[Outcome] = "not enough evidence"


@dataclass(frozen=True, slots=True)
class Evidences:
    """What the gates look at."""

    record: EvaluationRecord
    data: DataResult
    accuracy: Sequence[AccuracyResult]
    equity: Sequence[EquityResult]
    cameras: Sequence[CameraResult]
    ops: Sequence[OpsResult]
    cost: CostResult
    governance: Sequence[GovernanceField]
    one_to_one: OneToOneResult | None = None
    survey: SurveyResult | None = None
    sweep: SweepResult | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate found, by which rule, and where in the report the evidence stands."""

    result: Outcome
    rule: str
    why: str
    keys: tuple[str, ...]


class Gate(Protocol):
    """Judges one system."""

    def __call__(self, entry: SystemEntry, seen: Evidences) -> Finding: ...


def at_most(estimate: EstimateResult, limit: float) -> Outcome:
    """Whether a rate is at most ``limit``, by its whole interval."""
    verdict = verdict_at_most(estimate.estimate(), limit, Evidence())
    return {Verdict.PASS: PASS, Verdict.FAIL: FAIL, Verdict.INSUFFICIENT: UNKNOWN}[verdict]


def proposal(seen: Evidences, *names: str) -> str:
    """Words for a rule whose limits nobody stated; ``names`` are dotted keys of the rules."""
    stated = all(name in seen.record.stated for name in names)
    return "" if stated else " (limit: a proposal, nobody stated one)"
