"""The roster as a sync sees it: everybody it knows, and the photographs that can be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rekadapter.errors import ImageError
from rekadapter.imaging import Image
from rekadapter.roster import RosterPhoto, read_roster
from rekadapter.types import SubjectId


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph of one subject. ``digest`` is the file's SHA-256: what it is, wherever it
    lies."""

    subject: SubjectId
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class UnreadablePhotograph:
    """A file of the roster that is no photograph rekadapter reads, and why."""

    subject: SubjectId
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SyncRoster:
    """Who shall be in the galleries.

    ``people`` are all whom the roster names, also those without a photograph that can be read:
    they cannot be enrolled, and are never deleted either. The same file twice for one subject is
    one photograph.
    """

    people: frozenset[SubjectId] = frozenset()
    photographs: tuple[Photograph, ...] = ()
    unreadable: tuple[UnreadablePhotograph, ...] = ()


def read_sync_roster(folder: Path) -> SyncRoster:
    """The roster in ``folder``: a folder per subject. Every photograph is read once.

    Raises:
        UsageError: there is no photograph at all, or ``folder`` is none.
    """
    photos = read_roster(folder)
    named = {SubjectId(entry.name) for entry in folder.iterdir() if entry.is_dir()}
    return roster_of(photos, named)


def roster_of(photos: Iterable[RosterPhoto], named: Iterable[SubjectId] = ()) -> SyncRoster:
    """A roster of the given photographs; ``named`` are people who may have none."""
    people = set(named)
    readable: dict[tuple[SubjectId, str], Photograph] = {}
    unreadable = []
    for photo in photos:
        people.add(photo.subject)
        try:
            digest = Image.open(photo.path).digest()
        except ImageError as error:
            unreadable.append(UnreadablePhotograph(photo.subject, str(photo.path), str(error)))
            continue
        readable.setdefault(
            (photo.subject, digest), Photograph(photo.subject, str(photo.path), digest)
        )
    return SyncRoster(frozenset(people), tuple(readable.values()), tuple(unreadable))
