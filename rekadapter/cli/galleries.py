"""Commands on galleries: enroll, and gallery list|show|create|delete|faces|remove."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from rekadapter.cli.options import AsJson, BackendName, BackendNames, GalleryName
from rekadapter.cli.output import print_json, print_table, remark
from rekadapter.cli.session import Session
from rekadapter.cli.sync import sync
from rekadapter.errors import UsageError
from rekadapter.names import gallery_id
from rekadapter.recognizer import QualityFilter
from rekadapter.roster import EnrollOptions, RosterEnrollment, enroll_roster, read_roster
from rekadapter.types import EnrolledFace, FaceId, GalleryDescription, SubjectId

FAILED = 1

gallery_app = typer.Typer(help="Create, list, show and delete galleries.", no_args_is_help=True)
gallery_app.command()(sync)

GalleryArgument = Annotated[str, typer.Argument(help="The gallery's name.", show_default=False)]


def enroll(
    context: typer.Context,
    roster: Annotated[Path, typer.Argument(help="A folder per subject, or one image.")],
    gallery: GalleryName = None,
    backend: BackendNames = None,
    subject: Annotated[str | None, typer.Option(help="Whom the image shows.")] = None,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="Every face of a photo, not only the best one.")
    ] = False,
    quality: Annotated[
        QualityFilter, typer.Option(help="How strictly poor faces are left out.")
    ] = QualityFilter.AUTO,
    as_json: AsJson = False,
) -> None:
    """Put the people of a roster into a gallery (exit code 1: somebody has no face in it)."""
    session: Session = context.obj
    chosen = session.gallery(gallery)
    photos = read_roster(roster, subject)
    options = EnrollOptions(max_faces=None if all_faces else 1, quality=quality)
    names: list[str | None] = [*backend] if backend else [None]
    done = []
    for name in names:
        with session.backend(name) as opened:
            bar = track(
                photos, f"enrolling in {opened.name}", console=Console(stderr=True), transient=True
            )
            done.append(enroll_roster(opened.name, opened.recognizer, chosen, bar, options))
    if as_json:
        print_json(done)
    else:
        _show_enrollments(done)
    if any(enrollment.failed_subjects for enrollment in done):
        raise typer.Exit(FAILED)


def _show_enrollments(done: list[RosterEnrollment]) -> None:
    rows = [
        (
            enrollment.backend,
            len({photo.subject for photo in enrollment.photos}),
            len(enrollment.photos),
            sum(photo.enrolled for photo in enrollment.photos),
            ", ".join(enrollment.failed_subjects) or "-",
        )
        for enrollment in done
    ]
    columns = ("backend", "subjects", "photos", "faces enrolled", "failed to enroll")
    print_table(f"gallery {done[0].gallery}", columns, rows)
    for enrollment in done:
        for photo in enrollment.photos:
            if photo.reasons:
                left_out = ", ".join(sorted(set(photo.reasons)))
                remark(f"{enrollment.backend}: {photo.path}: left out: {left_out}")


@gallery_app.command("list")
def list_galleries(
    context: typer.Context, backend: BackendName = None, as_json: AsJson = False
) -> None:
    """Every gallery of a backend."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        found = [opened.recognizer.describe_gallery(g) for g in opened.recognizer.galleries()]
    if as_json:
        print_json(found)
    else:
        _show_galleries(f"galleries of {opened.name}", found)


@gallery_app.command("show")
def show_gallery(
    context: typer.Context,
    gallery: GalleryArgument,
    backend: BackendName = None,
    as_json: AsJson = False,
) -> None:
    """What one gallery holds."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        found = opened.recognizer.describe_gallery(gallery_id(gallery))
    if as_json:
        print_json(found)
    else:
        _show_galleries(f"gallery of {opened.name}", [found])


@gallery_app.command("create")
def create_gallery(
    context: typer.Context,
    gallery: GalleryArgument,
    backend: BackendName = None,
    as_json: AsJson = False,
) -> None:
    """Make an empty gallery."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        made = opened.recognizer.create_gallery(gallery_id(gallery))
    if as_json:
        print_json(made)
    else:
        _show_galleries(f"created in {opened.name}", [made])


@gallery_app.command("delete")
def delete_gallery(
    context: typer.Context,
    gallery: GalleryArgument,
    backend: BackendName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a gallery and every face in it."""
    if not yes and not sys.stdin.isatty():
        raise UsageError("nobody is there to ask: give --yes to delete without asking")
    session: Session = context.obj
    with session.backend(backend) as opened:
        held = opened.recognizer.describe_gallery(gallery_id(gallery))
        if not yes:
            typer.confirm(
                f"Delete gallery {gallery} of {opened.name} with {held.face_count} faces?",
                abort=True,
                err=True,
            )
        opened.recognizer.delete_gallery(held.gallery)
    remark(f"deleted {gallery} ({held.face_count} faces) from {opened.name}")


@gallery_app.command("faces")
def list_faces(
    context: typer.Context,
    gallery: GalleryArgument,
    backend: BackendName = None,
    as_json: AsJson = False,
) -> None:
    """Every face enrolled in a gallery."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        found = list(opened.recognizer.faces(gallery_id(gallery)))
    if as_json:
        print_json(found)
        return
    rows = [(face.subject or "-", face.face_id, f"{face.confidence:.1f} %") for face in found]
    print_table(f"{len(found)} faces in {gallery}", ("subject", "face", "confidence"), rows)


@gallery_app.command("remove")
def remove_faces(
    context: typer.Context,
    gallery: GalleryArgument,
    faces: Annotated[list[str] | None, typer.Argument(help="Face ids.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Every face of this subject instead of face ids.")
    ] = None,
    backend: BackendName = None,
    as_json: AsJson = False,
) -> None:
    """Take faces out of a gallery (exit code 1: one of them was not there, or stays)."""
    if bool(faces) == bool(subject):
        raise UsageError("name face ids, or --subject NAME, and not both")
    session: Session = context.obj
    with session.backend(backend) as opened:
        ids = [FaceId(face) for face in faces or []]
        if subject:
            ids = _faces_of(opened.recognizer.faces(gallery_id(gallery)), SubjectId(subject))
        removal = opened.recognizer.remove(gallery_id(gallery), ids)
    if as_json:
        print_json(removal)
    else:
        remark(f"removed {len(removal.removed)} faces from {gallery} of {opened.name}")
    if removal.not_found or not ids:
        remark(f"not in the gallery: {', '.join(removal.not_found) or subject}")
    if removal.kept:
        kept = ", ".join(f"{face.face_id} (user {face.user})" for face in removal.kept)
        remark(f"still in the gallery, because a user has them: {kept}")
    if removal.not_found or removal.kept or not ids:
        raise typer.Exit(FAILED)


def _faces_of(faces: Iterator[EnrolledFace], subject: SubjectId) -> list[FaceId]:
    return [face.face_id for face in faces if face.subject == subject]


def _show_galleries(title: str, found: list[GalleryDescription]) -> None:
    rows = [
        (
            gallery.gallery,
            gallery.face_count,
            gallery.model,
            gallery.created_at.isoformat(timespec="seconds") if gallery.created_at else "-",
        )
        for gallery in found
    ]
    print_table(title, ("gallery", "faces", "model", "created"), rows)
