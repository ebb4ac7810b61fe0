"""``evaluation.json``: what is asked, of whom, by which rules; fixed before the first search.

With the answers beside it, it is all that a report needs: neither the photographs nor the machine
they were searched on. People are pseudonyms (HMAC-SHA256 under a salt that stays elsewhere), and
photographs are digests.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample, Dataset
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.pair_split import PeoplePair, split_pairs
from rekadapter.evaluation.protocol import Person, SplitRule, split_people
from rekadapter.evaluation.rules import Rules, SweepStream, Table
from rekadapter.sinks.whole_files import write_whole

EVALUATION_FILE: Final = "evaluation.json"
SALT_FILE: Final = "evaluation-salt"
_SCHEMA: Final = 1
_NOT_FIXED: Final = ("systems", "tool_version", "warnings", "quality")
_IDENTIFYING: Final = (
    "region", "endpoint", "pack", "detector_sha256", "embedder_sha256", "detection_threshold",
    "detection_size", "cosine_threshold", "face size",
)  # fmt: skip
"""details of a backend that tell its answers from another's"""


class Label(Table):
    """A group label from the user's records."""

    attribute: str
    value: str


class PersonEntry(Table):
    """A person by pseudonym. ``side``: non-mated people choose a threshold (calibration) or test
    it; mated people are always tested, because no threshold is chosen on them."""

    id: str
    enrolled: bool
    side: Literal["calibration", "test"]
    groups: tuple[Label, ...] = ()


class Photograph(Table):
    """A photograph by digest, whose it is, and where it was taken."""

    sha256: str
    person: str
    camera: str | None = None
    transit: str | None = None
    seconds: float | None = None


class PairEntry(Table):
    """Two photographs to compare, by digest."""

    first: str
    second: str


class ComparisonPlan(Table):
    """What is compared 1:1, and the people who choose thresholds on it.

    ``exact``: the data set names the pairs, and nobody is searched; ``photographs`` are theirs.
    Otherwise they are drawn from the searched and the enrolled photographs. ``remote``: remote
    systems are asked too. ``crossing`` pairs join the two sides and are left out of the figures.
    """

    exact: bool
    remote: bool
    calibration: tuple[str, ...]
    pairs: tuple[PairEntry, ...]
    photographs: tuple[Photograph, ...] = ()
    crossing: int = 0


class MeasuredEyes(Table):
    """Native pixels between the eyes of the largest face of a photograph; None: no face found."""

    sha256: str
    eye_px: float | None


class SweepPlan(Table):
    """The searches that are made again at fewer pixels between the eyes.

    ``measured``: every photograph that may take part. ``min_side_px``: smaller pictures are put on
    a gray canvas of that side, because a system takes none. ``finder`` found the faces.
    """

    eye_px: tuple[float, ...]
    quality: int
    min_side_px: int
    finder: str
    measured: tuple[MeasuredEyes, ...]
    streams: tuple[SweepStream, ...] = ()


class PhotographQuality(Table):
    """What somebody else measured of a searched photograph; more is better."""

    sha256: str
    values: dict[str, float]


class PriceTier(Table):
    """``usd`` a unit up to ``up_to`` units a month; None: without end."""

    usd: float
    up_to: int | None = None


class PriceEntry(Table):
    """A dated price and where it was read."""

    item: str
    unit: str
    operations: tuple[str, ...]
    tiers: tuple[PriceTier, ...]
    source: str
    as_of: date


class SystemEntry(Table):
    """A system as its backend described it when it was opened."""

    name: str
    kind: str
    model: str
    remote: bool
    scale: str
    scale_low: float
    scale_high: float
    higher_is_closer: bool
    default_threshold: float
    match_all: float
    max_candidates: int
    details: dict[str, str]
    prices: tuple[PriceEntry, ...] = ()

    @property
    def identity(self) -> str:
        """What its answers belong to: the model, where it runs, and what changes what it finds.

        A service asked at another endpoint is another system, whatever name it goes by.
        """
        parts = [f"{key}={value}" for key, value in identifying(self.details).items()]
        return "; ".join((self.model, *parts))


def identifying(details: Mapping[str, str]) -> dict[str, str]:
    """Those of a backend's details that tell its answers from another's."""
    return {key: details[key] for key in _IDENTIFYING if key in details}


class EvaluationRecord(Table):
    """The whole file."""

    schema_version: int = _SCHEMA
    tool_version: str
    rules: Rules
    stated: tuple[str, ...]
    people: tuple[PersonEntry, ...]
    gallery: tuple[Photograph, ...]
    probes: tuple[Photograph, ...]
    systems: tuple[SystemEntry, ...]
    held_out: bool
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    comparisons: ComparisonPlan | None = None
    sweep: SweepPlan | None = None
    quality: tuple[PhotographQuality, ...] = ()

    @property
    def only_pairs(self) -> bool:
        """Whether the data set is one of pairs: nobody is enrolled, nobody is searched."""
        return self.comparisons is not None and self.comparisons.exact

    @property
    def gallery_sha256(self) -> str:
        """Digest of who is enrolled with which photographs."""
        return _sha256(f"{one.person}\x00{one.sha256}" for one in self.gallery)

    @property
    def protocol_sha256(self) -> str:
        """Digest of everything fixed beforehand, but for the systems, the program's version, and
        what was measured of the pictures: that may be brought later and decides nothing."""
        left_out: dict[str, Any] = dict.fromkeys(_NOT_FIXED, True)
        if not self.rules.sweep.streams:  # as it was before there were any
            left_out["rules"] = {"sweep": {"streams"}}
        if self.sweep is not None and not self.sweep.streams:
            left_out["sweep"] = {"streams"}
        fixed = self.model_dump_json(exclude=left_out)
        return hashlib.sha256(fixed.encode()).hexdigest()

    @property
    def quality_sha256(self) -> str | None:
        """Digest of what somebody else measured of the photographs; None where nobody did."""
        if not self.quality:
            return None
        return _sha256(one.model_dump_json() for one in self.quality)

    @property
    def split_sha256(self) -> str:
        """Digest of who chooses thresholds and who tests them."""
        return _sha256(f"{one.side}\x00{one.id}" for one in self.people)

    @property
    def input_sha256(self) -> str:
        """Digest of every photograph: enrolled, searched, or of a pair that the data set names."""
        compared = self.comparisons.photographs if self.comparisons else ()
        return _sha256(one.sha256 for one in (*self.gallery, *self.probes, *compared))


def _sha256(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


# --- pseudonyms -------------------------------------------------------------------------------


class Pseudonyms:
    """Names turned into pseudonyms under one salt: the same name always into the same one."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    @classmethod
    def kept_in(cls, directory: Path) -> Pseudonyms:
        """With the salt of ``directory``, made on first use, readable by its owner alone.

        Raises:
            OutputError: it cannot be read or written.
        """
        path = directory / SALT_FILE
        try:
            if not path.exists():
                directory.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
                path.write_text(secrets.token_hex(32), encoding="ascii")
            return cls(path.read_bytes())
        except OSError as error:
            raise OutputError(f"the salt {path} cannot be kept: {error.strerror}") from error

    def of(self, person: PersonId) -> str:
        """The pseudonym of a person: ``p`` and 80 bits."""
        digest = hmac.new(self._salt, person.encode(), hashlib.sha256).hexdigest()
        return f"p{digest[:20]}"


# --- from a data set to a record --------------------------------------------------------------


def record_of(
    checked: CheckedDataset,
    rules: Rules,
    systems: Sequence[SystemEntry],
    pseudonyms: Pseudonyms,
    tool_version: str,
) -> EvaluationRecord:
    """Fixes who is searched, who is enrolled, and who chooses thresholds.

    Sides are drawn from names and seed, so that the pseudonyms' salt does not move them.

    Raises:
        UsageError: too few people to split.
    """
    dataset = checked.dataset
    groups: dict[PersonId, tuple[GroupLabel, ...]] = defaultdict(tuple)
    groups |= {one.person: one.groups for one in dataset.people}
    absent = sorted({sample.person for sample in dataset.nonmated})
    rule = SplitRule(rules.calibration_share, rules.seed, rules.balance)
    if dataset.pairs:
        split = split_pairs(_people_pairs(dataset), groups, rule)
    else:
        split = split_people([Person(p, groups[p]) for p in absent], rule)
    calibration = split.calibration
    enrolled = dataset.enrolled
    everybody = sorted(enrolled | split.calibration | split.test)
    entries = [
        PersonEntry(
            id=pseudonyms.of(person),
            enrolled=person in enrolled,
            side="calibration" if person in calibration else "test",
            groups=tuple(Label(attribute=g.attribute, value=g.value) for g in groups[person]),
        )
        for person in everybody
    ]
    return EvaluationRecord(
        tool_version=tool_version,
        rules=rules,
        stated=tuple(sorted(stated_keys(rules))),
        people=tuple(sorted(entries, key=lambda entry: entry.id)),
        gallery=photographs_of(checked.gallery, pseudonyms),
        probes=photographs_of(checked.probes, pseudonyms),
        systems=tuple(systems),
        held_out=dataset.held_out,
        warnings=checked.warnings,
    )


def _people_pairs(dataset: Dataset) -> list[PeoplePair]:
    return [PeoplePair(pair.first.person, pair.second.person) for pair in dataset.pairs]


def stated_keys(table: Table, prefix: str = "") -> set[str]:
    """Keys the user stated, dotted: the others are proposals."""
    found = set()
    for name in table.model_fields_set:
        value = getattr(table, name)
        if isinstance(value, Table):
            found |= stated_keys(value, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def photographs_of(
    samples: Sequence[CheckedSample], pseudonyms: Pseudonyms
) -> tuple[Photograph, ...]:
    """Checked samples as they stand in a record."""
    transits: dict[tuple[str, str], str] = {}
    found = []
    for checked in samples:
        sample, person = checked.sample, pseudonyms.of(checked.sample.person)
        transit = None
        if sample.transit is not None:
            # a transit's own name may hold a person's; its number among the data set's does not
            place = (person, sample.transit)
            transit = transits.setdefault(place, f"t{len(transits) + 1:05d}")
        found.append(
            Photograph(
                sha256=checked.sha256,
                person=person,
                camera=sample.camera,
                transit=transit,
                seconds=sample.seconds,
            )
        )
    return tuple(found)


# --- on disk ----------------------------------------------------------------------------------


def write_record(directory: Path, record: EvaluationRecord) -> Path:
    """Writes ``evaluation.json``; a directory of another evaluation is refused.

    Rules, governance, and systems may change between sittings: answers stay what they are. What was
    measured of the photographs stays too, until it is brought anew.

    Raises:
        UsageError: the directory holds an evaluation of other people or photographs.
        OutputError: it cannot be written.
    """
    path = directory / EVALUATION_FILE
    if path.exists():
        before = read_record(directory)
        if before.input_sha256 != record.input_sha256:
            raise UsageError(
                f"{directory} holds an evaluation of other photographs: give another --out"
            )
        kept = record.quality or before.quality
        record = record.model_copy(update={"quality": kept})
    return write_text(path, record.model_dump_json(indent=1) + "\n")


def read_record(directory: Path) -> EvaluationRecord:
    """Reads ``evaluation.json``.

    Raises:
        UsageError: there is none.
        OutputError: it is damaged.
    """
    path = directory / EVALUATION_FILE
    if not path.is_file():
        raise UsageError(f"{directory} holds no evaluation: make one with `rekadapter evaluate`")
    try:
        return EvaluationRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(f"{path} cannot be read: restore it, or evaluate anew") from error


def write_text(path: Path, text: str, *, errors: str = "strict") -> Path:
    """Writes a file whole or not at all; ``errors`` as ``Path.write_text`` takes it.

    Raises:
        OutputError: it cannot be written.
    """
    return write_whole(path, text.encode("utf-8", errors))
