"""A data set of labeled photographs, checked before anything is spent on it.

Who is in the gallery decides what a search is: mated where its person is enrolled, non-mated where
not. Non-mated searches need people who are absent from the gallery; where the data set does not
name them, a share of its people is held out, by a hash of seed and name, before the first search.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rekadapter.errors import ImageError, UsageError
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.imaging import Image, crop
from rekadapter.types import BoundingBox, PixelBox

_NAMED_AT_MOST = 8
_CROP_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One photograph (or the face in ``box`` of it, in pixels) and whom it shows.

    ``camera`` and ``transit`` say where it was taken and to which crossing of that view it belongs;
    ``seconds`` when, from the start of the transit.
    """

    person: PersonId
    path: Path
    box: PixelBox | None = None
    camera: str | None = None
    transit: str | None = None
    seconds: float | None = None

    def image(self) -> Image:
        """The photograph, or its part around ``box`` at twice the box's sides.

        Raises:
            ImageError: it cannot be read.
        """
        image = Image.open(self.path)
        if self.box is None:
            return image
        region = BoundingBox.from_pixels(self.box, image.size).scaled(_CROP_MARGIN).clipped()
        return crop(image, region).image


@dataclass(frozen=True, slots=True)
class SamplePair:
    """Two photographs to compare 1:1; mated where both show the same person."""

    first: Sample
    second: Sample

    @property
    def mated(self) -> bool:
        return self.first.person == self.second.person


@dataclass(frozen=True, slots=True)
class LabeledPerson:
    """A person and the groups the user's records put them in."""

    person: PersonId
    groups: tuple[GroupLabel, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Gallery and probes, or ``pairs`` alone: then nobody is searched, and exactly these pairs are
    compared. ``exclusions`` say in words what was left out, and how much."""

    gallery: tuple[Sample, ...]
    probes: tuple[Sample, ...]
    people: tuple[LabeledPerson, ...] = ()
    exclusions: tuple[str, ...] = ()
    held_out: bool = False
    pairs: tuple[SamplePair, ...] = ()

    @property
    def enrolled(self) -> frozenset[PersonId]:
        """People the protocol puts into the gallery."""
        return frozenset(sample.person for sample in self.gallery)

    @property
    def mated(self) -> tuple[Sample, ...]:
        enrolled = self.enrolled
        return tuple(sample for sample in self.probes if sample.person in enrolled)

    @property
    def nonmated(self) -> tuple[Sample, ...]:
        enrolled = self.enrolled
        return tuple(sample for sample in self.probes if sample.person not in enrolled)


@dataclass(frozen=True, slots=True)
class HoldOut:
    """How people without a stated role are dealt: the share kept out of the gallery, how many
    photographs of each other person are enrolled, and the seed."""

    share: float = 0.5
    enroll_photos: int = 1
    seed: int = 5


def hold_out(
    samples: Sequence[Sample], rule: HoldOut, people: tuple[LabeledPerson, ...] = ()
) -> Dataset:
    """A share of the people is kept out of the gallery; of the others, the first photographs are
    enrolled and the rest are searched.

    The draw depends on names and seed alone. With ``people`` of several groups each group gives its
    share.
    """
    by_person: dict[PersonId, list[Sample]] = {}
    for sample in samples:
        by_person.setdefault(sample.person, []).append(sample)
    labels = {one.person: one.groups for one in people}
    absent = _absent(sorted(by_person), labels, rule)
    gallery, probes = [], []
    for person, own in sorted(by_person.items()):
        taken = 0 if person in absent else rule.enroll_photos
        gallery += own[:taken]
        probes += own[taken:]
    return Dataset(tuple(gallery), tuple(probes), people, held_out=True)


def _absent(
    people: Sequence[PersonId], labels: dict[PersonId, tuple[GroupLabel, ...]], rule: HoldOut
) -> set[PersonId]:
    strata: dict[tuple[GroupLabel, ...], list[PersonId]] = {}
    for person in people:
        strata.setdefault(labels.get(person, ()), []).append(person)
    absent: set[PersonId] = set()
    wanted = 0.0
    for _, members in sorted(strata.items(), key=lambda item: repr(item[0])):
        wanted += rule.share * len(members)
        members.sort(key=lambda person: _draw(person, rule.seed))
        absent.update(members[: max(0, round(wanted) - len(absent))])
    return absent


def _draw(person: PersonId, seed: int) -> bytes:
    drawn = f"held out\x00{seed}\x00{person}"
    return hashlib.sha256(drawn.encode(errors="surrogateescape")).digest()


# --- checks -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """A sample whose file was read; ``sha256`` is of the file, and of the box where it has one."""

    sample: Sample
    sha256: str


@dataclass(frozen=True, slots=True)
class CheckedPair:
    """A pair whose two files were read."""

    first: CheckedSample
    second: CheckedSample

    @property
    def mated(self) -> bool:
        return self.first.sample.person == self.second.sample.person


@dataclass(frozen=True, slots=True)
class CheckedDataset:
    """A data set that can be run."""

    dataset: Dataset
    gallery: tuple[CheckedSample, ...]
    probes: tuple[CheckedSample, ...]
    warnings: tuple[str, ...]
    pairs: tuple[CheckedPair, ...] = ()


def check(dataset: Dataset) -> CheckedDataset:
    """Reads every file's header and digest, and refuses what would make the figures wrong.

    Raises:
        UsageError: images missing or unreadable, one photograph of two people or on both sides,
            nobody enrolled, or too few people to search: all of them named in one message.
    """
    if dataset.pairs:
        return _checked_pairs(dataset)
    problems = [*_undecodable((*dataset.gallery, *dataset.probes)), *_too_few(dataset)]
    gallery = _read(dataset.gallery, problems)
    probes = _read(dataset.probes, problems)
    problems += _same_photographs(gallery, probes)
    if problems:
        raise UsageError(f"the data set cannot be run: {_listed(problems)}")
    return CheckedDataset(dataset, gallery, probes, tuple(_warnings(dataset)))


def _checked_pairs(dataset: Dataset) -> CheckedDataset:
    problems = [*_pairs_missing(dataset)]
    samples = list(dict.fromkeys(s for pair in dataset.pairs for s in (pair.first, pair.second)))
    problems += _undecodable(samples)
    read = _read(samples, problems)
    problems += _owned_twice(read)
    found = {checked.sample: checked for checked in read}
    pairs = tuple(
        CheckedPair(found[pair.first], found[pair.second])
        for pair in dataset.pairs
        if pair.first in found and pair.second in found
    )
    problems += _same_pairs(pairs)
    if problems:
        raise UsageError(f"the data set cannot be run: {_listed(problems)}")
    people = {sample.person for sample in samples}
    warnings = (*_label_warnings(dataset, people), *dataset.exclusions)
    return CheckedDataset(dataset, (), (), warnings, pairs)


def _pairs_missing(dataset: Dataset) -> Iterable[str]:
    for kind, mated in (("of one person", True), ("of two people", False)):
        if not any(pair.mated == mated for pair in dataset.pairs):
            yield f"no pair is {kind}: both kinds are needed"


def _same_pairs(pairs: Sequence[CheckedPair]) -> Iterable[str]:
    listed = Counter(frozenset((pair.first.sha256, pair.second.sha256)) for pair in pairs)
    for pair in pairs:
        if pair.first.sha256 == pair.second.sha256:
            yield f"{pair.first.sample.path} is compared with itself"
    twice = sum(count > 1 for count in listed.values())
    if twice:
        yield f"{twice} pairs are listed more than once: list each once"


def _undecodable(samples: Iterable[Sample]) -> Iterable[str]:
    """File names of another encoding, which can be neither printed nor written down."""
    for folder in dict.fromkeys(sample.path.parent for sample in samples):
        if not _is_text(str(folder)):
            yield f"{_shown(folder)}: the name is not valid text: rename it"
    for sample in samples:
        if not _is_text(sample.path.name):
            yield f"{_shown(sample.path)}: the name is not valid text: rename it"


def _is_text(name: str) -> bool:
    return name == _shown(name)


def _shown(name: Path | str) -> str:
    return str(name).encode(errors="replace").decode()


def _too_few(dataset: Dataset) -> Iterable[str]:
    if not dataset.gallery:
        yield "nobody is in the gallery"
    if not dataset.mated:
        yield "nobody of the gallery is searched: give enrolled people a second photograph"
    absent = {sample.person for sample in dataset.nonmated}
    if len(absent) < 2:
        yield (
            f"{len(absent)} people outside the gallery are searched: at least 2 are needed, one to "
            "choose a threshold on and one to test it on"
        )


def _read(samples: Iterable[Sample], problems: list[str]) -> tuple[CheckedSample, ...]:
    read = []
    for sample in samples:
        try:
            digest = Image.open(sample.path).digest()
        except ImageError as error:
            problems.append(_shown(str(error)))
            continue
        box = f":{sample.box}" if sample.box else ""
        digest = hashlib.sha256(f"{digest}{box}".encode()).hexdigest() if box else digest
        read.append(CheckedSample(sample, digest))
    return tuple(read)


def _same_photographs(
    gallery: Sequence[CheckedSample], probes: Sequence[CheckedSample]
) -> Iterable[str]:
    yield from _owned_twice((*gallery, *probes))
    enrolled = {checked.sha256: checked for checked in gallery}
    for checked in probes:
        if checked.sha256 in enrolled:
            yield f"{checked.sample.path} is enrolled and searched: use another photograph"
    first = {checked.sha256: checked for checked in reversed(probes)}
    for digest, count in Counter(checked.sha256 for checked in probes).items():
        if count > 1:
            yield f"{first[digest].sample.path} is searched {count} times: list it once"


def _owned_twice(photographs: Iterable[CheckedSample]) -> Iterable[str]:
    owners: dict[str, CheckedSample] = {}
    for checked in photographs:
        other = owners.setdefault(checked.sha256, checked)
        if other.sample.person != checked.sample.person:
            yield (
                f"{other.sample.path} and {checked.sample.path} are one photograph of two people: "
                "correct the label"
            )


def _warnings(dataset: Dataset) -> Iterable[str]:
    searched = {sample.person for sample in dataset.probes}
    silent = len(dataset.enrolled - searched)
    if silent:
        yield f"{silent} people of the gallery have no second photograph and are not searched"
    yield from _alike(searched | dataset.enrolled)
    yield from _label_warnings(dataset, searched)
    yield from dataset.exclusions


def _alike(people: Iterable[PersonId]) -> Iterable[str]:
    """Counted, as the report holds no names: somebody who is enrolled under one of two spellings
    and searched under the other would be a false alert of every system."""
    spelled = Counter(" ".join(person.split()).casefold() for person in people)
    twice = sum(count for count in spelled.values() if count > 1)
    if twice:
        yield (
            f"{twice} people have names that differ only in capitals or spaces: each counts as a "
            "person of its own"
        )


def _label_warnings(dataset: Dataset, searched: set[PersonId]) -> Iterable[str]:
    labeled = {one.person for one in dataset.people if one.groups}
    if labeled and searched - labeled:
        yield f"{len(searched - labeled)} people carry no group label"
    if not labeled:
        yield "nobody carries a group label, so nothing can be said about groups"


def _listed(problems: Sequence[str]) -> str:
    shown = "; ".join(problems[:_NAMED_AT_MOST])
    more = len(problems) - _NAMED_AT_MOST
    return f"{shown}; and {more} more" if more > 0 else shown
