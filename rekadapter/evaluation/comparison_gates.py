"""The gates of an evaluation whose data are pairs: comparisons (1:1) in the place of searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rekadapter.evaluation.gate_findings import (
    FAIL,
    MADE_UP,
    PASS,
    UNKNOWN,
    Evidences,
    Finding,
    Gate,
    all_alike,
    at_most,
    farthest_apart,
    group_rates,
    proposal,
    thin,
    too_unlike,
)
from rekadapter.evaluation.one_to_one_results import (
    ComparisonAccuracyResult,
    ComparisonEquityResult,
    OneToOneResult,
)
from rekadapter.evaluation.rates import counted, percent, share
from rekadapter.evaluation.record import SystemEntry


def _evidence(entry: SystemEntry, seen: Evidences) -> Finding:
    rule = "thresholds and error rates rest on enough people and errors; nothing is missing"
    keys = ("one_to_one", f"one_to_one.accuracy[system={entry.name},primary=true]")
    section = seen.one_to_one
    row = _primary(entry, section)
    if section is None or row is None:
        return Finding(UNKNOWN, rule, "it has no comparison scores", keys)
    reasons = list(thin(row.threshold, row.chosen, ("FMR", row.fmr), ("FNMR", row.fnmr)))
    if seen.record.synthetic:
        reasons.insert(0, MADE_UP)
    if section.missing:
        reasons.insert(0, f"{section.missing} comparisons were not made")
    if reasons:
        return Finding(UNKNOWN, rule, reasons[0], keys)
    why = f"{section.test_mated} mated and {section.test_nonmated} non-mated pairs of test people"
    return Finding(PASS, rule, why, keys)


def _accuracy(entry: SystemEntry, seen: Evidences) -> Finding:
    rules = seen.record.rules.one_to_one
    rule = (
        f"at a threshold chosen for FMR {percent(rules.target_fmr)}, the whole interval of FNMR is "
        f"at most {percent(rules.max_fnmr)}, and FMR's is not above its target"
        f"{proposal(seen, 'one_to_one.max_fnmr')}"
    )
    keys = (f"one_to_one.accuracy[system={entry.name},primary=true]",)
    row = _primary(entry, seen.one_to_one)
    if row is None:
        return Finding(UNKNOWN, rule, "it has no comparison scores", keys)
    if row.chosen and not row.chosen.sufficient:
        return Finding(UNKNOWN, rule, f"the threshold: {row.chosen.reason}", keys)
    if row.fmr.ci is not None and row.fmr.ci.lo > rules.target_fmr:
        matched = counted(row.fmr, "{n} pairs of two people")
        why = f"more false matches than the {percent(rules.target_fmr)} it was set to: {matched}"
        return Finding(FAIL, rule, why, keys)
    missed = counted(row.fnmr, "{n} pairs of one person ({people} people)")
    why = f"misses: {missed}; the limit is {percent(rules.max_fnmr)}"
    return Finding(at_most(row.fnmr, rules.max_fnmr), rule, why, keys)


def _equity(entry: SystemEntry, seen: Evidences) -> Finding:
    limit = seen.record.rules.requirements.max_group_ratio
    rule = (
        f"FNMR and FMR of any two groups differ at most {limit:g} times, by the far ends of their "
        f"intervals{proposal(seen, 'requirements.max_group_ratio')}"
    )
    keys = (f"one_to_one.equity[system={entry.name}]",)
    found = seen.one_to_one.equity if seen.one_to_one else ()
    own = [one for one in found if one.system == entry.name and " x " not in one.attribute]
    if not own:
        return Finding(UNKNOWN, rule, "nobody carries a group label", keys)
    judged = [_spread(one, limit) for one in own]
    for result in (FAIL, UNKNOWN):
        worst = next((one for one in judged if one.result == result), None)
        if worst:
            return Finding(worst.result, rule, worst.why, keys)
    return Finding(PASS, rule, judged[0].why, keys)


def _spread(equity: ComparisonEquityResult, limit: float) -> Finding:
    """Fails where even the near ends of two intervals lie too far apart; passes where even the far
    ends do not, for every group."""
    name = equity.attribute
    unclear = any(group.suppressed for group in equity.per_group)
    for metric in ("fnmr", "fmr"):
        rates = [(g.group, g.fnmr if metric == "fnmr" else g.fmr) for g in equity.per_group]
        known = tuple(group_rates(rates))
        apart = farthest_apart(known, limit)
        if apart:
            return Finding(FAIL, "", too_unlike(name, metric, apart, limit), ())
        unclear = unclear or len(known) < max(2, len(rates)) or not all_alike(known, limit)
    if unclear:
        return Finding(UNKNOWN, "", f"by {name}: groups too small, or intervals too wide", ())
    return Finding(PASS, "", f"by {name}: every group within the limit", ())


def _operations(entry: SystemEntry, seen: Evidences) -> Finding:
    needs = seen.record.rules.requirements
    limits = proposal(seen, "requirements.max_p95_seconds", "requirements.max_failed_requests")
    rule = (
        f"failed requests at most {percent(needs.max_failed_requests)} by the whole interval, p95 "
        f"of a comparison within {needs.max_p95_seconds:g} s{limits}"
    )
    keys = (f"one_to_one.latency[system={entry.name}]",)
    timed = seen.one_to_one.latency if seen.one_to_one else ()
    row = next((one for one in timed if one.system == entry.name), None)
    if row is None or row.p95_ms is None:
        return Finding(UNKNOWN, rule, "no comparison was timed", keys)
    if row.p95_ms > 1000 * needs.max_p95_seconds:
        return Finding(FAIL, rule, f"p95 is {row.p95_ms / 1000:.2g} s", keys)
    failed = at_most(row.failed_requests, needs.max_failed_requests)
    why = f"p95 is {row.p95_ms:,.0f} ms here; failed requests: {share(row.failed_requests)}"
    return Finding(failed, rule, why, keys)


def _primary(entry: SystemEntry, section: OneToOneResult | None) -> ComparisonAccuracyResult | None:
    rows = section.accuracy if section else ()
    return next((row for row in rows if row.system == entry.name and row.primary), None)


COMPARISON_JUDGES: Final[Mapping[str, Gate]] = {
    "evidence": _evidence,
    "accuracy": _accuracy,
    "equity": _equity,
    "operations": _operations,
}
"""The gates that differ where nobody is searched."""
