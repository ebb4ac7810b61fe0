"""What AWS charges, from a dated file; an unknown price is None, never a guess."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rekadapter.errors import ConfigError

STORAGE: Final = "storage"
"""In place of an operation: one stored face for one month."""

STORED_VIDEO: Final = "stored video"
"""In place of an operation: one minute of a video in one job."""

_ANY_REGION: Final = "*"


@dataclass(frozen=True, slots=True)
class Tier:
    """``usd`` for each unit up to ``up_to`` units a month; None: without end."""

    usd: float
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs in a region, by tiers of monthly use, and where that was read."""

    item: str
    unit: str
    operations: tuple[str, ...]
    regions: tuple[str, ...]
    tiers: tuple[Tier, ...]
    source: str
    as_of: date

    @property
    def first_usd(self) -> float:
        """One unit at the start of a month, where a unit costs most."""
        return self.tiers[0].usd

    def total_usd(self, units: int) -> float | None:
        """``units`` within one month, through all tiers; None beyond the tiers that are known."""
        if units < 0:
            raise ValueError(f"a number of units cannot be {units}")
        total, done = 0.0, 0
        for tier in self.tiers:
            end = units if tier.up_to is None else min(units, tier.up_to)
            total += max(0, end - done) * tier.usd
            done = max(done, end)
        return total if done == units else None

    def covers(self, operation: str, region: str) -> bool:
        return operation in self.operations and (
            region in self.regions or _ANY_REGION in self.regions
        )


@dataclass(frozen=True, slots=True)
class PriceList:
    """Every price known, and ``note``: what a bill counts and what is assumed."""

    prices: tuple[Price, ...]
    note: str

    @classmethod
    def load(cls, path: Path | None = None) -> PriceList:
        """The list shipped with rekadapter, or one of the user's in the same form.

        Raises:
            ConfigError: the file is missing, not TOML, or not of that form.
        """
        name = "prices.toml" if path is None else str(path)
        source = files(__package__).joinpath("prices.toml") if path is None else path
        try:
            parsed = _File.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"the price file {name} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
            raise ConfigError(
                f"the price file {name} is not of the form of the one shipped: {error}"
            ) from error
        return cls(tuple(entry.price() for entry in parsed.price), parsed.note)

    def price_of(self, operation: str, region: str) -> Price | None:
        """The price of one ``operation`` (or ``STORAGE``, ``STORED_VIDEO``) in ``region``; None if
        not known."""
        return next((price for price in self.prices if price.covers(operation, region)), None)

    def sources(self) -> tuple[str, ...]:
        """Each price's item, regions, source and date as a line for a report."""
        return tuple(
            f"{price.item} ({', '.join(price.regions)}): {price.source}, {price.as_of.isoformat()}"
            for price in self.prices
        )


class _TierEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    usd: float = Field(ge=0, allow_inf_nan=False)
    up_to: int | None = Field(default=None, gt=0)


class _PriceEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str
    unit: str
    operations: list[str]
    regions: list[str]
    tiers: list[_TierEntry] = Field(min_length=1)
    source: str
    as_of: date

    def price(self) -> Price:
        return Price(
            item=self.item,
            unit=self.unit,
            operations=tuple(self.operations),
            regions=tuple(self.regions),
            tiers=tuple(Tier(tier.usd, tier.up_to) for tier in self.tiers),
            source=self.source,
            as_of=self.as_of,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    note: str
    price: list[_PriceEntry]
