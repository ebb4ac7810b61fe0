"""What a sync would do, before anything is done: pure comparison of two galleries and a roster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rekadapter.errors import UsageError
from rekadapter.gallery_sync.notes import Note, Notes
from rekadapter.gallery_sync.people import Photograph, SyncRoster, UnreadablePhotograph
from rekadapter.recognizer import Recognizer
from rekadapter.roster import EnrollOptions
from rekadapter.types import EnrolledFace, FaceId, GalleryId, SubjectId

EnrollPrice = Callable[[int], float | None]
"""What enrolling so many photographs costs in USD; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two backends, and what enrolling there costs."""

    name: str
    recognizer: Recognizer
    price: EnrollPrice


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """``delete`` takes out who is not in the roster. ``retry_failed`` enrolls photographs again
    that gave no face before; without it they are not paid for twice."""

    enroll: EnrollOptions = field(default_factory=EnrollOptions)
    delete: bool = False
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class FacesOf:
    """Faces of one subject in one gallery; None: enrolled without a subject."""

    subject: SubjectId | None
    face_ids: tuple[FaceId, ...]


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A photograph that gave no face when it was tried with the same model and options."""

    photograph: Photograph
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SidePlan:
    """What is to be done in one backend.

    ``unexplained`` are faces of people of the roster that come from no photograph noted so far:
    perhaps from one still to be enrolled, perhaps from one that is no longer at hand. With
    ``delete`` those in ``delete_unless_explained`` go once all photographs of that subject are
    enrolled and none of them was the face's. ``estimated_usd`` is for ``enroll``; None: not known.
    """

    backend: str
    model: str | None
    create_gallery: bool
    enroll: tuple[Photograph, ...]
    present: tuple[Photograph, ...]
    failed_before: tuple[KnownFailure, ...]
    unexplained: tuple[FacesOf, ...]
    delete: tuple[FacesOf, ...]
    delete_unless_explained: tuple[FacesOf, ...]
    estimated_usd: float | None

    @property
    def is_empty(self) -> bool:
        return not (
            self.create_gallery or self.enroll or self.delete or self.delete_unless_explained
        )

    @property
    def faces_to_delete(self) -> int:
        """At most: faces that turn out to be of the roster's photographs stay."""
        return sum(len(one.face_ids) for one in (*self.delete, *self.delete_unless_explained))


@dataclass(frozen=True, slots=True)
class CannotMove:
    """Somebody of whom no photograph is at hand, and how many faces each gallery has of them."""

    subject: SubjectId | None
    faces: tuple[int, int]

    @property
    def is_missing_somewhere(self) -> bool:
        return 0 in self.faces


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Both sides, in the order they were named, and what cannot be done for either."""

    gallery: GalleryId
    sides: tuple[SidePlan, SidePlan]
    in_both: tuple[Photograph, ...]
    cannot_move: tuple[CannotMove, ...]
    unreadable: tuple[UnreadablePhotograph, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing would be changed; there may still be people who cannot move."""
        return all(side.is_empty for side in self.sides)

    @property
    def estimated_usd(self) -> float | None:
        """Of both sides; None where one is not known."""
        prices = [side.estimated_usd for side in self.sides]
        known = [price for price in prices if price is not None]
        return sum(known) if len(known) == len(prices) else None


def plan_sync(
    sides: tuple[Side, Side],
    gallery: GalleryId,
    roster: SyncRoster,
    notes: Notes,
    options: SyncOptions,
) -> SyncPlan:
    """Compares; changes nothing. Each backend is asked for its list of faces, which is not billed.

    Raises:
        UsageError: ``delete`` without anybody in the roster would empty both galleries.
        GalleryModelMismatchError: and what else ``Recognizer.faces`` raises.
    """
    if options.delete and not roster.photographs:
        raise UsageError("deleting who is not in the roster needs a roster with photographs")
    held = tuple(_Held.of(side.recognizer, gallery) for side in sides)
    planned = tuple(
        _planned(side, one, roster, notes, options) for side, one in zip(sides, held, strict=True)
    )
    first, second = planned
    elsewhere = set(second.present)
    return SyncPlan(
        gallery=gallery,
        sides=(first, second),
        in_both=tuple(photo for photo in first.present if photo in elsewhere),
        cannot_move=_cannot_move(held[0], held[1], roster),
        unreadable=roster.unreadable,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What a gallery holds now; ``model`` None: there is no such gallery yet."""

    model: str | None
    faces: tuple[EnrolledFace, ...] = ()

    @classmethod
    def of(cls, recognizer: Recognizer, gallery: GalleryId) -> _Held:
        if gallery not in set(recognizer.galleries()):
            return cls(None)
        faces = tuple(recognizer.faces(gallery))
        return cls(recognizer.describe_gallery(gallery).model, faces)

    def count(self, subject: SubjectId | None) -> int:
        return sum(face.subject == subject for face in self.faces)


def _planned(
    side: Side, held: _Held, roster: SyncRoster, notes: Notes, options: SyncOptions
) -> SidePlan:
    sorting = _Sorting(held, options)
    for photo in roster.photographs:
        sorting.sort(photo, notes.of(side.name, photo.subject, photo.digest))
    unfinished = {failure.photograph.subject for failure in sorting.failed}
    unfinished |= {photo.subject for photo in roster.unreadable}
    unfinished |= roster.people - {photo.subject for photo in roster.photographs}
    strangers, unexplained = _others(held, roster, sorting.explained)
    doomed = [one for one in unexplained if one.subject not in unfinished]
    return SidePlan(
        backend=side.name,
        model=held.model,
        create_gallery=held.model is None and bool(roster.people),
        enroll=tuple(sorting.enroll),
        present=tuple(sorting.present),
        failed_before=tuple(sorting.failed),
        unexplained=tuple(unexplained),
        delete=tuple(strangers) if options.delete else (),
        delete_unless_explained=tuple(doomed) if options.delete else (),
        estimated_usd=side.price(len(sorting.enroll)) if sorting.enroll else 0.0,
    )


class _Sorting:
    """Each photograph is in the gallery, or known not to give a face, or to be enrolled."""

    def __init__(self, held: _Held, options: SyncOptions) -> None:
        self._model = held.model
        self._options = options
        self._listed = {(face.subject, face.face_id) for face in held.faces}
        self.enroll: list[Photograph] = []
        self.present: list[Photograph] = []
        self.failed: list[KnownFailure] = []
        self.explained: set[FaceId] = set()

    def sort(self, photo: Photograph, note: Note | None) -> None:
        if note is None:
            self.enroll.append(photo)
        elif note.face_ids:
            # also those of a photograph that has to be enrolled again, as one of its faces is gone
            here = {one for one in note.face_ids if (photo.subject, one) in self._listed}
            self.explained |= here
            whole = here == set(note.face_ids) and not self._may_give_more(note)
            (self.present if whole else self.enroll).append(photo)
        elif self._would_fail_again(note):
            self.failed.append(KnownFailure(photo, note.reasons))
        else:
            self.enroll.append(photo)

    def _would_fail_again(self, note: Note) -> bool:
        same_model = note.model == self._model
        return same_model and self._asked_alike(note) and not self._options.retry_failed

    def _may_give_more(self, note: Note) -> bool:
        """Faces were left out, by options that are others now."""
        return bool(note.reasons) and not self._asked_alike(note)

    def _asked_alike(self, note: Note) -> bool:
        asked = self._options.enroll
        return (note.max_faces, note.quality) == (asked.max_faces, asked.quality)


def _others(
    held: _Held, roster: SyncRoster, explained: set[FaceId]
) -> tuple[list[FacesOf], list[FacesOf]]:
    """Faces of nobody in the roster, and faces of its people that no photograph explains."""
    strangers = [face for face in held.faces if face.subject not in roster.people]
    unexplained = [
        face
        for face in held.faces
        if face.subject in roster.people and face.face_id not in explained
    ]
    return _by_subject(strangers), _by_subject(unexplained)


def _by_subject(faces: Iterable[EnrolledFace]) -> list[FacesOf]:
    found: dict[SubjectId | None, list[FaceId]] = defaultdict(list)
    for face in faces:
        found[face.subject].append(face.face_id)
    return [FacesOf(subject, tuple(found[subject])) for subject in sorted(found, key=_by_name)]


def _by_name(subject: SubjectId | None) -> tuple[bool, str]:
    return subject is not None, subject or ""


def _cannot_move(first: _Held, second: _Held, roster: SyncRoster) -> tuple[CannotMove, ...]:
    seen: set[SubjectId | None] = {face.subject for face in (*first.faces, *second.faces)}
    pictured = {photo.subject for photo in roster.photographs}
    without = (seen | roster.people) - pictured
    return tuple(
        CannotMove(subject, (first.count(subject), second.count(subject)))
        for subject in sorted(without, key=_by_name)
    )
