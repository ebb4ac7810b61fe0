"""The form of ``report.json``: the product of an evaluation, of which the page is a view.

Every measured rate is an ``EstimateResult``: value, trials, errors, people, interval, and whether
the evidence is enough. ``docs/report.schema.json`` is this module as a JSON Schema.
"""

from __future__ import annotations

import json
import math
from typing import Final, Literal

from pydantic import JsonValue

from rekadapter.evaluation.clause_results import ClauseResult
from rekadapter.evaluation.discard_results import DiscardResult
from rekadapter.evaluation.effort_results import EffortResult
from rekadapter.evaluation.feed_results import FeedsResult
from rekadapter.evaluation.one_to_one_results import OneToOneResult
from rekadapter.evaluation.result_base import EstimateResult as EstimateResult  # noqa: PLC0414
from rekadapter.evaluation.result_base import Result as Result  # noqa: PLC0414  known from here
from rekadapter.evaluation.survey_results import SurveyResult
from rekadapter.evaluation.sweep_results import SweepResult
from rekadapter.evaluation.threshold_results import InForceResult

REPORT_SCHEMA_VERSION: Final = 1
REPORT_FILE: Final = "report.json"
DIGITS: Final = 7
"""Significant digits of a measured number in the file. The last bits of a float differ between
processors, and the fewer digits are kept, the less often such a bit reaches a kept one."""
_IN_FULL: Final = "threshold"
"""A key whose numbers are not rounded: a threshold is a score as it came, or the next float, and
rounding it could let a face pass or fail that did not."""

Outcome = Literal["pass", "fail", "not enough evidence"]


class RunResult(Result):
    """Where the figures come from. ``id`` is a digest of protocol, answers, and what was brought of
    the photographs' quality (``quality_sha256``, None without); times are those of the first and
    last stored answer. ``doubts``: what is not as the audit log says it was; where there is one, do
    not rely on any figure."""

    id: str
    tool_version: str
    started: str | None
    ended: str | None
    seed: int
    input_sha256: str
    protocol_sha256: str
    answers_sha256: str
    quality_sha256: str | None = None
    synthetic: bool
    doubts: tuple[str, ...] = ()


class SplitResult(Result):
    """Whom thresholds were chosen on, and whom they were tested on."""

    unit: str
    calibration_people: int
    test_people: int
    sha256: str


class PrimaryResult(Result):
    """The comparison declared beforehand."""

    metric: str
    target_fpir: float
    margin: float


class ProtocolResult(Result):
    """How it was measured, fixed before the first search."""

    name: str
    mode: str
    primary: PrimaryResult
    targets: tuple[float, ...]
    rank: int | None
    gallery_size: int
    split: SplitResult
    held_out: bool
    search_unit: Literal["photograph", "transit"]
    aggregation: str
    multiple_faces: str
    exclusions: tuple[str, ...]
    requirements: dict[str, float | None]
    stated_requirements: tuple[str, ...]


class DefaultThreshold(Result):
    """A threshold a system ships with or its vendor advises."""

    label: str
    threshold: float
    source: str


class SystemResult(Result):
    """A system as it was tested. ``in_force``: of a run, the threshold it named people by."""

    id: str
    kind: Literal["cloud", "local"]
    backend: str
    model: str
    gallery_model: str | None
    scale: str
    defaults: tuple[DefaultThreshold, ...]
    details: dict[str, str]
    terms_flags: tuple[str, ...]
    in_force: InForceResult | None = None


class GroupCount(Result):
    """How many people of a group were enrolled, and how many searched without being enrolled.

    None where fewer than ten: so few people would be pointed at."""

    attribute: str
    value: str
    enrolled: int | None
    absent: int | None


class DataResult(Result):
    """What was measured on."""

    people: int
    enrolled_people: int
    mated_people: int
    nonmated_people: int
    gallery_photographs: int
    probes: int
    transits: int
    mated_searches: int
    nonmated_searches: int
    missing_answers: int
    consent_basis: str | None
    label_source: str | None
    groups: tuple[GroupCount, ...]


class CauseResult(Result):
    """How often something failed for one cause, and at which stage."""

    stage: Literal["enroll", "image", "acquire", "request"]
    cause: str
    count: int


class FailureResult(Result):
    """What gave no score, for one system. Each failure counts as a miss."""

    system: str
    fte: EstimateResult
    ftx: EstimateResult
    causes: tuple[CauseResult, ...]


class ThresholdResult(Result):
    """A threshold and whom it was chosen on; see ``thresholds.ThresholdChoice``."""

    target_fpir: float
    threshold: float | None
    achieved: float | None
    searches: int
    errors: int
    ties: int
    people: int
    sufficient: bool
    reason: str


class AccuracyResult(Result):
    """One system at one threshold, on the test people."""

    system: str
    gallery_size: int
    rank: int | None
    basis: Literal["equal_fpir", "shipped_default", "in_force"]
    label: str
    target_fpir: float | None
    primary: bool
    threshold: float | None
    chosen: ThresholdResult | None
    fpir: EstimateResult
    fnir: EstimateResult
    selectivity: EstimateResult


class DetResult(Result):
    """FNIR against FPIR at falling thresholds: triples (fpir, fnir, threshold), thinned."""

    system: str
    points: tuple[tuple[float, float, float], ...]
    cut_at: float | None


class RankResult(Result):
    """Investigation: the mate is not among the first ``rank`` candidates, whatever its score."""

    system: str
    rank: int
    miss: EstimateResult


class SizePoint(Result):
    """Rates with a part of the gallery: mean, lowest and highest over several draws."""

    gallery_size: int
    draws: int
    fpir: tuple[float | None, float | None, float | None]
    fnir: tuple[float | None, float | None, float | None]
    fpir_if_independent: float | None


class GallerySizeResult(Result):
    """How the rates move with the size of the gallery, at one threshold."""

    system: str
    label: str
    threshold: float | None
    points: tuple[SizePoint, ...]
    reason: str


class PairedResult(Result):
    """B's misses minus A's on the same searches, each at its own threshold for the target."""

    a: str
    b: str
    gallery_size: int
    target_fpir: float
    primary: bool
    diff: EstimateResult | None
    discordant_people: int | None
    p_value: float | None
    p_holm: float | None
    test: str
    margin: float
    verdict: str
    reason: str


class GroupResult(Result):
    """One group's rates, and medians of its searched photographs as the system saw them; a
    suppressed cell carries none. Brightness and sharpness: percent, where the system gives them."""

    group: str
    fpir: EstimateResult | None
    fnir: EstimateResult | None
    eye_px_p50: float | None
    brightness_p50: float | None
    sharpness_p50: float | None
    suppressed: bool


class RatioResult(Result):
    """How far the groups' rates lie apart; None with a reason where undefined. ``over_reference``:
    each other group's rate over that of the reference group, where the rules name one."""

    metric: Literal["fpir", "fnir"]
    groups: int
    min: float | None
    max: float | None
    max_over_min: float | None
    max_over_mean: float | None
    max_over_geomean: float | None
    mean_abs_log10: float | None
    gini: float | None
    over_reference: dict[str, float]
    chance_p: float | None
    left_out: tuple[str, ...]
    reason: str


class GroupCurvePoint(Result):
    """A group's FPIR at one threshold; None for a group too small to show."""

    threshold: float
    overall: float
    groups: dict[str, float | None]


class ScoresResult(Result):
    """Single numbers for an appendix; each hides more than it shows."""

    fdr: float | None
    ir: float | None
    garbe: float | None


class EquityResult(Result):
    """One system and one attribute (or the intersection of two), at the primary threshold."""

    system: str
    basis: str
    attribute: str
    threshold: float | None
    per_group: tuple[GroupResult, ...]
    ratios: tuple[RatioResult, ...]
    scores: ScoresResult
    fpir_by_threshold: tuple[GroupCurvePoint, ...]
    reason: str


class CameraResult(Result):
    """Pixels between the eyes on one camera, as one system measured them."""

    id: str
    system: str
    searches: int
    measured: int
    eye_px_p10: float | None
    eye_px_p50: float | None
    eye_px_p90: float | None
    px_per_meter: float | None
    fnir: EstimateResult
    false_alerts_per_hour: float | None
    verdict: str
    reasons: tuple[str, ...]


class ConsequenceResult(Result):
    """What the rates mean on the street, for one prevalence."""

    prevalence: float
    true_alerts_per_day: float
    false_alerts_per_day: float
    precision: float | None


class PolicyResult(Result):
    """A threshold in force and its consequences."""

    system: str
    basis: str
    label: str
    threshold: float | None
    faces_per_day: float
    consequences: tuple[ConsequenceResult, ...]
    reason: str


class AlertTimeResult(Result):
    """Seconds from the start of a mated transit to its first right alert, where times are given."""

    system: str
    label: str
    transits: int
    alerted: int
    p50_seconds: float | None
    p95_seconds: float | None
    reason: str


class LatencyResult(Result):
    """One stage: nearest-rank percentiles in milliseconds."""

    stage: str
    n: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class OpsResult(Result):
    """How one system ran here."""

    system: str
    latencies: tuple[LatencyResult, ...]
    searches_per_second_one_at_a_time: float | None
    calls: int
    failed_calls: int
    attempts: int
    bytes_sent: int
    bytes_received: int
    bytes_per_search: float | None
    failed_requests: EstimateResult
    errors: dict[str, int]


class PriceResult(Result):
    """A dated price."""

    system: str
    item: str
    unit: str
    usd: tuple[tuple[float, int | None], ...]
    source: str
    as_of: str


class CostLine(Result):
    """One line of a month's cost; None where an input or a price is missing."""

    item: str
    usd: float | None
    how: str


class MonthlyResult(Result):
    """A month of one system. ``total_usd`` is the sum of the known lines, None where no line is
    known; ``missing`` names what is not in it."""

    system: str
    lines: tuple[CostLine, ...]
    total_usd: float | None
    missing: tuple[str, ...]


class SensitivityResult(Result):
    """The month's total with one input moved."""

    system: str
    input: str
    change: str
    total_usd: float


class BreakEvenResult(Result):
    """Searches a month from which the local system is the cheaper one."""

    cloud: str
    local: str
    searches_per_month: float | None
    reason: str


class SpentResult(Result):
    """What this evaluation's own calls cost, by the price list."""

    system: str
    requests: int
    unpriced: int
    usd: float | None


class CostResult(Result):
    """Prices, this test's own bill, and a month in use."""

    prices: tuple[PriceResult, ...]
    spent: tuple[SpentResult, ...]
    per_1000_searches: dict[str, float | None]
    monthly: tuple[MonthlyResult, ...]
    breakeven: tuple[BreakEvenResult, ...]
    sensitivity: tuple[SensitivityResult, ...]
    note: str


class GovernanceField(Result):
    """A question no measurement answers; ``value`` None: not provided."""

    key: str
    label: str
    value: str | None
    source: str


class VerdictResult(Result):
    """One gate for one system."""

    gate: str
    system: str
    result: Outcome
    rule: str
    why: str
    evidence_keys: tuple[str, ...]


class ConclusionResult(Result):
    """What the gates together say of one system: the first that is not passed decides."""

    system: str
    result: Outcome
    gate: str | None
    sentence: str


class AnchorResult(Result):
    """A published figure of another system on other data, for scale."""

    source: str
    date: str
    metric: str
    value: str
    caveat: str
    checked: bool


class DecisionResult(Result):
    """The first page in plain words."""

    tested: tuple[str, ...]
    findings: tuple[str, ...]
    biggest_risk: str
    cannot_say: tuple[str, ...]


class EvaluationReport(Result):
    """The whole of ``report.json``. ``feeds`` is None where photographs were searched,
    ``survey`` where nobody surveyed the cameras, ``effort`` in reports of older versions."""

    schema_version: int
    run: RunResult
    decision: DecisionResult
    conclusions: tuple[ConclusionResult, ...]
    verdicts: tuple[VerdictResult, ...]
    protocol: ProtocolResult
    systems: tuple[SystemResult, ...]
    data: DataResult
    failures: tuple[FailureResult, ...]
    accuracy: tuple[AccuracyResult, ...]
    det: tuple[DetResult, ...]
    investigation: tuple[RankResult, ...]
    gallery_size: tuple[GallerySizeResult, ...]
    paired: tuple[PairedResult, ...]
    policy: tuple[PolicyResult, ...]
    time_to_alert: tuple[AlertTimeResult, ...]
    one_to_one: OneToOneResult | None = None
    sweep: SweepResult | None = None
    discard: tuple[DiscardResult, ...] = ()
    equity: tuple[EquityResult, ...]
    cameras: tuple[CameraResult, ...]
    ops: tuple[OpsResult, ...]
    cost: CostResult
    governance: tuple[GovernanceField, ...]
    anchors: tuple[AnchorResult, ...]
    limitations: tuple[str, ...]
    clauses: tuple[ClauseResult, ...] = ()
    feeds: FeedsResult | None = None
    effort: EffortResult | None = None
    survey: SurveyResult | None = None


def report_text(report: EvaluationReport) -> str:
    """``report.json`` as text: the same report gives the same bytes on every machine."""
    plain = _rounded(report.model_dump(mode="json"))
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_stored(report: EvaluationReport) -> EvaluationReport:
    """The report as ``report.json`` holds it, rounded: what a page is made from."""
    return EvaluationReport.model_validate_json(report_text(report))


def report_schema() -> str:
    """The JSON Schema of ``report.json`` as text."""
    schema = EvaluationReport.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "rekadapter evaluation report"
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _rounded(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: part if key == _IN_FULL else _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return value
