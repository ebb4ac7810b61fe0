"""What an evaluation would take: questions left, minutes, and a price, before any is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rekadapter.cli.pricing import price_entries
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.evaluation.cost import COMPARE, SEARCH, total_usd
from rekadapter.evaluation.record import PriceEntry, SystemEntry

_SECONDS_A_QUESTION: Final = 0.5
"""assumed for the estimate before the first answer, and said so"""


@dataclass(frozen=True, slots=True)
class Left:
    """What one system has not answered yet."""

    enroll: int
    search: int
    compare: int


def entry_of(session: Session, opened: OpenBackend) -> SystemEntry:
    """A backend as a record describes it, with its prices."""
    capabilities = opened.recognizer.capabilities
    kind = session.settings.backend_named(opened.name).type
    scale = capabilities.score_scale
    region = capabilities.details.get("region", "")
    return SystemEntry(
        name=opened.name,
        kind=kind,
        model=capabilities.model,
        remote=capabilities.remote,
        scale=scale.name,
        scale_low=scale.low,
        scale_high=scale.high,
        higher_is_closer=scale.higher_is_closer,
        default_threshold=capabilities.default_threshold.value,
        match_all=capabilities.match_all.value,
        max_candidates=capabilities.max_candidates,
        details=dict(capabilities.details),
        prices=_prices(session, opened.name, region) if kind == "rekognition" else (),
    )


def _prices(session: Session, name: str, region: str) -> tuple[PriceEntry, ...]:
    own = session.settings.backend_named(name).options.get("prices")
    return price_entries(Path(str(own)) if own else None, region)


def price_of(entry: SystemEntry, left: Left) -> float | None:
    """What the questions left cost by the price list; None where a price is not known."""
    total = 0.0
    asked = (("IndexFaces", left.enroll), (SEARCH, left.search), (COMPARE, left.compare))
    for operation, units in asked:
        if not units:
            continue
        price = next((p for p in entry.prices if operation in p.operations), None)
        usd = total_usd(price, units) if price else None
        if usd is None:
            return None
        total += usd
    return total


def estimate_text(entry: SystemEntry, left: Left, price: float | None, workers: int) -> str:
    """The estimate of one system in a line."""
    questions = left.enroll + left.search + left.compare
    if not questions:
        return f"{entry.name}: everything is answered already, nothing will be asked or paid"
    seconds = questions * _SECONDS_A_QUESTION / (workers if entry.remote else 1)
    cost = "no price known" if price is None else f"about ${price:,.2f}"
    kinds = (("enrollments", left.enroll), ("searches", left.search), ("comparisons", left.compare))
    work = ", ".join(f"{count} {kind}" for kind, count in kinds if count)
    return (
        f"{entry.name}: {work} to do, about "
        f"{max(1, round(seconds / 60))} min (assuming {_SECONDS_A_QUESTION:g} s each), "
        f"{cost if entry.remote else 'nothing to pay by request'}"
    )
