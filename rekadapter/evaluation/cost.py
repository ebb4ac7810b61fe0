"""What a system costs a month, from dated prices and the user's own figures.

A line whose price or input is missing is None and named; it is never taken for zero. Sources of
the forms: total cost = calls at tier prices + stored faces + traffic + review for a cloud service,
hardware over its life + power + licence + administration + review for a local one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from rekadapter.evaluation.record import EvaluationRecord, PriceEntry, SystemEntry
from rekadapter.evaluation.results import (
    AccuracyResult,
    BreakEvenResult,
    CostLine,
    CostResult,
    MonthlyResult,
    OpsResult,
    PriceResult,
    SensitivityResult,
    SpentResult,
)
from rekadapter.evaluation.rules import CostInputs
from rekadapter.observation import LedgerEntry

SEARCH: Final = "SearchFacesByImage"
COMPARE: Final = "CompareFaces"
STORAGE: Final = "storage"
_NOTE: Final = (
    "Prices are a dated list: read them again before you sign anything. Taxes, discounts and the "
    "free tier are not in it. A line without its input is left out of the sum and named."
)


def total_usd(price: PriceEntry, units: float) -> float | None:
    """``units`` in one month through the tiers; None beyond the tiers that are known."""
    total, done = 0.0, 0.0
    for tier in price.tiers:
        end = units if tier.up_to is None else min(units, float(tier.up_to))
        total += max(0.0, end - done) * tier.usd
        done = max(done, end)
    return total if done >= units else None


@dataclass(frozen=True, slots=True)
class ReviewTime:
    """Seconds that reviewers took for an alert, and what that was measured on."""

    seconds: float
    basis: str


@dataclass(frozen=True, slots=True)
class _Use:
    """One system in use: its prices, bytes a search, the share of searches that alert, and how long
    reviewers took, where that was measured."""

    entry: SystemEntry
    inputs: CostInputs
    bytes_per_search: float | None
    alert_rate: float | None
    review_time: ReviewTime | None = None

    @property
    def remote(self) -> bool:
        return self.entry.remote

    def price(self, operation: str) -> PriceEntry | None:
        return next((p for p in self.entry.prices if operation in p.operations), None)


def cost_section(
    record: EvaluationRecord,
    accuracy: Sequence[AccuracyResult],
    ops: Sequence[OpsResult],
    ledger: Sequence[LedgerEntry],
    review_times: Mapping[str, ReviewTime] | None = None,
) -> CostResult:
    """Every figure about money. ``review_times``, by system, stand in where the user gives none."""
    measured = review_times or {}
    traffic = {one.system: one.bytes_per_search for one in ops}
    uses = [
        _Use(
            entry,
            record.rules.cost,
            traffic.get(entry.name),
            _alert_rate(entry, accuracy),
            measured.get(entry.name),
        )
        for entry in record.systems
    ]
    return CostResult(
        prices=tuple(row for entry in record.systems for row in _prices(entry)),
        spent=tuple(_spent(record, ledger)),
        per_1000_searches={use.entry.name: _per_1000(use) for use in uses},
        monthly=tuple(_month(use) for use in uses),
        breakeven=tuple(
            _break_even(cloud, local)
            for cloud, local in product(uses, uses)
            if cloud.remote and not local.remote
        ),
        sensitivity=tuple(row for use in uses for row in _sensitivity(use)),
        note=_NOTE,
    )


def _alert_rate(entry: SystemEntry, accuracy: Sequence[AccuracyResult]) -> float | None:
    """Nearly every search on the street is non-mated, so alerts are FPIR times searches."""
    rows = (row for row in accuracy if row.system == entry.name and row.primary)
    return next((row.fpir.value for row in rows), None)


def _prices(entry: SystemEntry) -> Iterator[PriceResult]:
    for price in entry.prices:
        yield PriceResult(
            system=entry.name,
            item=price.item,
            unit=price.unit,
            usd=tuple((tier.usd, tier.up_to) for tier in price.tiers),
            source=price.source,
            as_of=price.as_of.isoformat(),
        )


def _spent(record: EvaluationRecord, ledger: Sequence[LedgerEntry]) -> Iterator[SpentResult]:
    by_system: dict[str, list[float | None]] = defaultdict(list)
    for one in ledger:
        by_system[one.request.backend].append(one.request.price_usd)
    for entry in record.systems:
        prices = by_system[entry.name]
        known = [price for price in prices if price is not None]
        yield SpentResult(
            system=entry.name,
            requests=len(prices),
            unpriced=len(prices) - len(known),
            usd=sum(known) if known or not prices else None,
        )


def _per_1000(use: _Use) -> float | None:
    """1,000 searches at the start of a month, where they cost most; a local search has no price."""
    price = use.price(SEARCH)
    if not use.remote:
        return 0.0
    return None if price is None else total_usd(price, 1000)


# --- a month ----------------------------------------------------------------------------------


def _month(use: _Use) -> MonthlyResult:
    lines = (*(_cloud_lines(use) if use.remote else _local_lines(use)), _review_line(use))
    known = [line.usd for line in lines if line.usd is not None]
    return MonthlyResult(
        system=use.entry.name,
        lines=lines,
        total_usd=sum(known) if known else None,
        missing=tuple(line.item for line in lines if line.usd is None),
    )


def _cloud_lines(use: _Use) -> Iterator[CostLine]:
    inputs = use.inputs
    yield _priced(use, SEARCH, "searches", inputs.searches_per_month)
    yield _priced(use, STORAGE, "stored faces", inputs.faces_stored)
    gigabytes = _times(inputs.searches_per_month, use.bytes_per_search, 1e-9)
    yield CostLine(
        item="traffic",
        usd=_times(gigabytes, inputs.egress_usd_per_gb),
        how="searches x bytes measured a search x price of traffic",
    )


def _priced(use: _Use, operation: str, item: str, units: int | None) -> CostLine:
    price = use.price(operation)
    usd = None if price is None or units is None else total_usd(price, units)
    how = f"{units:,} through the tiers" if units is not None else "number not given"
    return CostLine(item=item, usd=usd, how=how if price else f"{how}; price not known")


def _local_lines(use: _Use) -> Iterator[CostLine]:
    inputs = use.inputs
    life = inputs.hardware_life_months
    hardware = None if inputs.hardware_usd is None else inputs.hardware_usd / life
    yield CostLine(item="hardware", usd=hardware, how=f"price over {life} months")
    yield CostLine(item="power", usd=inputs.power_usd_per_month, how="as given")
    yield CostLine(item="licence", usd=inputs.licence_usd_per_month, how="as given")
    yield CostLine(
        item="administration",
        usd=_times(inputs.admin_hours_per_month, inputs.admin_usd_per_hour),
        how="hours x rate",
    )


def _review_line(use: _Use) -> CostLine:
    inputs = use.inputs
    alerts = _times(inputs.searches_per_month, use.alert_rate)
    seconds, how = inputs.review_seconds_per_alert, "seconds an alert"
    if seconds is None and use.review_time is not None:
        seconds, how = use.review_time.seconds, f"seconds an alert ({use.review_time.basis})"
    hours = _times(alerts, seconds, 1 / 3600)
    return CostLine(
        item="review of false alerts",
        usd=_times(hours, inputs.reviewer_usd_per_hour),
        how=f"searches x measured FPIR x {how} x rate",
    )


def _times(*factors: float | None) -> float | None:
    result = 1.0
    for factor in factors:
        if factor is None:
            return None
        result *= factor
    return result


# --- comparison -------------------------------------------------------------------------------


def _break_even(cloud: _Use, local: _Use) -> BreakEvenResult:
    """Fixed local cost over the price of a cloud search at the first tier: a local search itself
    costs nothing more."""
    fixed = [line.usd for line in _local_lines(local)]
    per_1000 = _per_1000(cloud)
    if per_1000 is None or not per_1000:
        found, reason = None, "the price of a cloud search is not known"
    elif any(usd is None for usd in fixed):
        found, reason = None, "the fixed cost of the local system is not given whole"
    else:
        found = sum(usd for usd in fixed if usd is not None) / (per_1000 / 1000)
        reason = "at the price of the first tier; review left out on both sides"
    return BreakEvenResult(
        cloud=cloud.entry.name,
        local=local.entry.name,
        searches_per_month=found,
        reason=reason,
    )


_MOVED: Final[Mapping[str, str]] = {
    "searches_per_month": "searches a month",
    "reviewer_usd_per_hour": "a reviewer's hour",
    "admin_usd_per_hour": "an administrator's hour",
}


def _sensitivity(use: _Use) -> Iterator[SensitivityResult]:
    if _month(use).missing:
        return  # a sum with holes says nothing about what moves it
    for (name, words), factor in product(_MOVED.items(), (0.5, 1.5)):
        value = getattr(use.inputs, name)
        if value is None:
            continue
        changed = round(value * factor) if isinstance(value, int) else value * factor
        moved = replace(use, inputs=use.inputs.model_copy(update={name: changed}))
        yield SensitivityResult(
            system=use.entry.name,
            input=words,
            change=f"{100 * (factor - 1):+.0f} %",
            total_usd=_month(moved).total_usd or 0.0,
        )
