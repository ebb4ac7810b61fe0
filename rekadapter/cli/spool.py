"""Commands on what waited for an uplink when a run ended: spool show|drain."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli import jobs
from rekadapter.cli.feed_reports import GIVEN_FILES, Beforehand, RunResult, keep_inputs, written_up
from rekadapter.cli.options import AsJson
from rekadapter.cli.output import print_json, print_table, remark
from rekadapter.cli.pricing import request_price
from rekadapter.cli.runs import MaxUsdPerHour, MaxUsdPerMonth, Out, finish_run
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.standbys import remove_if_empty, spool_folder, standby_of
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.cli.watching import watched
from rekadapter.draining import drain as drain_lane
from rekadapter.draining import feeds_of
from rekadapter.errors import OutputError, RekadapterError, UsageError
from rekadapter.observation import BackendRecord, RunRecord
from rekadapter.pipeline import RunOptions
from rekadapter.recognizer import FaceSelection
from rekadapter.sinks.run_directory import RunDirectory, read_record
from rekadapter.types import GalleryId
from rekadapter.uplink.schedule import AUTO
from rekadapter.uplink.spending import PriceCaps
from rekadapter.uplink.spool import Spool

spool_app = typer.Typer(
    help="Frames that still waited for an uplink when a run ended.", no_args_is_help=True
)

RunDirectoryPath = Annotated[
    Path, typer.Argument(help="Directory of a run with --spool.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits of one camera for one backend."""

    backend: str
    camera: str
    frames: int
    pictures: int


@dataclass(frozen=True, slots=True)
class _Left:
    """The backend at a place of a run's record, of which a spool is there."""

    record: RunRecord
    place: int
    folder: Path

    @property
    def backend(self) -> BackendRecord:
        return self.record.backends[self.place]


@spool_app.command()
def show(run_directory: RunDirectoryPath, as_json: AsJson = False) -> None:
    """Say what waits."""
    rows: list[Waiting] = []
    for left in _left_by(run_directory):
        with Spool(left.folder, math.inf) as spool:
            rows += _waiting(left, spool)
    remove_if_empty(run_directory)
    if as_json:
        print_json(rows)
        return
    if not rows:
        remark(f"nothing waits in {run_directory}")
        return
    cells = [(row.backend, row.camera, row.frames, row.pictures) for row in rows]
    print_table("waiting for an uplink", ("backend", "camera", "frames", "pictures"), cells)


@spool_app.command()
def drain(
    context: typer.Context,
    run_directory: RunDirectoryPath,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="Which of the run's, where two wait.")
    ] = None,
    uplink: Annotated[
        str | None, typer.Option("--uplink", help="Cap of the uplink; without it the run's own.")
    ] = None,
    out: Out = None,
    max_usd_per_hour: MaxUsdPerHour = None,
    max_usd_per_month: MaxUsdPerMonth = None,
    as_json: AsJson = False,
) -> None:
    """Ask about what waits, the newest first, into a run directory of its own."""
    session: Session = context.obj
    left = _chosen(run_directory, backend)
    request = replace(
        _request(left, out or jobs.new_run_directory(Path("runs"))),
        uplink=uplink or _text(left, "uplink") or AUTO,
        caps=PriceCaps(max_usd_per_hour, max_usd_per_month),
    )
    result = _drained(session, left, request)
    remove_if_empty(run_directory)
    finish_run(result, spool_of=run_directory, as_json=as_json)


def _drained(session: Session, left: _Left, request: jobs.RunRequest) -> RunResult:
    named = left.backend
    uplink = jobs.Uplink.capped_at(request.uplink)
    with ExitStack() as stack:
        budget = stack.enter_context(jobs.price_budget(session.settings, request.caps))
        opened = stack.enter_context(
            session.backend(
                named.name,
                thresholds=ThresholdRequest("feeds", values=(f"{named.threshold!r}",)),
                context=jobs.remote_context(session.settings, uplink, budget),
            )
        )
        _refuse_another(opened, named)
        opened = replace(opened, origin=named.threshold_origin)
        opened.recognizer.describe_gallery(request.gallery)
        spool = stack.enter_context(Spool(left.folder, math.inf))
        _say_price(session, opened, spool)
        lane = jobs.lane_of(opened, request, standby_of(spool, uplink.reachable))
        record = _record(left, jobs.record_of([opened], request))
        directory = RunDirectory.create(request.out, record, uplink.ledger)
        given = Beforehand(price_lists=jobs.price_lists(session.settings, [opened]))
        keep_inputs(request.out, given, [opened], feeds_of(spool))
        directory.given(*GIVEN_FILES)
        try:
            with (
                jobs.stopping_at_ctrl_c(uplink.stop),
                watched(uplink.ledger, uplink.pacer) as progress,
            ):
                drain_lane(lane, directory, request.options, stop=uplink.stop, progress=progress)
        except RekadapterError:
            with suppress(OutputError, UsageError):
                written_up(request.out)
            raise
        return written_up(request.out)


def _say_price(session: Session, opened: OpenBackend, spool: Spool) -> None:
    pictures = sum(ticket.pictures for ticket in spool.survey())
    if not pictures:
        return
    of = request_price(
        session.settings.backend_named(opened.name), opened.recognizer, "SearchFacesByImage"
    )
    total = of(pictures)
    price = "the price is not known" if total is None else f"with one search each ${total:.2f}"
    remark(f"{opened.name}: {pictures} pictures wait; {price}")


def _waiting(left: _Left, spool: Spool) -> Iterator[Waiting]:
    frames: Counter[str] = Counter()
    pictures: Counter[str] = Counter()
    for ticket in spool.survey():
        frames[ticket.camera] += 1
        pictures[ticket.camera] += ticket.pictures
    for camera in sorted(frames):
        yield Waiting(left.backend.name, camera, frames[camera], pictures[camera])


def _left_by(run_directory: Path) -> list[_Left]:
    record = read_record(run_directory)
    places = range(len(record.backends))
    found = [_Left(record, place, spool_folder(run_directory, place)) for place in places]
    return [left for left in found if left.folder.is_dir()]


def _chosen(run_directory: Path, backend: str | None) -> _Left:
    found = _left_by(run_directory)
    fitting = [left for left in found if backend in {None, left.backend.name}]
    if not fitting:
        raise UsageError(f"nothing waits in {run_directory}: there is nothing to drain")
    if len(fitting) > 1:
        names = ", ".join(left.backend.name for left in fitting)
        raise UsageError(f"frames wait for {names}: name one with --backend")
    return fitting[0]


def _request(left: _Left, out: Path) -> jobs.RunRequest:
    """As the run asked, as far as it matters for pictures that are made already."""
    settings = left.record.settings
    limit, frame_bytes = settings.get("limit"), settings.get("frame_bytes")
    return jobs.RunRequest(
        feeds=(),
        gallery=GalleryId(left.record.gallery),
        out=out,
        command=jobs.shown_command(sys.argv[1:]),
        options=RunOptions(
            limit=limit if isinstance(limit, int) else RunOptions().limit,
            faces=FaceSelection(_text(left, "faces") or FaceSelection.ALL),
            keep_faces=settings.get("keep_faces") is True,
        ),
        frame_bytes=frame_bytes if isinstance(frame_bytes, int) else jobs.FRAME_BYTES,
        notes=(
            f"These are late answers: pictures that waited for the uplink when run "
            f"{left.record.run_id} ended. Nothing of them stands in that run's own report.",
        ),
    )


def _record(left: _Left, record: RunRecord) -> RunRecord:
    mode = {f"mode of {left.backend.name}": _text(left, f"mode of {left.backend.name}")}
    settings = {**record.settings, **mode, "spool of run": left.record.run_id}
    return replace(record, settings=settings)


def _refuse_another(opened: OpenBackend, named: BackendRecord) -> None:
    """What a run began another system must not finish: their scores cannot be compared."""
    now = opened.recognizer.capabilities
    if (now.backend, now.model) != (named.kind, named.model):
        raise UsageError(
            f"the run asked {named.kind} {named.model} as '{named.name}', which is now "
            f"{now.backend} {now.model}: put the settings back"
        )


def _text(left: _Left, setting: str) -> str | None:
    value = left.record.settings.get(setting)
    return value if isinstance(value, str) else None
