"""What every part of ``report.json`` is made of: the model's rules, and a figure to be judged."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from rekadapter.evaluation.statistics import Estimate, Interval


class Result(BaseModel):
    """A part of the report: no unknown keys, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IntervalResult(Result):
    """A confidence interval and how it was made."""

    lo: float
    hi: float
    level: float
    method: str


class EstimateResult(Result):
    """A figure with everything needed to judge it: see ``statistics.Estimate``."""

    value: float | None
    n: int
    errors: int | None
    people: int
    n_eff: float | None
    unit: str
    ci: IntervalResult | None
    sufficient: bool
    reason: str

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        ci = estimate.ci
        return cls(
            value=estimate.value,
            n=estimate.n,
            errors=estimate.errors,
            people=estimate.people,
            n_eff=estimate.n_eff,
            unit=estimate.unit,
            ci=IntervalResult(lo=ci.low, hi=ci.high, level=ci.level, method=ci.method)
            if ci
            else None,
            sufficient=estimate.sufficient,
            reason=estimate.reason,
        )

    def estimate(self) -> Estimate:
        """The same as the statistics know it."""
        ci = self.ci
        return Estimate(
            value=self.value,
            n=self.n,
            errors=self.errors,
            people=self.people,
            n_eff=self.n_eff,
            ci=Interval(ci.lo, ci.hi, ci.level, ci.method) if ci else None,
            sufficient=self.sufficient,
            reason=self.reason,
            unit=self.unit,
        )
