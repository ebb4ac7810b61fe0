"""Who is used for choosing thresholds and who for reporting: people are split, never images.

Everything about a person goes where the person goes. The split depends only on the ids and the
seed: not on their order, the machine, or what else was run before, so it can be fixed and hashed
before the first search.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rekadapter.errors import UsageError
from rekadapter.evaluation.outcomes import (
    ComparisonOutcome,
    GroupLabel,
    PersonId,
    SearchOutcome,
)


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the data set and the groups the user's records put them in."""

    person: PersonId
    groups: tuple[GroupLabel, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitRule:
    """The share of people for calibration, the seed, and the attributes to keep balanced."""

    calibration_share: float = 0.4
    seed: int = 5
    balance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.calibration_share < 1:
            raise ValueError("the calibration share lies between 0 and 1, for example 0.4")


@dataclass(frozen=True, slots=True)
class PeopleSplit:
    """Two sets of people with nobody in both; ``sha256`` identifies the split in a report.

    Raises:
        UsageError: someone is in both sets, or a set is empty.
    """

    calibration: frozenset[PersonId]
    test: frozenset[PersonId]
    rule: SplitRule

    def __post_init__(self) -> None:
        shared = self.calibration & self.test
        if shared:
            raise UsageError(f"{len(shared)} people are in both the calibration and the test set")
        if not self.calibration or not self.test:
            raise UsageError("a split needs people on both sides: there are too few to split")

    @property
    def sha256(self) -> str:
        """Hash of the rule and of who is on which side."""
        digest = hashlib.sha256(repr(self.rule).encode())
        for side, people in (("calibration", self.calibration), ("test", self.test)):
            for person in sorted(people):
                digest.update(f"\x00{side}\x00{person}".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SplitSearches:
    """Searches of the calibration people and of the test people."""

    calibration: tuple[SearchOutcome, ...]
    test: tuple[SearchOutcome, ...]


@dataclass(frozen=True, slots=True)
class SplitComparisons:
    """Comparisons within each set; ``crossing`` counts those left out because they join the two."""

    calibration: tuple[ComparisonOutcome, ...]
    test: tuple[ComparisonOutcome, ...]
    crossing: int


def split_people(people: Iterable[Person], rule: SplitRule | None = None) -> PeopleSplit:
    """Splits people into calibration and test, keeping the balanced attributes' shares.

    Within each stratum, people are ordered by a hash of seed and id and the first share of them
    calibrates. A person without a label forms a stratum with the others without it.

    Raises:
        UsageError: a person is listed twice, or one side would be empty.
    """
    rule = rule or SplitRule()
    strata: dict[tuple[str, ...], list[PersonId]] = defaultdict(list)
    seen: set[PersonId] = set()
    for person in people:
        if person.person in seen:
            raise UsageError(f"person '{person.person}' is listed twice: list everyone once")
        seen.add(person.person)
        strata[_stratum(person, rule)].append(person.person)
    calibration: set[PersonId] = set()
    wanted = 0.0
    for _, members in sorted(strata.items()):
        # the running total keeps the overall share right where many strata are small
        wanted += rule.calibration_share * len(members)
        members.sort(key=lambda person: _draw(person, rule))
        calibration.update(members[: max(0, round(wanted) - len(calibration))])
    return PeopleSplit(frozenset(calibration), frozenset(seen - calibration), rule)


def _stratum(person: Person, rule: SplitRule) -> tuple[str, ...]:
    labels = {label.attribute: label.value for label in person.groups}
    return tuple(labels.get(attribute, "") for attribute in rule.balance)


def _draw(person: PersonId, rule: SplitRule) -> bytes:
    return hashlib.sha256(f"{rule.seed}\x00{person}".encode()).digest()


def split_searches(outcomes: Iterable[SearchOutcome], split: PeopleSplit) -> SplitSearches:
    """Searches, each on the side of its person.

    The gallery stays whole on both sides: a threshold belongs to a gallery of a certain size.

    Raises:
        UsageError: a search's person is on neither side.
    """
    searches = tuple(outcomes)
    _refuse_unknown({outcome.person for outcome in searches}, split)
    return SplitSearches(
        tuple(outcome for outcome in searches if outcome.person in split.calibration),
        tuple(outcome for outcome in searches if outcome.person in split.test),
    )


def split_comparisons(
    outcomes: Iterable[ComparisonOutcome], split: PeopleSplit
) -> SplitComparisons:
    """Comparisons whose two people are on one side; those that join the sides are left out.

    Raises:
        UsageError: a comparison's person is on neither side.
    """
    compared = tuple(outcomes)
    _refuse_unknown({person for o in compared for person in (o.first, o.second)}, split)
    sides = [
        tuple(o for o in compared if o.first in side and o.second in side)
        for side in (split.calibration, split.test)
    ]
    return SplitComparisons(
        sides[0], sides[1], crossing=len(compared) - len(sides[0]) - len(sides[1])
    )


def _refuse_unknown(people: set[PersonId], split: PeopleSplit) -> None:
    unknown = people - split.calibration - split.test
    if unknown:
        raise UsageError(
            f"{len(unknown)} people are on neither side of the split: split all people of the data"
        )
