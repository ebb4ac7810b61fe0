"""Who was really there: the ground truth of feeds, as a person wrote it down.

A transit is one person crossing one camera's view once, however many frames it takes. Its times are
seconds by the feed's own clock, from its first frame on.
"""

from __future__ import annotations

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError

from rekadapter.errors import UsageError
from rekadapter.evaluation.record import Label
from rekadapter.evaluation.rules import Amount, Table, explained, read_toml

UNKNOWN: Final = "unknown"
"""How a transit of somebody without a name is written."""
_ROLES: Final = ("gallery", "transit")
_COLUMNS: Final = frozenset({"role", "person", "camera", "enters", "leaves"})


def seconds_of_clock(value: object) -> object:
    """Seconds from ``75``, ``1:15`` or ``0:01:15.5``; anything else as it is."""
    if not isinstance(value, str):
        return value
    parts = value.strip().split(":")
    if not 1 <= len(parts) <= 3:
        return value
    try:
        steps = [float(part) for part in parts]
    except ValueError:
        return value
    if any(step < 0 for step in steps) or any(step >= 60 for step in steps[1:]):
        return value
    return sum(step * 60**place for place, step in enumerate(reversed(steps)))


Clock = Annotated[Amount, BeforeValidator(seconds_of_clock)]


class TransitEntry(Table):
    """``person`` crossed the view of ``camera`` from ``enters`` to ``leaves`` (seconds)."""

    camera: str = Field(min_length=1)
    person: str = Field(min_length=1)
    enters: Clock
    leaves: Clock

    @property
    def nameless(self) -> bool:
        """Whether nobody said who it was: then nobody can say how many people they are either."""
        return self.person == UNKNOWN

    def overlap(self, first: float, last: float) -> float:
        """Seconds in common with the time from ``first`` to ``last``; negative: that far apart."""
        return min(self.leaves, last) - max(self.enters, first)


class LabeledPersonEntry(Table):
    """A person's groups, from records, never from a model."""

    name: str = Field(min_length=1)
    groups: dict[str, str]


class Truth(Table):
    """Everything a person said of a run: who is enrolled, and who crossed which view when.

    A name counts for a transit if it was said within ``tolerance_seconds`` of it: times written
    down by hand are not exact.
    """

    gallery: tuple[str, ...]
    transits: tuple[TransitEntry, ...]
    people: tuple[LabeledPersonEntry, ...] = ()
    tolerance_seconds: Amount = 1.0

    def labels(self, person: str) -> tuple[Label, ...]:
        """The groups of a person."""
        found = next((one.groups for one in self.people if one.name == person), {})
        return tuple(Label(attribute=key, value=found[key]) for key in sorted(found))


def read_truth(file: Path, cameras: Iterable[str]) -> Truth:
    """Reads a ``.csv`` or ``.toml`` and holds it against the cameras of the run.

    Raises:
        UsageError: it cannot be read, contradicts itself, or names a camera that is not there.
    """
    try:
        table = _from_csv(file) if file.suffix.lower() == ".csv" else _from_toml(file)
        truth = Truth.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{file}: {explained(error)}") from error
    problems = tuple(_problems(truth, set(cameras)))
    if problems:
        raise UsageError(f"{file}: " + "; ".join(problems[:8]))
    return truth


def _from_toml(file: Path) -> dict[str, object]:
    table = read_toml(file)
    renamed = {"transit": "transits", "person": "people"}
    return {renamed.get(key, key): value for key, value in table.items()}


def _from_csv(file: Path) -> dict[str, object]:
    rows = tuple(_rows(file))
    people: dict[str, dict[str, str]] = {}
    for row in rows:
        groups = {k.removeprefix("group:"): v for k, v in row.items() if _is_group(k) and v}
        if row["person"] == UNKNOWN:
            continue
        if people.setdefault(row["person"], groups) != groups:
            raise UsageError(f"{file}: '{row['person']}' has other groups in another row")
    return {
        "gallery": [row["person"] for row in rows if row["role"] == "gallery"],
        "transits": [
            {key: row[key] for key in ("camera", "person", "enters", "leaves")}
            for row in rows
            if row["role"] == "transit"
        ],
        "people": [{"name": name, "groups": groups} for name, groups in people.items() if groups],
    }


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            columns = set(reader.fieldnames or ())
            _refuse_columns(file, columns)
            for number, row in enumerate(reader, 2):
                yield _row(file, number, row)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} is no CSV in UTF-8: {error}") from error


def _refuse_columns(file: Path, columns: set[str]) -> None:
    missing = _COLUMNS - columns
    if missing:
        raise UsageError(f"{file} needs the columns {', '.join(sorted(missing))}")
    unknown = {column for column in columns - _COLUMNS if not _is_group(column)}
    if unknown:
        raise UsageError(f"{file}: unknown columns {', '.join(sorted(unknown))}")


def _row(file: Path, number: int, row: Mapping[str | None, Any]) -> Mapping[str, str]:
    if None in row or None in row.values():
        raise UsageError(f"{file}, line {number}: it has not as many fields as the first line")
    found = {str(key): str(value).strip() for key, value in row.items()}
    if found["role"] not in _ROLES:
        raise UsageError(f"{file}, line {number}: the role is {' or '.join(_ROLES)}")
    return found


def _is_group(column: str) -> bool:
    return column.startswith("group:")


def _problems(truth: Truth, cameras: set[str]) -> Iterator[str]:
    if not truth.gallery:
        yield "nobody is in the gallery: list who is enrolled"
    if UNKNOWN in truth.gallery:
        yield f"'{UNKNOWN}' stands for somebody without a name and cannot be enrolled"
    if not truth.transits:
        yield "it holds no transit"
    strange = sorted({one.camera for one in truth.transits} - cameras)
    if strange:
        yield f"no camera of the run is called {', '.join(strange)} ({', '.join(sorted(cameras))})"
    for one in truth.transits:
        if one.leaves <= one.enters:
            yield f"'{one.person}' leaves {one.camera} at {one.leaves:g} s, before entering"
    yield from _misspelled(truth)
    yield from _twice_at_once(truth.transits)


def _misspelled(truth: Truth) -> Iterator[str]:
    """Somebody enrolled who crosses under another spelling would be taken for absent, and the right
    name for a false alert."""
    enrolled = {_folded(name): name for name in truth.gallery}
    crossing = {one.person for one in truth.transits} - set(truth.gallery)
    for person in sorted(crossing):
        name = enrolled.get(_folded(person))
        if name is not None:
            yield f"'{person}' is not in the gallery, but '{name}' is: write the name alike"


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split()).casefold()


def _twice_at_once(transits: Iterable[TransitEntry]) -> Iterator[str]:
    """A person crosses a view once at a time."""
    own: dict[tuple[str, str], list[TransitEntry]] = defaultdict(list)
    for one in transits:
        if not one.nameless:
            own[one.camera, one.person].append(one)
    for (camera, person), found in own.items():
        found.sort(key=lambda one: one.enters)
        if any(later.enters < earlier.leaves for earlier, later in pairwise(found)):
            yield f"'{person}' is on {camera} twice at the same time: join the two transits"
