"""Quality of searched photographs that somebody else measured, read from a CSV file.

The first column names the photograph, every other column is a measure in which more is better. A
file as OFIQ's sample application writes it (semicolons, a column ``NAME.scalar`` for each component
on the scale 0 to 100 of ISO/IEC 29794-5, -1 where it failed; read in OFIQ-Project's
``OFIQSampleApp.cpp``) is taken by its ``.scalar`` columns alone.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample
from rekadapter.evaluation.record import PhotographQuality

_SCALAR: Final = ".scalar"
_SCALAR_TOP: Final = 100.0
_MOST_MEASURES: Final = 64


@dataclass(frozen=True, slots=True)
class BroughtQuality:
    """What a file says of ``photographs``, by digest, of the ``searched`` ones.

    ``strangers``: lines that name no photograph of the data set, or one that several may be.
    """

    photographs: tuple[PhotographQuality, ...]
    searched: int
    strangers: int

    @property
    def sentence(self) -> str:
        """How much of the data set the file covers."""
        of = f"{len(self.photographs):,} of {self.searched:,} searched photographs are measured"
        if not self.strangers:
            return of
        return f"{of}; {self.strangers:,} lines name no photograph, or not which one"


def read_quality(file: Path, checked: CheckedDataset) -> BroughtQuality:
    """What the file says of the searched photographs of a data set.

    A photograph is named by its path: whole, from the file's folder on, or (of another machine) its
    last parts, where no other photograph of the data set ends like that. Where the data set has
    several folders, folder and file name have to agree, unless the file gives names alone. An
    empty cell, a value that is not finite, and an OFIQ scalar outside 0 to 100 are not known.

    Raises:
        UsageError: the file cannot be read, has no number where one is needed, names a photograph
            or a measure twice, or names no photograph that is searched.
    """
    header, *lines = _lines(file)
    measures = _measures(file, header.cells)
    photographs = _Photographs(file, checked)
    searched = {one.sha256 for one in checked.probes}
    found: dict[str, PhotographQuality] = {}
    strangers = 0
    for line in lines:
        digest = photographs.named(line.cells[0])
        if digest is None:
            strangers += 1
        elif digest in found:
            raise UsageError(f"{file}, line {line.number}: {line.cells[0]} is named twice")
        elif digest in searched:
            values = _values(file, line, measures)
            found[digest] = PhotographQuality(sha256=digest, values=values)
    if not found:
        raise UsageError(
            f"{file} names none of the photographs that are searched: the first column is a path, "
            "from the file's folder on"
        )
    known = sorted(found.values(), key=lambda one: one.sha256)
    return BroughtQuality(tuple(known), len(searched), strangers)


# --- the file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Measure:
    name: str
    column: int
    scalar: bool


def _lines(file: Path) -> list[_Line]:
    """The lines that are not empty, with their number in the file."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            first = opened.readline()
            opened.seek(0)
            delimiter = ";" if first.count(";") > first.count(",") else ","
            rows = csv.reader(opened, delimiter=delimiter)
            lines = [_Line(rows.line_num, tuple(row)) for row in rows if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as CSV: {error}") from error
    if len(lines) < 2:
        raise UsageError(f"{file} needs a line of names and at least one photograph")
    return lines


def _measures(file: Path, header: Sequence[str]) -> tuple[_Measure, ...]:
    names = {n: name.strip() for n, name in enumerate(header) if n and name.strip()}
    scalars = {n: name for n, name in names.items() if name.endswith(_SCALAR)}
    measures = tuple(
        _Measure(name.removesuffix(_SCALAR), n, bool(scalars))
        for n, name in (scalars or names).items()
    )
    if not 1 <= len(measures) <= _MOST_MEASURES:
        raise UsageError(
            f"{file} has {len(measures)} measures beside the photographs' names: "
            f"give 1 to {_MOST_MEASURES}"
        )
    name, times = Counter(one.name for one in measures).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{file} has {times} columns '{name}': give each measure once")
    return measures


def _values(file: Path, line: _Line, measures: Sequence[_Measure]) -> dict[str, float]:
    numbers = {one.name: _number(file, line, one) for one in measures}
    return {name: value for name, value in numbers.items() if value is not None}


def _number(file: Path, line: _Line, measure: _Measure) -> float | None:
    text = line.cells[measure.column].strip() if measure.column < len(line.cells) else ""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"{file}, line {line.number}: {text!r} is not a number") from error
    if not math.isfinite(value):
        return None
    return None if measure.scalar and not 0 <= value <= _SCALAR_TOP else value


# --- which photograph is meant ----------------------------------------------------------------

_Ending = tuple[str, ...]


class _Photographs:
    """The digests of a data set's photographs, enrolled ones too, by each ending of their path that
    no other has: a name that means an enrolled photograph must not fall to a searched one."""

    def __init__(self, file: Path, checked: CheckedDataset) -> None:
        self._folder = file.parent
        samples = (*checked.gallery, *checked.probes)
        self._digests = _by_ending(samples)
        self._one_folder = len({one.sample.path.resolve().parent for one in samples}) == 1

    def named(self, name: str) -> str | None:
        """The digest of the photograph that a file calls so; None where it is not clear which."""
        name = name.strip()
        if not name or "\0" in name:  # no path at all
            return None
        whole = (self._folder / name).resolve().parts
        parts = _parts(name)
        least = 1 if self._one_folder or len(parts) == 1 else 2
        tries = (whole, *(parts[start:] for start in range(len(parts) - least + 1)))
        return next((self._digests[one] for one in tries if one in self._digests), None)


def _by_ending(samples: Sequence[CheckedSample]) -> Mapping[_Ending, str]:
    found: dict[_Ending, str | None] = {}
    for checked in samples:
        parts = checked.sample.path.resolve().parts
        for length in range(1, len(parts) + 1):
            ending = parts[-length:]
            found[ending] = checked.sha256 if ending not in found else None
    return {ending: digest for ending, digest in found.items() if digest is not None}


def _parts(name: str) -> _Ending:
    """The folders and the file of a path, of Windows too."""
    path = PurePath(name)
    return PureWindowsPath(name).parts if len(path.parts) == 1 else path.parts
