"""`rekadapter survey`: what cameras give of a face, before any system is chosen."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rekadapter import __version__
from rekadapter.cli.jobs import stopping_at_ctrl_c
from rekadapter.cli.options import AsJson
from rekadapter.cli.output import print_json, print_table, remark
from rekadapter.cli.runs import Duration, Feeds, Fps, seconds_of
from rekadapter.cli.session import Session
from rekadapter.evaluation.survey_results import (
    SURVEY_FILE,
    SurveyCamera,
    SurveyResult,
    write_survey,
)
from rekadapter.feeds import load_feeds, open_feed
from rekadapter.gate import DetectingFinder, TrackGate
from rekadapter.planning import FaceLog
from rekadapter.planning import survey as survey_feeds

_COLUMNS = (
    "camera", "picture", "frames/s", "people", "faces/h", "eyes px p10/p50", "px/m",
    "alerts", "investigation", "detection",
)  # fmt: skip


def survey(
    context: typer.Context,
    feeds: Feeds,
    fps: Fps = None,
    duration: Duration = None,
    out: Annotated[Path, typer.Option("--out", help="Where the survey is written.")] = Path(
        SURVEY_FILE
    ),
    as_json: AsJson = False,
) -> None:
    """Look at cameras with the local detector: which are good enough for what; nothing is sent."""
    session: Session = context.obj
    opened = [open_feed(spec) for spec in load_feeds(feeds, fps=fps)]
    seconds = seconds_of(duration) if duration else None
    log, stop = FaceLog(), threading.Event()
    with session.backend("local") as local, stopping_at_ctrl_c(stop):
        gate = TrackGate(DetectingFinder(local.recognizer))
        remark("looking at the feeds; nothing is sent")
        seen = survey_feeds(opened, gate, duration_seconds=seconds, stop=stop, watch=log.watch)
        detector = local.recognizer.capabilities.model
    result = SurveyResult(
        tool_version=__version__,
        surveyed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        detector=detector,
        cameras=tuple(map(log.result, seen)),
    )
    write_survey(out, result)
    if as_json:
        print_json(result)
    else:
        _show(result.cameras)
    remark(f"survey: {out}")


def _show(cameras: Sequence[SurveyCamera]) -> None:
    print_table("Cameras, by proposed limits", _COLUMNS, map(_row, cameras))
    for camera in cameras:
        if camera.why_not_enough:
            remark(f"{camera.id}: too little to rely on: {camera.why_not_enough}")
        for verdict in camera.verdicts:
            if verdict.why:
                remark(f"{camera.id}, {verdict.use}: {verdict.result} ({verdict.why})")
            if verdict.advice:
                remark(f"{camera.id}, {verdict.use}: {verdict.advice}")
    sources = {check.what: check.source for camera in cameras for check in camera.checks}
    for what, source in sources.items():
        remark(f"limit of {what}: {source}")


def _row(camera: SurveyCamera) -> tuple[object, ...]:
    eyes = (camera.eye_px_p10, camera.eye_px_p50)
    return (
        camera.id,
        _picture(camera),
        _number(camera.frames_per_second, ".1f"),
        camera.people,
        _number(camera.faces_per_hour, ",.0f"),
        "/".join(_number(one, ".0f") for one in eyes),
        _number(camera.px_per_meter, ".0f"),
        *(verdict.result for verdict in camera.verdicts),
    )


def _picture(camera: SurveyCamera) -> str:
    size = f"{camera.width}x{camera.height}" if camera.width else "-"
    stream = camera.stream
    return f"{size} {stream.codec}, {stream.kbps:,.0f} kbit/s" if stream else size


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
