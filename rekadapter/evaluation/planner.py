"""How many people and captures a claim needs, before anyone films.

The rules: no error in n independent trials supports a rate of at most 3 / n (rule of 3, 95 %); 30
errors give a rate within 30 % (rule of 30, 90 %; Doddington et al., Speech Communication 31, 2000).
Trials of one person are not independent: m of them are worth m / (1 + (m - 1) r), where r is how
alike one person's trials are (Kish, "Survey Sampling", 1965). Figures are needs for planning, not
promises: the run itself reports what it reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist


class Side(StrEnum):
    """Who has to be captured for a claim."""

    MATED = "people in the gallery"
    NONMATED = "people outside the gallery"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be claimed.

    ``likeness`` is r above, between 0 and 1; 0.3 is an assumption to be replaced by a pilot's own
    figure. ``margin`` is the non-inferiority margin for FNIR. ``groups`` is the number of groups
    to be reported each on its own. ``calibration_share`` of the people outside the gallery chooses
    the thresholds and tests nothing; people in the gallery all test, as no threshold is chosen on
    them.
    """

    target_fpir: float
    target_fnir: float
    margin: float | None = None
    groups: int = 1
    captures_per_person: int = 1
    likeness: float = 0.3
    calibration_share: float = 0.4
    level: float = 0.95
    power: float = 0.8

    def __post_init__(self) -> None:
        shares = (self.target_fpir, self.target_fnir, self.calibration_share, self.level)
        if not all(0 < share < 1 for share in (*shares, self.power)):
            raise ValueError("targets, shares, level and power lie between 0 and 1")
        if self.margin is not None and not 0 < self.margin < 1:
            raise ValueError("a margin lies between 0 and 1, for example 0.02 for two points")
        if self.groups < 1 or self.captures_per_person < 1 or not 0 <= self.likeness <= 1:
            raise ValueError("at least one group and capture, and a likeness between 0 and 1")


@dataclass(frozen=True, slots=True)
class Need:
    """What one claim takes: ``people`` with the request's captures each give ``captures``."""

    claim: str
    side: Side
    people: int
    captures: int
    rule: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All claims, each on its own; the largest per side covers them all."""

    request: PlanRequest
    needs: tuple[Need, ...]

    def people(self, side: Side) -> int:
        """People to find for every claim about this side."""
        return max((need.people for need in self.needs if need.side is side), default=0)

    def captures(self, side: Side) -> int:
        """Captures to make for every claim about this side."""
        return max((need.captures for need in self.needs if need.side is side), default=0)


def design_effect(captures_per_person: int, likeness: float) -> float:
    """How many captures are worth one independent capture: 1 + (m - 1) r."""
    return 1 + (captures_per_person - 1) * likeness


def tested_share(request: PlanRequest, side: Side) -> float:
    """Which share of the people of a side is tested on."""
    return 1.0 if side is Side.MATED else 1 - request.calibration_share


def plan(request: PlanRequest) -> Plan:
    """What each claim of the request takes, those who calibrate included."""
    return Plan(request, tuple(_needs(request)))


def _needs(request: PlanRequest) -> Iterable[Need]:
    fpir, fnir = request.target_fpir, request.target_fnir
    yield _need(
        replace(request, groups=1),
        _Claim(
            f"choose a threshold at FPIR {fpir:g} on calibration people",
            Side.NONMATED,
            10 / fpir,
            "10 errors among the calibration people",
        ),
        share=request.calibration_share,
    )
    for name, side, rate in (("FPIR", Side.NONMATED, fpir), ("FNIR", Side.MATED, fnir)):
        share = tested_share(request, side)
        yield _clean(request, f"claim {name} at most {rate:g}", side, rate)
        measured = _Claim(f"measure {name} {rate:g} within 30 %", side, 30 / rate, "rule of 30")
        yield _need(request, measured, share)
        if request.groups > 1:
            claim = f"report {name} near {rate:g} in each of {request.groups} equal groups"
            trials = request.groups * max(10 / rate, 30)
            rule = "10 errors and 30 people in each group"
            yield _need(request, _Claim(claim, side, trials, rule), share)
    if request.margin is not None:
        claim = f"show that one system misses at most {request.margin:g} more than the other"
        rule = f"normal approximation, power {request.power:g}, independent misses"
        trials = _paired_trials(request, request.margin)
        paired = _Claim(claim, Side.MATED, trials, rule)
        yield _need(request, paired, tested_share(request, Side.MATED))


@dataclass(frozen=True, slots=True)
class _Claim:
    """``independent`` trials that it takes."""

    claim: str
    side: Side
    independent: float
    rule: str


def _clean(request: PlanRequest, claim: str, side: Side, rate: float) -> Need:
    """The rule of 3 counts people, however many captures each gives."""
    people = _whole(max(3 / rate, 30) / tested_share(request, side))
    captures = people * request.captures_per_person
    return Need(claim, side, people, captures, "rule of 3 on people, no error")


def _need(request: PlanRequest, claim: _Claim, share: float) -> Need:
    """With ``share`` of the people on this part, at least 30 of them in each group."""
    effect = design_effect(request.captures_per_person, request.likeness)
    trials = claim.independent * effect / request.captures_per_person
    people = _whole(max(trials, 30 * request.groups) / share)
    captures = people * request.captures_per_person
    return Need(claim.claim, claim.side, people, captures, claim.rule)


def _paired_trials(request: PlanRequest, margin: float) -> float:
    """Independent paired trials for a one-sided test of the margin.

    The two systems are taken to miss independently, which makes them differ most often and the
    need largest; systems that miss the same people need fewer.
    """
    z = NormalDist().inv_cdf(0.5 + request.level / 2) + NormalDist().inv_cdf(request.power)
    differing = 2 * request.target_fnir * (1 - request.target_fnir)
    return z * z * differing / (margin * margin)


def _whole(people: float) -> int:
    return math.ceil(people - 1e-9)


# --- the other way round ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reach:
    """What a number of people can show.

    ``clean_bound``: the rate that no error at all would support. ``measurable_rate``: the lowest
    rate that can be measured within 30 %. Both None below 30 people.
    """

    people: int
    captures: int
    clean_bound: float | None
    measurable_rate: float | None


def reach(people: int, captures_per_person: int = 1, likeness: float = 0.3) -> Reach:
    """What test people with so many captures each can show."""
    captures = people * captures_per_person
    if people < 30:
        return Reach(people, captures, None, None)
    independent = captures / design_effect(captures_per_person, likeness)
    return Reach(people, captures, min(1.0, 3 / people), min(1.0, 30 / independent))
