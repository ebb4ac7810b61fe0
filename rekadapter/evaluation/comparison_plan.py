"""Which photographs are compared 1:1: the pairs a data set names, or a draw from its own.

Without named pairs, each searched photograph may be held against each enrolled one. A pair is drawn
only where both people are on one side (choosing a threshold, or testing it), so that none has to be
left out later. The draw depends on the photographs' digests and the seed, goes round the people
before it takes anybody twice, and gives the same first pairs however many are asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from rekadapter.evaluation.dataset import CheckedDataset
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.protocol import Person, SplitRule, split_people
from rekadapter.evaluation.record import (
    ComparisonPlan,
    EvaluationRecord,
    PairEntry,
    Photograph,
    Pseudonyms,
    photographs_of,
)

CHECKED_PAIRS: Final = 40
"""Pairs that a system of this machine compares unasked, to see whether its searches give the same
scores: enough to find a difference in one pair of ten nearly always (1 - 0.9^40 = 0.985)."""


def with_comparisons(
    record: EvaluationRecord,
    checked: CheckedDataset,
    pseudonyms: Pseudonyms,
    most: int | None = None,
) -> EvaluationRecord:
    """The record with the pairs to compare.

    Args:
        record: people, photographs and systems as fixed.
        checked: the data set behind it.
        pseudonyms: those of the record.
        most: how many pairs every system compares, remote ones too; None: ``CHECKED_PAIRS``, and
            remote systems none. A data set of pairs is compared whole, or its first ``most`` pairs
            of either kind.
    """
    if checked.pairs:
        plan = _exact(record, checked, pseudonyms, most)
    elif most == 0:
        return record
    else:
        plan = _drawn(record, checked, pseudonyms, most)
    return record.model_copy(update={"comparisons": plan})


def _exact(
    record: EvaluationRecord, checked: CheckedDataset, pseudonyms: Pseudonyms, most: int | None
) -> ComparisonPlan:
    pairs = checked.pairs
    if most is not None and most < len(pairs):
        mated = [pair for pair in pairs if pair.mated]
        others = [pair for pair in pairs if not pair.mated]
        half = min(len(mated), most // 2)
        pairs = (*mated[:half], *others[: most - half])
    samples = {one.sha256: one for pair in pairs for one in (pair.first, pair.second)}
    calibration = tuple(one.id for one in record.people if one.side == "calibration")
    sides = {one.id: one.side for one in record.people}
    people = [
        (pseudonyms.of(p.first.sample.person), pseudonyms.of(p.second.sample.person)) for p in pairs
    ]
    return ComparisonPlan(
        exact=True,
        remote=True,
        calibration=calibration,
        pairs=tuple(PairEntry(first=p.first.sha256, second=p.second.sha256) for p in pairs),
        photographs=photographs_of(list(samples.values()), pseudonyms),
        crossing=sum(sides[a] != sides[b] for a, b in people),
    )


def _drawn(
    record: EvaluationRecord, checked: CheckedDataset, pseudonyms: Pseudonyms, most: int | None
) -> ComparisonPlan:
    rules, dataset = record.rules, checked.dataset
    groups: dict[PersonId, tuple[GroupLabel, ...]] = defaultdict(tuple)
    groups |= {one.person: one.groups for one in dataset.people}
    names = sorted({sample.person for sample in (*dataset.gallery, *dataset.probes)})
    rule = SplitRule(rules.calibration_share, rules.seed, rules.balance)
    split = split_people([Person(name, groups[name]) for name in names], rule)
    chosen = frozenset(map(pseudonyms.of, split.calibration))
    wanted = CHECKED_PAIRS if most is None else most
    pairs = PhotographPairs(record, chosen)
    mated = tuple(islice(pairs.mated(), wanted // 2))
    others = tuple(islice(pairs.nonmated(), wanted - len(mated)))
    return ComparisonPlan(
        exact=False,
        remote=most is not None,
        calibration=tuple(sorted(chosen)),
        pairs=(*mated, *others),
    )


@dataclass(frozen=True, slots=True)
class PhotographPairs:
    """Every pair of a searched and an enrolled photograph whose people are on one side, in the
    order of the draw.

    People with several enrolled photographs are left out: a candidate list names the person, not
    the photograph, so that search and comparison could not be held against each other.
    """

    record: EvaluationRecord
    calibration: frozenset[str]

    def mated(self) -> Iterator[PairEntry]:
        """Each searched photograph of an enrolled person with the enrolled one."""
        enrolled = self._enrolled()
        for probe in self._probes():
            if probe.person in enrolled:
                yield _entry(probe, enrolled[probe.person])

    def nonmated(self) -> Iterator[PairEntry]:
        """Each searched photograph with everybody else's enrolled one: first one partner each."""
        enrolled = self._enrolled().values()
        sides = {
            side: sorted((p for p in enrolled if self._side(p) == side), key=self._draw)
            for side in (True, False)
        }
        probes = [(probe, self._start(probe)) for probe in self._probes()]
        for turn in range(max(map(len, sides.values()))):
            for probe, start in probes:
                partners = sides[self._side(probe)]
                if turn >= len(partners):
                    continue
                partner = partners[(start + turn) % len(partners)]
                if partner.person != probe.person:
                    yield _entry(probe, partner)

    def _enrolled(self) -> dict[str, Photograph]:
        counts = Counter(photograph.person for photograph in self.record.gallery)
        return {one.person: one for one in self.record.gallery if counts[one.person] == 1}

    def _probes(self) -> list[Photograph]:
        """Searched photographs: the first of everybody, then the second of everybody, and so on."""
        per_person: dict[str, list[Photograph]] = defaultdict(list)
        for probe in sorted(self.record.probes, key=self._draw):
            per_person[probe.person].append(probe)
        placed = [
            (place, self._draw(probe), probe)
            for own in per_person.values()
            for place, probe in enumerate(own)
        ]
        return [probe for _, _, probe in sorted(placed, key=lambda item: item[:2])]

    def _side(self, photograph: Photograph) -> bool:
        return photograph.person in self.calibration

    def _draw(self, photograph: Photograph) -> bytes:
        text = f"pairs\x00{self.record.rules.seed}\x00{photograph.sha256}"
        return hashlib.sha256(text.encode()).digest()

    def _start(self, photograph: Photograph) -> int:
        return int.from_bytes(self._draw(photograph)[:8])


def _entry(first: Photograph, second: Photograph) -> PairEntry:
    return PairEntry(first=first.sha256, second=second.sha256)


def photographs_by_digest(record: EvaluationRecord) -> dict[str, Photograph]:
    """Every photograph a pair of the record may name."""
    plan: Sequence[Photograph] = record.comparisons.photographs if record.comparisons else ()
    return {one.sha256: one for one in (*record.gallery, *record.probes, *plan)}
