"""``rekadapter demo``: everything at once, without an account.

The ``rekognition`` of the demo is the ordinary boto3 backend. It talks HTTP to rekadapter's own
Rekognition-compatible service on loopback, which has a local model behind it; with credentials the
same ``compare`` on the same clips reaches AWS, and nothing in the code knows the difference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from rekadapter.backends import open_backend
from rekadapter.cli import jobs
from rekadapter.cli.feed_reports import Beforehand, show_findings
from rekadapter.cli.nothing import refuse_nothing
from rekadapter.cli.options import AsJson, number
from rekadapter.cli.output import print_json, print_table, remark, show_head
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.summary import show_summary
from rekadapter.evaluation.truth import TransitEntry, Truth
from rekadapter.feeds import FeedSpec
from rekadapter.feeds.frames import MAX_FPS
from rekadapter.names import gallery_id
from rekadapter.pipeline import RunOptions
from rekadapter.recognizer import BackendContext
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.roster import EnrollOptions, RosterEnrollment, enroll_roster, read_roster
from rekadapter.testing.media import DemoScene, make_demo_scene

GALLERY: Final = gallery_id("demo")
_SERVICE_NOTE: Final = (
    "No account was used: 'rekognition' is rekadapter's boto3 backend talking to a service of "
    "rekadapter's own on this machine, compatible with Rekognition, with the embedded model behind "
    "it. Its answers say nothing about AWS's accuracy or speed; its calls, bytes and prices are "
    "those that AWS would see."
)


def demo(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", help="New directory. [rekadapter-demo/TIME]")
    ] = None,
    uplink: Annotated[
        str | None, typer.Option("--uplink", help="Cap of all cameras together, such as 8Mbit/s.")
    ] = None,
    fps: Annotated[
        float, number("--fps", low=0.1, high=MAX_FPS, about="Frames a second to look at.")
    ] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Four made-up cameras through a local model and through Rekognition; no account needed."""
    session: Session = context.obj
    folder = out or jobs.new_run_directory(Path("rekadapter-demo"))
    shared = jobs.Uplink.capped_at(uplink)
    scene = _make_scene(folder / "media")
    with _local(session, folder, "local") as local, _rekognition(session, folder, shared) as cloud:
        _show_roster([_enroll(backend, scene) for backend in (local, cloud)])
        request = jobs.RunRequest(
            feeds=tuple(FeedSpec(clip.camera, str(clip.path), fps=fps) for clip in scene.clips),
            gallery=GALLERY,
            out=folder / "run",
            command=jobs.shown_command(sys.argv[1:]),
            options=RunOptions(keep_faces=True),
            uplink=uplink,
            notes=(*scene.notes, _SERVICE_NOTE),
            given=Beforehand(truth=truth_of(scene)),
        )
        result = jobs.run_opened([local, cloud], shared, request)
    if as_json:
        print_json(result.summary)
    else:
        show_summary(result.summary)
        _show_truth(scene)
        show_findings(result.evaluation)
    remark(f"report: {result.report}")
    show_head(result.head)
    refuse_nothing(result.directory, result.summary)
    remark("with your own cameras: rekadapter compare FEEDS -g GALLERY -b local -b rekognition")


def _make_scene(folder: Path) -> DemoScene:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("drawing four cameras")

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return make_demo_scene(folder, progress=show)


@contextmanager
def _local(session: Session, folder: Path, name: str) -> Iterator[OpenBackend]:
    settings = session.settings
    context = BackendContext(data_dir=folder / name, cache_dir=settings.cache_dir)
    recognizer = open_backend(name, "local", {}, context)
    try:
        yield OpenBackend(name, recognizer, recognizer.capabilities.default_threshold)
    finally:
        recognizer.close()


@contextmanager
def _rekognition(session: Session, folder: Path, uplink: jobs.Uplink) -> Iterator[OpenBackend]:
    with (
        _local(session, folder, "behind-the-service") as behind,
        ServiceServer(create_app(RekognitionService(behind.recognizer))) as server,
    ):
        options = {"endpoint_url": server.url, "unsigned": True, "region": "us-east-1"}
        context = jobs.remote_context(session.settings, uplink)
        recognizer = open_backend("rekognition", "rekognition", options, context)
        try:
            yield OpenBackend("rekognition", recognizer, recognizer.capabilities.default_threshold)
        finally:
            recognizer.close()


def _enroll(backend: OpenBackend, scene: DemoScene) -> RosterEnrollment:
    photos = read_roster(scene.roster)
    return enroll_roster(backend.name, backend.recognizer, GALLERY, photos, EnrollOptions())


def _show_roster(done: list[RosterEnrollment]) -> None:
    for enrollment in done:
        faces = sum(photo.enrolled for photo in enrollment.photos)
        failed = ", ".join(enrollment.failed_subjects) or "nobody"
        remark(f"{enrollment.backend}: {faces} faces enrolled, failed to enroll: {failed}")


def truth_of(scene: DemoScene) -> Truth:
    """Who was drawn where, as a person would write it down."""
    return Truth(
        gallery=tuple(sorted({photo.subject for photo in read_roster(scene.roster)})),
        transits=tuple(
            TransitEntry(
                camera=seen.camera,
                person=seen.person,
                enters=seen.first_seconds,
                leaves=seen.last_seconds,
            )
            for seen in scene.truth
        ),
    )


def _show_truth(scene: DemoScene) -> None:
    rows = [
        (
            seen.camera,
            seen.person,
            "yes" if seen.enrolled else "no",
            f"{seen.first_seconds:.0f} to {seen.last_seconds:.0f} s",
            f"{seen.min_eye_distance_px:.0f} to {seen.max_eye_distance_px:.0f}",
        )
        for seen in scene.truth
    ]
    columns = ("camera", "person", "enrolled", "in view", "eyes px")
    print_table("who really was there (the clips are drawn, so this is known)", columns, rows)
