"""Quality of searched photographs that somebody else measured, read from a CSV file.

The first column names the photograph, every other column is a measure in which more is better. A
file as OFIQ's sample application writes it (semicolons, a column ``NAME.scalar`` for each component
on the scale 0 to 100 of ISO/IEC 29794-5) is taken by its ``.scalar`` columns alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import CheckedDataset, CheckedSample
from rekadapter.evaluation.record import PhotographQuality

_SCALAR: Final = ".scalar"
_SCALAR_TOP: Final = 100.0
_MOST_MEASURES: Final = 64


def read_quality(file: Path, checked: CheckedDataset) -> tuple[PhotographQuality, ...]:
    """What the file says of the searched photographs of a data set.

    A photograph is named by its path: whole, from the file's folder on, or its last parts alone
    where no other photograph ends like that. An empty cell, and an OFIQ scalar outside 0 to 100,
    is not known.

    Raises:
        UsageError: the file cannot be read, has no number where one is needed, names a photograph
            twice, or names none that is searched.
    """
    rows = _rows(file)
    names = _measures(file, rows[0])
    searched = _by_ending(checked.probes)
    found: dict[str, PhotographQuality] = {}
    for number, row in enumerate(rows[1:], 2):
        sample = searched.get(_ending(file, row[0], searched))
        if sample is None:
            continue
        if sample.sha256 in found:
            raise UsageError(f"{file}, line {number}: {row[0]} is named twice")
        values = {
            name: value
            for name, column in names.items()
            if (value := _number(file, number, row, column, scalar=_is_scalar(rows[0][column])))
            is not None
        }
        found[sample.sha256] = PhotographQuality(sha256=sample.sha256, values=values)
    if not found:
        raise UsageError(
            f"{file} names none of the photographs that are searched: the first column is a path, "
            "from the file's folder on"
        )
    return tuple(sorted(found.values(), key=lambda one: one.sha256))


def _rows(file: Path) -> list[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    if len(rows) < 2:
        raise UsageError(f"{file} needs a line of names and at least one photograph")
    return rows


def _is_scalar(column: str) -> bool:
    return column.endswith(_SCALAR)


def _measures(file: Path, header: Sequence[str]) -> Mapping[str, int]:
    """Column numbers by the name of their measure."""
    columns = {name: number for number, name in enumerate(header) if number and name.strip()}
    scalars = {name: number for name, number in columns.items() if _is_scalar(name)}
    chosen = {name.removesuffix(_SCALAR).strip(): n for name, n in (scalars or columns).items()}
    if not 1 <= len(chosen) <= _MOST_MEASURES:
        raise UsageError(
            f"{file} has {len(chosen)} measures beside the photographs' names: "
            f"give 1 to {_MOST_MEASURES}"
        )
    return chosen


def _number(
    file: Path, number: int, row: Sequence[str], column: int, *, scalar: bool
) -> float | None:
    text = row[column].strip() if column < len(row) else ""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"{file}, line {number}: {text!r} is not a number") from error
    if not math.isfinite(value):
        return None
    return None if scalar and not 0 <= value <= _SCALAR_TOP else value


# --- which photograph is meant ----------------------------------------------------------------

_Ending = tuple[str, ...]


def _by_ending(probes: Sequence[CheckedSample]) -> Mapping[_Ending, CheckedSample]:
    """Photographs by each ending of their path that no other has."""
    found: dict[_Ending, CheckedSample | None] = {}
    for checked in probes:
        parts = checked.sample.path.resolve().parts
        for length in range(1, len(parts) + 1):
            ending = parts[-length:]
            found[ending] = checked if ending not in found else None
    return {ending: checked for ending, checked in found.items() if checked is not None}


def _ending(file: Path, name: str, searched: Mapping[_Ending, CheckedSample]) -> _Ending:
    """The name as an ending that is known: from the file's folder on before any shorter one."""
    parts = Path(name.strip()).parts
    whole = (file.parent / name.strip()).resolve().parts
    tries = (whole, *(parts[start:] for start in range(len(parts))))
    return next((one for one in tries if one in searched), ())
