"""What requests of a backend cost, as far as that is known before they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from rekadapter.backends.rekognition.prices import PriceList
from rekadapter.config import BackendSettings
from rekadapter.evaluation.cost import COMPARE, SEARCH, STORAGE
from rekadapter.evaluation.record import PriceEntry, PriceTier
from rekadapter.recognizer import Recognizer

_PRICED: Final = ("IndexFaces", SEARCH, COMPARE, STORAGE)


def request_price(
    settings: BackendSettings, recognizer: Recognizer, *operations: str
) -> Callable[[int], float | None]:
    """The price in USD of so many requests within a month, each the dearest of ``operations``.

    A backend that sends nothing costs nothing. None where the price is not known: for a remote
    backend of a third party, and for a region that the price list lacks.
    """
    if not recognizer.capabilities.remote:
        return lambda _: 0.0
    if settings.type != "rekognition":
        return lambda _: None
    named = settings.options.get("prices")
    prices = PriceList.load(Path(str(named)) if named is not None else None)
    region = recognizer.capabilities.details.get("region", "")
    found = [prices.price_of(operation, region) for operation in operations]

    def price(count: int) -> float | None:
        totals = [None if one is None else one.total_usd(count) for one in found]
        known = [total for total in totals if total is not None]
        return max(known) if known and len(known) == len(totals) else None

    return price


def price_entries(price_list: Path | None, region: str) -> tuple[PriceEntry, ...]:
    """The prices that a report needs, from a backend's own price file or the one that ships."""
    prices = PriceList.load(price_list)
    found = {price.item: price for o in _PRICED if (price := prices.price_of(o, region))}
    return tuple(
        PriceEntry(
            item=price.item,
            unit=price.unit,
            operations=price.operations,
            tiers=tuple(PriceTier(usd=tier.usd, up_to=tier.up_to) for tier in price.tiers),
            source=price.source,
            as_of=price.as_of,
        )
        for price in found.values()
    )
