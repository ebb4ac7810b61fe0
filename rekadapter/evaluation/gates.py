"""The gates a system has to pass, in order; a later one cannot rescue an earlier one.

Each says pass, fail, or not enough evidence, by which rule, and which keys of the report hold the
evidence. Nothing passes because nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rekadapter.evaluation.comparison_gates import COMPARISON_JUDGES
from rekadapter.evaluation.gate_cameras import judge_cameras
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
from rekadapter.evaluation.governance import answered_here, research_only, terms_flags
from rekadapter.evaluation.rates import counted, percent, share
from rekadapter.evaluation.record import SystemEntry
from rekadapter.evaluation.results import (
    AccuracyResult,
    ConclusionResult,
    EquityResult,
    VerdictResult,
)

LIST_LENGTH: Final = 10
"""Candidates that a person looks at where the rules name no ``rank``."""

GATES: Final = ("terms", "cameras", "evidence", "accuracy", "equity", "operations", "cost")


def verdicts(seen: Evidences) -> Iterator[VerdictResult]:
    """Each gate for each system, in order."""
    judges = dict(zip(GATES, _JUDGES, strict=True))
    if seen.record.only_pairs:
        judges |= COMPARISON_JUDGES
    for entry in seen.record.systems:
        for gate in GATES:
            found = judges[gate](entry, seen)
            yield VerdictResult(
                gate=gate,
                system=entry.name,
                result=found.result,
                rule=found.rule,
                why=found.why,
                evidence_keys=found.keys,
            )


def conclusions(found: Sequence[VerdictResult]) -> Iterator[ConclusionResult]:
    """For each system, the first gate it does not pass."""
    for system in dict.fromkeys(one.system for one in found):
        own = [one for one in found if one.system == system]
        stop = next((one for one in own if one.result != PASS), None)
        if any(one.result == FAIL for one in own):
            stop = next(one for one in own if one.result == FAIL)
        yield ConclusionResult(
            system=system,
            result=stop.result if stop else PASS,
            gate=stop.gate if stop else None,
            sentence=_sentence(system, own, stop),
        )


def _sentence(system: str, own: Sequence[VerdictResult], stop: VerdictResult | None) -> str:
    if stop is None:
        return f"{system} passes every gate, by the rules stated."
    if stop.result == FAIL:
        made_up = any(one.why == MADE_UP for one in own)
        by = "By made-up scores, " if made_up else ""
        return f"{by}{system} fails the gate '{stop.gate}': {stop.why}."
    still_open = [one.gate for one in own if one.result == UNKNOWN]
    thin = next((one for one in own if one.gate == "evidence" and one.result == UNKNOWN), None)
    why = f" The test is too small: {thin.why}." if thin else ""
    return f"Nothing can be concluded about {system}.{why} Open gates: {', '.join(still_open)}."


# --- gates ------------------------------------------------------------------------------------


def _terms(entry: SystemEntry, seen: Evidences) -> Finding:
    rule = "every governance field is answered, the weights may be used, a person decides"
    keys = ("governance", f"systems[id={entry.name}].terms_flags")
    answers = {field.key: field.value for field in seen.governance}
    if answers["review.sole_basis"] == "yes":
        return Finding(FAIL, rule, "an alert alone may lead to action", keys)
    if research_only(entry):
        return Finding(FAIL, rule, "the weights are licensed for research only", keys)
    if entry.kind == "memory":
        return Finding(FAIL, rule, terms_flags(entry)[0], keys)
    if answered_here(entry):
        why = "its answers came from this machine, not from the service named"
        return Finding(UNKNOWN, rule, why, keys)
    missing = [field.label for field in seen.governance if field.value is None]
    if missing:
        why = f"{len(missing)} of {len(answers)} governance fields are not provided"
        return Finding(UNKNOWN, rule, why, keys)
    return Finding(PASS, rule, "all fields are answered; their truth was not checked", keys)


def _evidence(entry: SystemEntry, seen: Evidences) -> Finding:
    rule = "thresholds and error rates rest on enough people and errors; nothing is missing"
    row = _primary(entry, seen.accuracy)
    keys = ("data", f"accuracy[system={entry.name},primary=true]")
    reasons = list(thin(row.threshold, row.chosen, ("FPIR", row.fpir), ("FNIR", row.fnir)))
    if seen.record.synthetic:
        reasons.insert(0, MADE_UP)
    if seen.data.missing_answers:
        reasons.insert(0, f"{seen.data.missing_answers} searches were not run")
    if reasons:
        return Finding(UNKNOWN, rule, reasons[0], keys)
    why = f"{row.fnir.people} people searched for, {row.fpir.people} absent people"
    return Finding(PASS, rule, why, keys)


def _accuracy(entry: SystemEntry, seen: Evidences) -> Finding:
    if seen.record.rules.mode == "investigation":
        return _listed(entry, seen)
    limit = seen.record.rules.requirements.max_fnir
    row = _primary(entry, seen.accuracy)
    rule = (
        f"at a threshold chosen for FPIR {percent(row.target_fpir or 0)}, the whole interval of "
        f"FNIR is at most {percent(limit)}, and FPIR's is not above its target"
        f"{proposal(seen, 'requirements.max_fnir')}"
    )
    keys = (f"accuracy[system={entry.name},primary=true]",)
    if row.chosen and not row.chosen.sufficient:
        return Finding(UNKNOWN, rule, f"the threshold: {row.chosen.reason}", keys)
    alarmed = row.fpir.ci is not None and row.fpir.ci.lo > (row.target_fpir or 1)
    if alarmed:
        alerts = counted(row.fpir, "{n} searches of {people} absent people")
        why = f"more false alerts than the {percent(row.target_fpir or 1)} it was set to: {alerts}"
        return Finding(FAIL, rule, why, keys)
    missed = counted(row.fnir, "{n} searches of {people} enrolled people")
    why = f"misses: {missed}; the limit is {percent(limit)}"
    return Finding(at_most(row.fnir, limit), rule, why, keys)


def _listed(entry: SystemEntry, seen: Evidences) -> Finding:
    """A person reviews a list: what counts is whether the right person stands on it, and scores and
    false alerts do not."""
    limit, length = seen.record.rules.requirements.max_fnir, seen.record.rules.rank or LIST_LENGTH
    rule = (
        f"the whole interval of searches whose person is not among the first {length} is at most "
        f"{percent(limit)}{proposal(seen, 'requirements.max_fnir')}"
    )
    rows = [one for one in seen.investigation if one.system == entry.name and one.rank <= length]
    if not rows:
        return Finding(UNKNOWN, rule, "no list of candidates was counted", ("investigation",))
    row = max(rows, key=lambda one: one.rank)
    keys = (f"investigation[system={entry.name},rank={row.rank}]",)
    missed = counted(row.miss, "{n} searches of {people} enrolled people")
    why = f"not among the first {row.rank}: {missed}; the limit is {percent(limit)}"
    return Finding(at_most(row.miss, limit), rule, why, keys)


def _equity(entry: SystemEntry, seen: Evidences) -> Finding:
    limit = seen.record.rules.requirements.max_group_ratio
    rule = (
        f"FNIR and FPIR of any two groups differ at most {limit:g} times, by the far ends of their "
        f"intervals{proposal(seen, 'requirements.max_group_ratio')}"
    )
    own = [one for one in seen.equity if one.system == entry.name and " x " not in one.attribute]
    keys = (f"equity[system={entry.name}]",)
    if not own:
        return Finding(UNKNOWN, rule, "nobody carries a group label", keys)
    found = [_spread(one, limit) for one in own]
    worst = next((f for f in found if f.result == FAIL), None)
    worst = worst or next((f for f in found if f.result == UNKNOWN), found[0])
    return Finding(worst.result, rule, worst.why, keys)


def _spread(equity: EquityResult, limit: float) -> Finding:
    """Fails where even the near ends of two intervals lie too far apart; passes where even the far
    ends do not, for every group."""
    name = equity.attribute
    hidden = [g.group for g in equity.per_group if g.suppressed]
    unclear = bool(hidden)
    for metric in ("fnir", "fpir"):
        rates = [(g.group, g.fnir if metric == "fnir" else g.fpir) for g in equity.per_group]
        known = tuple(group_rates(rates))
        apart = farthest_apart(known, limit)
        if apart:
            return Finding(FAIL, "", too_unlike(equity.attribute, metric, apart, limit), ())
        unclear = unclear or len(known) < max(2, len(rates)) or not all_alike(known, limit)
    if unclear:
        return Finding(UNKNOWN, "", f"by {name}: groups too small, or intervals too wide", ())
    return Finding(PASS, "", f"by {name}: every group within the limit", ())


def _operations(entry: SystemEntry, seen: Evidences) -> Finding:
    needs = seen.record.rules.requirements
    limits = proposal(seen, "requirements.max_p95_seconds", "requirements.max_failed_requests")
    rule = (
        f"failed requests at most {percent(needs.max_failed_requests)} by the whole interval, p95 "
        f"within {needs.max_p95_seconds:g} s{limits}"
    )
    keys = (f"ops[system={entry.name}]",)
    row = next(one for one in seen.ops if one.system == entry.name)
    p95 = next((one.p95_ms for one in row.latencies if one.stage.startswith("answer")), None)
    if p95 is None:
        return Finding(UNKNOWN, rule, "no answer was timed", keys)
    if p95 > 1000 * needs.max_p95_seconds:
        return Finding(FAIL, rule, f"p95 is {p95 / 1000:.2g} s", keys)
    failed = at_most(row.failed_requests, needs.max_failed_requests)
    why = f"p95 is {p95:,.0f} ms here; failed requests: {share(row.failed_requests)}"
    return Finding(failed, rule, why, keys)


def _cost(entry: SystemEntry, seen: Evidences) -> Finding:
    budget = seen.record.rules.requirements.monthly_budget_usd
    rule = "a month's cost, with no line missing, is within the budget"
    keys = (f"cost.monthly[system={entry.name}]",)
    month = next(one for one in seen.cost.monthly if one.system == entry.name)
    if budget is None:
        return Finding(UNKNOWN, rule, "no budget is stated", keys)
    total = month.total_usd or 0.0
    if total > budget:
        why = f"${total:,.0f} a month is over ${budget:,.0f}"
        return Finding(FAIL, rule, why, keys)
    if month.missing:
        return Finding(UNKNOWN, rule, f"not known: {', '.join(month.missing)}", keys)
    return Finding(PASS, rule, f"${total:,.0f} a month", keys)


_JUDGES: Final[tuple[Gate, ...]] = (
    _terms, judge_cameras, _evidence, _accuracy, _equity, _operations, _cost,
)  # fmt: skip


# --- words ------------------------------------------------------------------------------------


def _primary(entry: SystemEntry, accuracy: Sequence[AccuracyResult]) -> AccuracyResult:
    return next(row for row in accuracy if row.system == entry.name and row.primary)
