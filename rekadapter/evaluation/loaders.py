"""Data sets as they lie on disk: folders per person, protocol files, and research layouts.

The research layouts are read as their publishers describe them, from file and folder names and
their own lists; rekadapter ships none of the data, and each has terms of use of its own.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rekadapter.errors import UsageError
from rekadapter.evaluation.dataset import Dataset, HoldOut, LabeledPerson, Sample, hold_out
from rekadapter.evaluation.outcomes import GroupLabel, PersonId
from rekadapter.evaluation.pair_lists import PAIRS_FILE, read_pairs
from rekadapter.evaluation.rules import RULES_FILE, Rules, parse_rules, read_toml
from rekadapter.imaging import IMAGE_SUFFIXES
from rekadapter.types import PixelBox

PEOPLE_FILE: Final = "people.csv"
_ROLES: Final = ("gallery", "probe", "mated", "nonmated")
_KNOWN: Final = ("role", "person", "path", "camera", "transit", "seconds", "box")


class Layout(StrEnum):
    """How a data set lies on disk; AUTO takes a folder as FOLDERS and a file as a protocol."""

    AUTO = "auto"
    FOLDERS = "folders"
    LFW = "lfw"
    IJB = "ijb"
    CHOKEPOINT = "chokepoint"
    SCFACE = "scface"
    UCCS = "uccs"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data set and the rules that came with it."""

    dataset: Dataset
    rules: Rules


def load(source: Path, layout: Layout = Layout.AUTO, rules: Rules | None = None) -> Loaded:
    """A data set in any of the layouts; ``rules`` win over an ``evaluation.toml`` beside the data.

    Raises:
        UsageError: it is not there, or not of that layout.
    """
    if not source.exists():
        raise UsageError(f"{source} does not exist: give a folder, a CSV or a TOML file")
    if layout is Layout.AUTO and source.is_file():
        return _protocol_file(source, rules)
    if source.is_file() and layout is Layout.LFW:
        return Loaded(_lfw_pairs(source), rules or Rules())
    if source.is_file():
        raise UsageError(f"{source} is a file; the layout '{layout}' is a folder")
    beside = source / RULES_FILE
    if rules is None:
        table = read_toml(beside) if beside.is_file() else {}
        rules = parse_rules(table, str(beside))
    return Loaded(_LAYOUTS[layout](source, rules), rules)


def _hold_out(
    samples: Sequence[Sample], rules: Rules, people: tuple[LabeledPerson, ...] = ()
) -> Dataset:
    return hold_out(samples, HoldOut(rules.holdout_share, rules.enroll_photos, rules.seed), people)


# --- folders and protocol files ---------------------------------------------------------------


def folders(root: Path, rules: Rules) -> Dataset:
    """A folder per person; groups from ``people.csv`` (a column ``person``, one an attribute)."""
    samples = [
        Sample(_person(folder.name), path)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for path in _images(folder)
    ]
    if not samples:
        raise UsageError(f"{root} holds no folder with images: make one folder per person")
    listed = root / PEOPLE_FILE
    people = _people(listed) if listed.is_file() else ()
    return _hold_out(samples, rules, people)


def _person(name: str) -> PersonId:
    """One name, whichever way its accents are encoded: macOS and Linux write them differently."""
    return PersonId(unicodedata.normalize("NFC", name))


def _people(file: Path) -> tuple[LabeledPerson, ...]:
    found = [
        LabeledPerson(_person(row["person"]), _groups(row, set(row) - {"person"}))
        for row in _rows(file, needed=("person",))
    ]
    twice = [name for name, count in Counter(one.person for one in found).items() if count > 1]
    if twice:
        raise UsageError(f"{file} lists {', '.join(twice)} more than once")
    return tuple(found)


def _groups(row: Mapping[str, str], attributes: set[str]) -> tuple[GroupLabel, ...]:
    return tuple(GroupLabel(name, row[name]) for name in sorted(attributes) if row[name])


def _protocol_file(file: Path, rules: Rules | None) -> Loaded:
    if file.suffix.lower() == ".csv":
        return Loaded(protocol_csv(file), rules or Rules())
    if file.suffix.lower() == ".txt":
        return Loaded(_lfw_pairs(file), rules or Rules())
    table = read_toml(file)
    named = table.pop("protocol", None)
    entries = {role: table.pop(role, []) for role in ("gallery", "probe", "person")}
    rules = rules or parse_rules(table, str(file))
    if isinstance(named, str):
        return Loaded(protocol_csv(file.parent / named), rules)
    return Loaded(_from_tables(file, entries), rules)


def protocol_csv(file: Path) -> Dataset:
    """A CSV with the columns ``role`` (gallery, probe, mated, nonmated), ``person`` and ``path``;
    also ``camera``, ``transit``, ``seconds``, ``box`` (left top right bottom in pixels), and
    ``group:NAME`` for each attribute.

    ``mated`` and ``nonmated`` are held against the gallery; ``probe`` leaves it to the gallery.
    """
    rows = list(_rows(file, needed=("role", "person", "path")))
    unknown = {c for row in rows[:1] for c in row if c not in _KNOWN and not _is_group(c)}
    if unknown:
        raise UsageError(f"{file}: unknown columns {', '.join(sorted(unknown))}")
    return _dataset(file, rows)


def _is_group(column: str) -> bool:
    return column.startswith("group:")


def _dataset(file: Path, rows: Sequence[Mapping[str, str]]) -> Dataset:
    for number, row in enumerate(rows, 1):
        if row["role"] not in _ROLES or not row["person"] or not row["path"]:
            raise UsageError(
                f"{file}, entry {number}: a role ({', '.join(_ROLES)}), a person and a path "
                "are needed"
            )
    samples = [(row["role"], _sample(file, row)) for row in rows]
    dataset = Dataset(
        gallery=tuple(sample for role, sample in samples if role == "gallery"),
        probes=tuple(sample for role, sample in samples if role != "gallery"),
        people=_labels(file, rows),
    )
    _refuse_contradictions(file, samples, dataset)
    return dataset


def _refuse_contradictions(
    file: Path, samples: Sequence[tuple[str, Sample]], dataset: Dataset
) -> None:
    enrolled = dataset.enrolled
    for role, sample in samples:
        if role == "nonmated" and sample.person in enrolled:
            raise UsageError(
                f"{file}: '{sample.person}' is in the gallery and among the non-mated probes: "
                "a non-mated search needs somebody who is absent"
            )
        if role == "mated" and sample.person not in enrolled:
            raise UsageError(f"{file}: the mated probe '{sample.person}' is not in the gallery")


def _sample(file: Path, row: Mapping[str, str]) -> Sample:
    seconds, box = row.get("seconds") or "", row.get("box") or ""
    try:
        return Sample(
            person=_person(row["person"]),
            path=file.parent / row["path"],
            box=PixelBox(*(int(side) for side in box.split())) if box else None,
            camera=row.get("camera") or None,
            transit=row.get("transit") or None,
            seconds=float(seconds) if seconds else None,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{file}: '{row['path']}' needs seconds as a number and a box as four whole numbers"
        ) from error


def _labels(file: Path, rows: Sequence[Mapping[str, str]]) -> tuple[LabeledPerson, ...]:
    found: dict[PersonId, tuple[GroupLabel, ...]] = {}
    for row in rows:
        columns = {column for column in row if _is_group(column)}
        groups = tuple(
            GroupLabel(label.attribute.removeprefix("group:"), label.value)
            for label in _groups(row, columns)
        )
        person = _person(row["person"])
        if found.setdefault(person, groups) != groups:
            raise UsageError(f"{file}: '{person}' has different group labels in different rows")
    return tuple(LabeledPerson(person, groups) for person, groups in found.items())


def _from_tables(file: Path, entries: Mapping[str, Any]) -> Dataset:
    """``[[gallery]]`` and ``[[probe]]`` tables as the rows of a CSV; groups from ``[[person]]``."""
    groups = {}
    for person in _tables(file, "person", entries["person"]):
        labels = person.get("groups", {})
        groups[str(person.get("person", ""))] = {f"group:{k}": str(v) for k, v in labels.items()}
    rows = []
    for role in ("gallery", "probe"):
        for table in _tables(file, role, entries[role]):
            unknown = set(table) - set(_KNOWN)
            if unknown:
                raise UsageError(f"{file}: [[{role}]] has unknown keys {', '.join(unknown)}")
            row = {"role": role, "person": "", "path": ""}
            row |= {key: str(value) for key, value in table.items()}
            rows.append(row | groups.get(row["person"], {}))
    return _dataset(file, rows)


def _tables(file: Path, role: str, tables: object) -> list[dict[str, Any]]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{file}: write each entry as a table, [[{role}]]")
    return tables


# --- research layouts -------------------------------------------------------------------------


def lfw(root: Path, rules: Rules) -> Dataset:
    """LFW: ``Name/Name_0001.jpg``. With a ``pairs.txt``, exactly its pairs, compared 1:1; without
    one, folders."""
    pairs = root / PAIRS_FILE
    if pairs.is_file():
        return _lfw_pairs(pairs)
    return folders(_lfw_images(root), rules)


def _lfw_images(root: Path) -> Path:
    return root / "lfw" if (root / "lfw").is_dir() else root


def _lfw_pairs(file: Path) -> Dataset:
    images = _lfw_images(file.parent)
    listed = images / PEOPLE_FILE
    people = _people(listed) if listed.is_file() else ()
    return replace(read_pairs(file, images), people=people)


def ijb(root: Path, rules: Rules) -> Dataset:
    """IJB-style templates: ``*gallery*.csv`` and ``*probe*.csv`` with TEMPLATE_ID, SUBJECT_ID,
    FILENAME and FACE_X, FACE_Y, FACE_WIDTH, FACE_HEIGHT. A probe template is one search."""
    del rules
    gallery = _ijb_samples(root, "gallery")
    probes = _ijb_samples(root, "probe")
    return Dataset(tuple(replace(one, transit=None) for one in gallery), tuple(probes))


def _ijb_samples(root: Path, kind: str) -> list[Sample]:
    files = sorted(file for file in root.rglob("*.csv") if kind in file.name.lower())
    if not files:
        raise UsageError(f"{root} has no CSV with '{kind}' in its name: is it an IJB protocol?")
    return [
        Sample(
            person=PersonId(row["SUBJECT_ID"]),
            path=root / row["FILENAME"],
            box=_face_box(file, row),
            transit=row["TEMPLATE_ID"],
        )
        for file in files
        for row in _rows(file, needed=("TEMPLATE_ID", "SUBJECT_ID", "FILENAME"))
    ]


def _face_box(file: Path, row: Mapping[str, str]) -> PixelBox | None:
    sides = [row.get(f"FACE_{side}", "") for side in ("X", "Y", "WIDTH", "HEIGHT")]
    if not all(sides):
        return None
    try:
        left, top, width, height = (round(float(side)) for side in sides)
    except ValueError as error:
        raise UsageError(f"{file}: a face box is not made of numbers: {sides}") from error
    return PixelBox(left, top, left + width, top + height)


_CHOKEPOINT: Final = re.compile(r"(P\d[EL])_S(\d)_(C\d)(?:\.\d)?")


def chokepoint(root: Path, rules: Rules) -> Dataset:
    """ChokePoint's cropped faces: ``P1E_S1_C1/0001/00000000.png`` (portal, session, camera, then a
    folder per person; its PGM files converted first). Session 1 enrolls, later sessions are
    searched; one person in one sequence is one transit."""
    first: list[Sample] = []
    later: list[Sample] = []
    for folder in sorted(path for path in root.rglob("P*_S*_C*") if path.is_dir()):
        named = _CHOKEPOINT.fullmatch(folder.name)
        if named:
            target = first if named[2] == "1" else later
            target += _sequence(folder, camera=f"{named[1]}_{named[3]}")
    return _sessions(root, first, later, rules)


def _sequence(folder: Path, camera: str) -> list[Sample]:
    return [
        Sample(PersonId(own.name), path, camera=camera, transit=f"{folder.name}/{own.name}")
        for own in sorted(folder.iterdir())
        if own.is_dir()
        for path in _images(own)
    ]


_SCFACE: Final = re.compile(r"(\d{3})_cam(\d+)_(\d)")


def scface(root: Path, rules: Rules) -> Dataset:
    """SCface: ``*mugshot*/001_frontal.jpg`` enrolls, ``001_cam1_2.jpg`` (camera 1, distance 2),
    wherever it lies, is searched."""
    first = [
        Sample(PersonId(path.name[:3]), path)
        for path in _all_images(root)
        if re.fullmatch(r"\d{3}_frontal", path.stem)
    ]
    later = [
        Sample(PersonId(named[1]), path, camera=f"cam{named[2]} distance {named[3]}")
        for path in _all_images(root)
        if (named := _SCFACE.fullmatch(path.stem))
    ]
    return _sessions(root, first, later, rules)


def uccs(root: Path, rules: Rules) -> Dataset:
    """UCCS: ``gallery/0001/*.jpg`` enrolls; CSV files with FILE, SUBJECT_ID and the face's box name
    what is searched. Faces of unknown people (id -1) cannot be told apart, so they are left out."""
    first = [
        Sample(PersonId(folder.name.lstrip("0") or "0"), path)
        for folder in sorted((root / "gallery").glob("*"))
        if folder.is_dir()
        for path in _images(folder)
    ]
    later, unknown = [], 0
    for file in sorted(root.glob("*.csv")):
        for row in _rows(file, needed=("FILE", "SUBJECT_ID")):
            if row["SUBJECT_ID"].startswith("-"):
                unknown += 1
                continue
            person = PersonId(row["SUBJECT_ID"].lstrip("0") or "0")
            later.append(Sample(person, root / row["FILE"], _face_box(file, row), camera="UCCS"))
    dataset = _sessions(root, first, later, rules)
    left = (f"{unknown} faces of unknown people were left out: nobody can say how many people",)
    return replace(dataset, exclusions=left if unknown else ())


def _sessions(
    root: Path, first: Sequence[Sample], later: Sequence[Sample], rules: Rules
) -> Dataset:
    """People of ``first`` are enrolled but for a held-out share; ``later`` is searched."""
    if not first or not later:
        raise UsageError(f"{root} holds no photographs in that layout: is it the right --layout?")
    per_person: dict[PersonId, list[Sample]] = {}
    for sample in first:
        per_person.setdefault(sample.person, []).append(sample)
    dealt = _hold_out([own[0] for own in per_person.values()], rules)
    enrolled = dealt.enrolled
    gallery = [s for p in sorted(enrolled) for s in per_person[p][: rules.enroll_photos]]
    return Dataset(tuple(gallery), tuple(later), held_out=True)


_LAYOUTS: Final[Mapping[Layout, Callable[[Path, Rules], Dataset]]] = {
    Layout.AUTO: folders,
    Layout.FOLDERS: folders,
    Layout.LFW: lfw,
    Layout.IJB: ijb,
    Layout.CHOKEPOINT: chokepoint,
    Layout.SCFACE: scface,
    Layout.UCCS: uccs,
}


# --- files ------------------------------------------------------------------------------------


def _images(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]


def _all_images(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}") from error


def _rows(file: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(_lines(file))
    missing = set(needed) - set(reader.fieldnames or ())
    if missing:
        raise UsageError(f"{file} lacks the columns {', '.join(sorted(missing))}")
    for number, row in enumerate(reader, 2):
        if None in row or None in row.values():
            raise UsageError(f"{file}, line {number}: not as many values as columns")
        yield {name: value.strip() for name, value in row.items()}
