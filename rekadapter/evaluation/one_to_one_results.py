"""The form of the section on comparisons (1:1) of ``report.json``."""

from __future__ import annotations

from typing import Literal

from rekadapter.evaluation.result_base import EstimateResult, Result


class ScoreSourceResult(Result):
    """Where one system's comparison scores come from; see ``comparisons.ScoreSource``.

    ``compare``: its own compare operation. ``search``: its searches, shown to make the same
    comparison on the ``checked`` pairs. ``none``: it has no scores, and ``sentence`` says why.
    """

    system: str
    source: Literal["compare", "search", "none"]
    operation: str
    planned: int
    compared: int
    checked: int
    differing: int
    largest_difference: float | None
    tolerance: float
    sentence: str


class FmrThresholdResult(Result):
    """A threshold and whom it was chosen on; see ``thresholds.ThresholdChoice``."""

    target_fmr: float
    threshold: float | None
    achieved: float | None
    comparisons: int
    errors: int
    ties: int
    people: int
    sufficient: bool
    reason: str


class ComparisonAccuracyResult(Result):
    """One system at one threshold, on the pairs of the test people."""

    system: str
    basis: Literal["equal_fmr", "shipped_default"]
    label: str
    target_fmr: float | None
    primary: bool
    threshold: float | None
    chosen: FmrThresholdResult | None
    fmr: EstimateResult
    fnmr: EstimateResult


class ComparisonDetResult(Result):
    """FNMR against FMR at falling thresholds: triples (fmr, fnmr, threshold), thinned."""

    system: str
    points: tuple[tuple[float, float, float], ...]
    cut_at: float | None


class ComparisonCause(Result):
    """How many comparisons failed for one cause."""

    cause: str
    count: int


class ComparisonFailureResult(Result):
    """Comparisons without a score, of one system. Of a mated pair each counts as a miss."""

    system: str
    failed: EstimateResult
    causes: tuple[ComparisonCause, ...]


class PairedComparisonResult(Result):
    """B's misses minus A's on the same mated pairs, each at its own threshold for the target."""

    a: str
    b: str
    target_fmr: float
    primary: bool
    diff: EstimateResult | None
    discordant_people: int | None
    p_value: float | None
    p_holm: float | None
    test: str
    margin: float
    verdict: str
    reason: str


class ComparisonGroupResult(Result):
    """One group's rates: FMR among pairs within the group; a suppressed cell carries none."""

    group: str
    fmr: EstimateResult | None
    fnmr: EstimateResult | None
    suppressed: bool


class ComparisonRatioResult(Result):
    """How far the groups' rates lie apart; see ``results.RatioResult``."""

    metric: Literal["fmr", "fnmr"]
    groups: int
    min: float | None
    max: float | None
    max_over_min: float | None
    max_over_mean: float | None
    max_over_geomean: float | None
    mean_abs_log10: float | None
    gini: float | None
    over_reference: dict[str, float]
    left_out: tuple[str, ...]
    reason: str


class ComparisonEquityResult(Result):
    """One system and one attribute (or the intersection of two), at the threshold in force."""

    system: str
    basis: str
    attribute: str
    threshold: float
    per_group: tuple[ComparisonGroupResult, ...]
    ratios: tuple[ComparisonRatioResult, ...]


class ComparisonLatencyResult(Result):
    """Seconds of a comparison, from both pictures in memory to the answer."""

    system: str
    n: int
    failed_requests: EstimateResult
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class ImpliedFpirResult(Result):
    """What a measured FMR would be in a gallery of N, were a search N independent comparisons:
    1 - (1 - FMR)^N, with the ends of FMR's interval. Some engines do not work that way (NIST)."""

    system: str
    label: str
    gallery_size: int
    fpir: float
    lo: float
    hi: float


class OneToOneResult(Result):
    """Comparisons of two photographs. ``only``: the data set is one of pairs, and nobody was
    searched. Pairs are those of the figures; ``crossing`` join the two sides and were left out."""

    only: bool
    target_fmr: float
    mated: int
    nonmated: int
    test_mated: int
    test_nonmated: int
    crossing: int
    calibration_people: int
    test_people: int
    missing: int
    sources: tuple[ScoreSourceResult, ...]
    accuracy: tuple[ComparisonAccuracyResult, ...]
    det: tuple[ComparisonDetResult, ...]
    paired: tuple[PairedComparisonResult, ...]
    failures: tuple[ComparisonFailureResult, ...]
    implied_fpir: tuple[ImpliedFpirResult, ...]
    equity: tuple[ComparisonEquityResult, ...]
    latency: tuple[ComparisonLatencyResult, ...]
    notes: tuple[str, ...]
