"""Lists of pairs in LFW's layout: which photograph is compared with which.

A line of three fields names a person and two of their photographs by number (mated); a line of four
a person and a photograph, twice (non-mated). The line before them says how many sets and pairs
there are, and is left out. Fields are separated by tabs; where a line has none, by white space.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import Dataset, Sample, SamplePair
from rekadapter.evaluation.outcomes import PersonId
from rekadapter.imaging import IMAGE_SUFFIXES

PAIRS_FILE: Final = "pairs.txt"


def read_pairs(file: Path, images: Path) -> Dataset:
    """The pairs of a list whose photographs lie as ``Name/Name_0001.jpg`` in ``images``.

    A photograph that is not there is named by the check of the data set.

    Raises:
        UsageError: the list cannot be read, or a line is no pair.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        fields = _fields(line)
        if not fields or (number == 1 and all(field.isdigit() for field in fields)):
            continue
        if not _is_pair(fields):
            raise UsageError(
                f"{file}, line {number}: '{line.strip()}' is no pair: write 'name number number' "
                "or 'name number name number'"
            )
        pairs.append(_pair(fields, images))
    if not pairs:
        raise UsageError(f"{file} names no pair")
    return Dataset((), (), pairs=tuple(pairs))


def _fields(line: str) -> list[str]:
    parts = line.split("\t") if "\t" in line else line.split()
    return [part.strip() for part in parts if part.strip()]


def _is_pair(fields: list[str]) -> bool:
    numbers = fields[1::2] if len(fields) == 4 else fields[1:]
    return len(fields) in {3, 4} and all(number.isdigit() for number in numbers)


def _pair(fields: list[str], images: Path) -> SamplePair:
    name, number, *rest = fields
    other, other_number = rest if len(rest) == 2 else (name, rest[0])
    return SamplePair(_sample(images, name, number), _sample(images, other, other_number))


def _sample(images: Path, name: str, number: str) -> Sample:
    stem = f"{name}_{int(number):04d}"
    places = [images / name / f"{stem}{suffix}" for suffix in sorted(IMAGE_SUFFIXES)]
    found = next((path for path in places if path.is_file()), images / name / f"{stem}.jpg")
    return Sample(PersonId(name), found)
