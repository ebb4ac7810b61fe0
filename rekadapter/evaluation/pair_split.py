"""Who chooses thresholds and who tests them where people are compared in given pairs.

A pair whose two people stand on different sides is lost to both. People who are joined by pairs,
directly or over others, therefore go to one side together where that leaves a fair share on each;
where nearly everybody hangs together, people are split one by one, and the pairs between the sides
are left out and counted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.protocol import PeopleSplit, Person, SplitRule, split_people

_LEAST_OF_SHARE: Final = 0.75
"""Of the share of pairs wanted for calibration, what whole clusters have to reach."""


@dataclass(frozen=True, slots=True)
class PeoplePair:
    """The two people of a pair; the same one twice where it is mated."""

    first: PersonId
    second: PersonId


def split_pairs(
    pairs: Sequence[PeoplePair],
    groups: Mapping[PersonId, tuple[GroupLabel, ...]],
    rule: SplitRule,
) -> PeopleSplit:
    """Splits the people of pairs into calibration and test, whole clusters of them if possible.

    The draw depends on names and seed alone. Attributes to balance are kept where people are split
    one by one only.

    Raises:
        UsageError: too few people to split.
    """
    clusters = _clusters(pairs)
    calibration = _chosen(clusters, rule)
    everybody = {person for cluster in clusters for person in cluster.people}
    if calibration is None:
        people = [Person(person, groups.get(person, ())) for person in sorted(everybody)]
        return split_people(people, rule)
    return PeopleSplit(frozenset(calibration), frozenset(everybody - calibration), rule)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """People who hang together over pairs, in order of name, and how many pairs they have."""

    people: tuple[PersonId, ...]
    pairs: int


def _clusters(pairs: Sequence[PeoplePair]) -> list[_Cluster]:
    parent: dict[PersonId, PersonId] = {}

    def root(person: PersonId) -> PersonId:
        parent.setdefault(person, person)
        while parent[person] != person:
            parent[person] = parent[parent[person]]
            person = parent[person]
        return person

    for pair in pairs:
        parent[root(pair.first)] = root(pair.second)
    members: dict[PersonId, list[PersonId]] = defaultdict(list)
    for person in sorted(parent):
        members[root(person)].append(person)
    counts: dict[PersonId, int] = defaultdict(int)
    for pair in pairs:
        counts[root(pair.first)] += 1
    return [_Cluster(tuple(own), counts[head]) for head, own in members.items()]


def _chosen(clusters: Sequence[_Cluster], rule: SplitRule) -> set[PersonId] | None:
    """The calibration people; None where whole clusters come nowhere near the share wanted."""
    wanted = rule.calibration_share * sum(cluster.pairs for cluster in clusters)
    chosen: set[PersonId] = set()
    taken = 0
    for cluster in sorted(clusters, key=lambda one: _draw(one.people[0], rule.seed)):
        if taken + cluster.pairs <= wanted + 0.5:
            chosen.update(cluster.people)
            taken += cluster.pairs
    return chosen if taken >= _LEAST_OF_SHARE * wanted and chosen else None


def _draw(person: PersonId, seed: int) -> bytes:
    return hashlib.sha256(f"pairs\x00{seed}\x00{person}".encode()).digest()
