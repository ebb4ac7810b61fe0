"""A roster of people on disk, and how it gets into a gallery.

A person whose photographs give no face is a failure to enroll: counted and named, never skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rekadapter.errors import ImageError, UsageError
from rekadapter.imaging import IMAGE_SUFFIXES, Image
from rekadapter.recognizer import QualityFilter, Recognizer
from rekadapter.types import GalleryId, SubjectId


@dataclass(frozen=True, slots=True)
class RosterPhoto:
    """A photograph and whom it shows."""

    subject: SubjectId
    path: Path


@dataclass(frozen=True, slots=True)
class EnrolledPhoto:
    """What became of one photograph; ``reasons`` says why faces of it were left out."""

    subject: SubjectId
    path: str
    enrolled: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RosterEnrollment:
    """A roster in one backend's gallery."""

    backend: str
    gallery: GalleryId
    photos: tuple[EnrolledPhoto, ...]

    @property
    def failed_subjects(self) -> tuple[SubjectId, ...]:
        """Failure to enroll: people of the roster without a single face in the gallery."""
        have = {photo.subject for photo in self.photos if photo.enrolled}
        return tuple(sorted({photo.subject for photo in self.photos} - have))


@dataclass(frozen=True, slots=True)
class EnrollOptions:
    """``max_faces`` a photograph (None: all of them), and how strictly poor faces are left out."""

    max_faces: int | None = 1
    quality: QualityFilter = QualityFilter.AUTO


def read_roster(roster: Path, subject: str | None = None) -> tuple[RosterPhoto, ...]:
    """The photographs of a roster: a folder per subject, or one image (or folder) and its subject.

    Raises:
        UsageError: there is nothing to enroll, or it is not said whom the image shows.
    """
    if roster.is_file():
        if not subject:
            raise UsageError(f"say whom {roster} shows: --subject NAME")
        return (RosterPhoto(SubjectId(subject), roster),)
    if not roster.is_dir():
        raise UsageError(f"{roster} is neither a folder nor an image")
    if subject:
        photos = tuple(RosterPhoto(SubjectId(subject), path) for path in _images(roster))
    else:
        folders = (entry for entry in sorted(roster.iterdir()) if entry.is_dir())
        photos = tuple(
            RosterPhoto(SubjectId(folder.name), path)
            for folder in folders
            for path in _images(folder)
        )
    for photo in photos:
        _refuse_undecodable(photo.path)
    if not photos:
        raise UsageError(
            f"{roster} holds no images: make one folder per subject, or --subject NAME"
        )
    return photos


def enroll_roster(
    backend: str,
    recognizer: Recognizer,
    gallery: GalleryId,
    photos: Iterable[RosterPhoto],
    options: EnrollOptions,
) -> RosterEnrollment:
    """Enrolls each photograph; the gallery is made if it is not there.

    A photograph that cannot be read is a failure in the answer and does not stop the others.
    """
    if gallery not in set(recognizer.galleries()):
        recognizer.create_gallery(gallery)
    done = tuple(_enroll_photo(recognizer, gallery, photo, options) for photo in photos)
    return RosterEnrollment(backend, gallery, done)


def _refuse_undecodable(path: Path) -> None:
    """A name that is not text would fail halfway through, when part of the roster is paid for."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise UsageError(f"{shown}: the name is not valid text: rename it") from error


def _enroll_photo(
    recognizer: Recognizer, gallery: GalleryId, photo: RosterPhoto, options: EnrollOptions
) -> EnrolledPhoto:
    try:
        answer = recognizer.enroll(
            gallery,
            Image.open(photo.path),
            subject=photo.subject,
            max_faces=options.max_faces,
            quality=options.quality,
        )
    except ImageError as error:
        return EnrolledPhoto(photo.subject, str(photo.path), 0, (str(error),))
    reasons = tuple(str(reason) for failure in answer.failures for reason in failure.reasons)
    return EnrolledPhoto(photo.subject, str(photo.path), len(answer.records), reasons)


def _images(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
