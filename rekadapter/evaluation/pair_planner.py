"""How many people and pairs a claim about comparisons (1:1) needs.

The rules are those of ``planner``. Pairs of two people are many, but not independent: n people give
n (n - 1) / 2 of them, and without a false match n people show no more than 3 / n (rule of 3 on
people, as the statistics count it). Needs for pairs are therefore lower bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rekadapter.evaluation.rules import OneToOne

_CHOSEN_ON_ERRORS = 10
_MEASURED_ERRORS = 30


@dataclass(frozen=True, slots=True)
class PairNeed:
    """What one claim takes: ``people`` in all, those who calibrate included, and ``pairs`` of one
    kind among those whom the claim is about."""

    claim: str
    mated: bool
    people: int
    pairs: int
    rule: str


def pair_needs(rules: OneToOne, calibration_share: float) -> Iterator[PairNeed]:
    """What each claim takes if everybody is compared with everybody."""
    fmr, fnmr = rules.target_fmr, rules.max_fnmr
    tested = 1 - calibration_share
    pairs = math.ceil(_CHOSEN_ON_ERRORS / fmr)
    people = math.ceil(_people_of(pairs) / calibration_share)
    claim = f"choose a threshold at FMR {fmr:g} on calibration people"
    yield PairNeed(claim, mated=False, people=people, pairs=pairs, rule="10 false matches")
    clean = _clean_people(fmr)
    yield PairNeed(
        f"claim FMR at most {fmr:g}",
        mated=False,
        people=math.ceil(clean / tested),
        pairs=clean * (clean - 1) // 2,
        rule="rule of 3: no false match, by people",
    )
    pairs = math.ceil(_MEASURED_ERRORS / fmr)
    yield PairNeed(
        f"measure FMR {fmr:g} within 30 %",
        mated=False,
        people=math.ceil(_people_of(pairs) / tested),
        pairs=pairs,
        rule="rule of 30, were pairs independent: at least",
    )
    for claim, trials, rule in (
        (f"claim FNMR at most {fnmr:g}", _clean_people(fnmr), "rule of 3: no miss"),
        (f"measure FNMR {fnmr:g} within 30 %", math.ceil(30 / fnmr), "rule of 30"),
    ):
        yield PairNeed(
            claim, mated=True, people=math.ceil(trials / tested), pairs=trials, rule=rule
        )


def _clean_people(rate: float) -> int:
    """People without an error whose bound is ``rate`` (rule of 3, 95 %)."""
    return math.ceil(-math.log(0.05) / rate)


def _people_of(pairs: int) -> int:
    """The fewest people that give so many pairs: n (n - 1) / 2 of n."""
    return math.ceil((1 + math.sqrt(1 + 8 * pairs)) / 2)
