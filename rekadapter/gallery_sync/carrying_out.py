"""Doing what a plan says, so that it can be cut short anywhere and taken up again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rekadapter.errors import (
    GalleryError,
    GalleryExistsError,
    ImageError,
    InvalidImageError,
    InvalidRequestError,
    OutputError,
    RekadapterError,
    SubjectIdError,
)
from rekadapter.gallery_sync.notes import Note, NoteBook
from rekadapter.gallery_sync.people import Photograph
from rekadapter.gallery_sync.plan import FacesOf, Side, SidePlan, SyncOptions, SyncPlan
from rekadapter.imaging import Image
from rekadapter.types import Enrollment, FaceId, GalleryId, Removal, SubjectId

logger = logging.getLogger(__name__)

_FACES_A_REMOVAL: Final = 1000

Progress = Callable[[str, Sequence[Photograph]], Iterable[Photograph]]
"""Passes on the photographs of a backend one by one, and may show how far they are."""


@dataclass(frozen=True, slots=True)
class SyncedPhotograph:
    """A photograph that is in the gallery now; ``left_out`` says why faces of it are not."""

    photograph: Photograph
    face_ids: tuple[FaceId, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedPhotograph:
    """A photograph that put nobody into the gallery, and why."""

    photograph: Photograph
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A face that should have gone and did not."""

    subject: SubjectId | None
    face_id: FaceId
    reason: str


@dataclass(frozen=True, slots=True)
class SideOutcome:
    """What was done in one backend.

    ``stopped`` is the error that ended the work there; ``not_tried`` photographs were left, and
    nothing was deleted then. ``unexplained`` are the faces of the roster's people that still come
    from no photograph of it.
    """

    backend: str
    enrolled: tuple[SyncedPhotograph, ...] = ()
    failed: tuple[FailedPhotograph, ...] = ()
    deleted: tuple[FaceId, ...] = ()
    not_deleted: tuple[NotDeleted, ...] = ()
    unexplained: tuple[FacesOf, ...] = ()
    stopped: str | None = None
    not_tried: int = 0


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """Both sides of a plan carried out."""

    plan: SyncPlan
    sides: tuple[SideOutcome, SideOutcome]

    @property
    def was_stopped(self) -> bool:
        return any(side.stopped is not None for side in self.sides)

    @property
    def is_complete(self) -> bool:
        """Both galleries hold every photograph of the roster, and nobody is in only one of them."""
        left = any(
            side.failed or side.not_deleted or side.stopped is not None for side in self.sides
        )
        known = any(side.failed_before for side in self.plan.sides) or bool(self.plan.unreadable)
        gone = {faces.subject for side in self.plan.sides for faces in side.delete}
        missing = any(
            one.is_missing_somewhere for one in self.plan.cannot_move if one.subject not in gone
        )
        return not (left or known or missing)


def as_they_come(backend: str, photographs: Sequence[Photograph]) -> Iterable[Photograph]:
    """Progress that nobody sees."""
    del backend
    return photographs


def carry_out(
    plan: SyncPlan,
    sides: tuple[Side, Side],
    book: NoteBook,
    options: SyncOptions,
    *,
    progress: Progress = as_they_come,
) -> SyncOutcome:
    """Does what ``plan`` says, one side after the other, noting each answer before the next call.

    A photograph to blame for its failure is listed and does not stop the others; any other error
    stops its side, not the other one.

    Raises:
        OutputError: the notes cannot be written: going on would be paid for twice.
    """
    first, second = (
        _OneSide(side, plan.gallery, book, options).carried_out(planned, progress)
        for side, planned in zip(sides, plan.sides, strict=True)
    )
    return SyncOutcome(plan, (first, second))


@dataclass(slots=True)
class _OneSide:
    side: Side
    gallery: GalleryId
    book: NoteBook
    options: SyncOptions
    enrolled: list[SyncedPhotograph] = field(default_factory=list)
    failed: list[FailedPhotograph] = field(default_factory=list)
    deleted: list[FaceId] = field(default_factory=list)
    not_deleted: list[NotDeleted] = field(default_factory=list)

    def carried_out(self, planned: SidePlan, progress: Progress) -> SideOutcome:
        stopped = None
        try:
            self._do(planned, progress)
        except OutputError:
            raise
        except RekadapterError as error:
            logger.info("the sync of %s stopped: %s", self.side.name, error)
            stopped = str(error)
        return SideOutcome(
            backend=self.side.name,
            enrolled=tuple(self.enrolled),
            failed=tuple(self.failed),
            deleted=tuple(self.deleted),
            not_deleted=tuple(self.not_deleted),
            unexplained=self._still_unexplained(planned.unexplained),
            stopped=stopped,
            not_tried=len(planned.enroll) - len(self.enrolled) - len(self.failed),
        )

    def _do(self, planned: SidePlan, progress: Progress) -> None:
        if planned.create_gallery:
            self._create_gallery()
        if planned.enroll:
            model = self.side.recognizer.describe_gallery(self.gallery).model
            for photo in progress(self.side.name, planned.enroll):
                self._enroll(photo, model)
        unfinished = {failure.photograph.subject for failure in self.failed}
        explained = self._explained()
        for faces in planned.delete:
            self._delete(faces.subject, faces.face_ids)
        for faces in planned.delete_unless_explained:
            if faces.subject not in unfinished:
                left = tuple(one for one in faces.face_ids if one not in explained)
                self._delete(faces.subject, left)

    def _create_gallery(self) -> None:
        try:
            self.side.recognizer.create_gallery(self.gallery)
        except GalleryExistsError:
            logger.info("gallery %s was made by somebody else meanwhile", self.gallery)

    def _enroll(self, photo: Photograph, model: str) -> None:
        try:
            answer = self._ask(photo)
        except (ImageError, SubjectIdError, InvalidRequestError) as error:
            self.failed.append(FailedPhotograph(photo, (str(error),)))
            return
        left_out = tuple(
            dict.fromkeys(str(reason) for failure in answer.failures for reason in failure.reasons)
        )
        face_ids = tuple(record.enrolled.face_id for record in answer.records)
        self.book.write(self._note(photo, model, face_ids, left_out))
        if face_ids:
            self.enrolled.append(SyncedPhotograph(photo, face_ids, left_out))
        else:
            self.failed.append(FailedPhotograph(photo, left_out))

    def _ask(self, photo: Photograph) -> Enrollment:
        image = Image.open(Path(photo.path))
        if image.digest() != photo.digest:
            raise InvalidImageError(f"{photo.path} has changed since it was planned: run it again")
        return self.side.recognizer.enroll(
            self.gallery,
            image,
            subject=photo.subject,
            max_faces=self.options.enroll.max_faces,
            quality=self.options.enroll.quality,
        )

    def _note(
        self,
        photo: Photograph,
        model: str,
        face_ids: tuple[FaceId, ...],
        reasons: tuple[str, ...],
    ) -> Note:
        return Note(
            backend=self.side.name,
            subject=photo.subject,
            photo=photo.digest,
            model=model,
            max_faces=self.options.enroll.max_faces,
            quality=self.options.enroll.quality,
            face_ids=face_ids,
            reasons=reasons,
            noted_at=datetime.now(UTC),
        )

    def _delete(self, subject: SubjectId | None, face_ids: tuple[FaceId, ...]) -> None:
        for start in range(0, len(face_ids), _FACES_A_REMOVAL):
            chunk = face_ids[start : start + _FACES_A_REMOVAL]
            try:
                removal = self.side.recognizer.remove(self.gallery, chunk)
            except GalleryError as error:
                self.not_deleted.extend(NotDeleted(subject, one, str(error)) for one in chunk)
                continue
            self._check(subject, chunk, removal)

    def _check(
        self, subject: SubjectId | None, asked: tuple[FaceId, ...], removal: Removal
    ) -> None:
        """A face that is not there is as good as deleted; one nobody speaks of is not."""
        gone = {*removal.removed, *removal.not_found}
        kept = {
            face.face_id: f"belongs to user {face.user or '(unnamed)'}: disassociate it first"
            for face in removal.kept
        }
        for face_id in asked:
            if face_id in kept or face_id not in gone:
                reason = kept.get(face_id, "the backend did not say what became of it")
                self.not_deleted.append(NotDeleted(subject, face_id, reason))
            else:
                self.deleted.append(face_id)

    def _explained(self) -> set[FaceId]:
        return {face_id for synced in self.enrolled for face_id in synced.face_ids}

    def _still_unexplained(self, before: tuple[FacesOf, ...]) -> tuple[FacesOf, ...]:
        known = self._explained() | set(self.deleted)
        left = (
            FacesOf(faces.subject, tuple(one for one in faces.face_ids if one not in known))
            for faces in before
        )
        return tuple(faces for faces in left if faces.face_ids)
