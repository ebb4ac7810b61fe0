"""Commands on feeds: run, compare, report."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rekadapter.cli import jobs
from rekadapter.cli.evaluate import LayoutOption, show_again
from rekadapter.cli.failures import FailureRequest, ShowFailures, Unblurred, show_failures
from rekadapter.cli.feed_reports import (
    RulesFile,
    RunResult,
    SurveyFile,
    TruthFile,
    add_to,
    beforehand,
    keep_survey,
    show_findings,
    written_up,
)
from rekadapter.cli.nothing import refuse_nothing
from rekadapter.cli.options import (
    INTERRUPTED,
    MOST_USD,
    AcceptLargerGallery,
    AsJson,
    BackendName,
    BackendNames,
    GalleryName,
    Limit,
    Thresholds,
    ThresholdsFrom,
    ThresholdTarget,
    number,
)
from rekadapter.cli.output import print_json, remark, show_head
from rekadapter.cli.run_metrics import MetricsAddress
from rekadapter.cli.session import Session
from rekadapter.cli.summary import show_summary
from rekadapter.cli.threshold_line import say_how_to_use
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.errors import UsageError
from rekadapter.evaluation.loaders import Layout
from rekadapter.evaluation.record import EVALUATION_FILE
from rekadapter.evaluation.survey_results import SURVEY_FILE, read_survey
from rekadapter.feeds import load_feeds
from rekadapter.feeds.frames import MAX_FPS, MIN_FPS
from rekadapter.pipeline import RunOptions
from rekadapter.sinks.audit_report import note_given
from rekadapter.uplink.spending import PriceCaps
from rekadapter.uplink.spool import SPOOLED, parse_size

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)")
_LONGEST_SECONDS = 366 * 86_400.0
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

Feeds = Annotated[
    list[str],
    typer.Argument(
        help="Videos, images, folders, live cameras (URL or number), or a feeds.toml.",
        show_default=False,
    ),
]
Fps = Annotated[
    float | None,
    number("--fps", low=MIN_FPS, high=MAX_FPS, about="Frames a second to look at, not all."),
]
UplinkRate = Annotated[
    str | None,
    typer.Option("--uplink", help="Cap of all cameras together: 2Mbit/s, by the hour, or auto."),
]
FrameKilobytes = Annotated[
    int,
    number("--frame-kb", low=10, high=5000, about="Largest JPEG of a frame sent, in kB."),
]
Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--mode",
        help="What remote backends are sent: track (the best of each person), crop (each face), "
        "frame; BACKEND=MODE for one. [track]",
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="New directory for the results. [runs/TIME]")
]
Duration = Annotated[
    str | None,
    typer.Option(
        "--duration",
        help="How much of each feed, such as 60s or 5m; a live camera has no other end but Ctrl-C.",
    ),
]
KeepFaces = Annotated[
    bool, typer.Option("--keep-faces", help="Keep a picture of each track for the report.")
]


MaxUsdPerHour = Annotated[
    float | None,
    number(
        "--max-usd-per-hour",
        low=0,
        high=MOST_USD,
        about="Send nothing beyond this price in 60 minutes.",
    ),
]
MaxUsdPerMonth = Annotated[
    float | None,
    number(
        "--max-usd-per-month",
        low=0,
        high=MOST_USD,
        about="The same for a calendar month of all runs.",
    ),
]
SpoolSize = Annotated[
    str | None,
    typer.Option(
        "--spool",
        help="Keep what cannot be sent while the uplink is gone, in so much disk: 500MB.",
    ),
]


Metrics = Annotated[
    str | None,
    typer.Option("--metrics", help="Serve GET /metrics for Prometheus while it runs: HOST:PORT."),
]
MetricsOpen = Annotated[
    bool, typer.Option("--metrics-open", help="Allow an address for it that others reach.")
]


def run(
    context: typer.Context,
    feeds: Feeds,
    gallery: GalleryName = None,
    backend: BackendName = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fpir: ThresholdTarget = None,
    accept_larger_gallery: AcceptLargerGallery = False,
    uplink: UplinkRate = None,
    fps: Fps = None,
    out: Out = None,
    duration: Duration = None,
    limit: Limit = 5,
    frame_kb: FrameKilobytes = 250,
    keep_faces: KeepFaces = False,
    mode: Modes = None,
    max_usd_per_hour: MaxUsdPerHour = None,
    max_usd_per_month: MaxUsdPerMonth = None,
    truth: TruthFile = None,
    rules: RulesFile = None,
    survey: SurveyFile = None,
    spool: SpoolSize = None,
    metrics: Metrics = None,
    metrics_open: MetricsOpen = False,
    as_json: AsJson = False,
) -> None:
    """Run camera feeds through one backend into a run directory with a report."""
    session: Session = context.obj
    request = _request(
        session, feeds, gallery, uplink, fps, out, duration, limit, frame_kb, keep_faces, mode
    )
    request = replace(
        request,
        caps=PriceCaps(max_usd_per_hour, max_usd_per_month),
        metrics=_metrics(metrics, allowed=metrics_open),
        given=beforehand(truth, rules, survey, [spec.camera for spec in request.feeds]),
        spool_bytes=parse_size(spool) if spool else None,
    )
    thresholds = ThresholdRequest.of(
        "feeds", threshold, threshold_from, target_fpir, accept_larger_gallery
    )
    finish_run(jobs.run_named(session, [backend], thresholds, request), as_json=as_json)


def compare(
    context: typer.Context,
    feeds: Feeds,
    gallery: GalleryName = None,
    backend: BackendNames = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fpir: ThresholdTarget = None,
    accept_larger_gallery: AcceptLargerGallery = False,
    uplink: UplinkRate = None,
    fps: Fps = None,
    out: Out = None,
    duration: Duration = None,
    limit: Limit = 5,
    frame_kb: FrameKilobytes = 250,
    keep_faces: KeepFaces = False,
    mode: Modes = None,
    max_usd_per_hour: MaxUsdPerHour = None,
    max_usd_per_month: MaxUsdPerMonth = None,
    truth: TruthFile = None,
    rules: RulesFile = None,
    survey: SurveyFile = None,
    spool: SpoolSize = None,
    metrics: Metrics = None,
    metrics_open: MetricsOpen = False,
    as_json: AsJson = False,
) -> None:
    """Run the same feeds, frame by frame, through two or more backends."""
    session: Session = context.obj
    names = backend or []
    if len(set(names)) < 2:
        raise UsageError("a comparison needs two backends: --backend A --backend B")
    request = _request(
        session, feeds, gallery, uplink, fps, out, duration, limit, frame_kb, keep_faces, mode
    )
    request = replace(
        request,
        caps=PriceCaps(max_usd_per_hour, max_usd_per_month),
        metrics=_metrics(metrics, allowed=metrics_open),
        given=beforehand(truth, rules, survey, [spec.camera for spec in request.feeds]),
        spool_bytes=parse_size(spool) if spool else None,
    )
    thresholds = ThresholdRequest.of(
        "feeds", threshold, threshold_from, target_fpir, accept_larger_gallery
    )
    finish_run(jobs.run_named(session, names, thresholds, request), as_json=as_json)


def report(
    context: typer.Context,
    run_directory: Annotated[Path, typer.Argument(help="What run, compare or evaluate wrote.")],
    truth: TruthFile = None,
    rules: RulesFile = None,
    survey: SurveyFile = None,
    failures: ShowFailures = None,
    layout: LayoutOption = Layout.AUTO,
    unblurred: Unblurred = False,
    as_json: AsJson = False,
) -> None:
    """Count a run or an evaluation again and write its report anew; nothing is asked again."""
    surveyed = read_survey(survey) if survey else None
    gallery = FailureRequest.of(failures, layout, unblurred=unblurred)
    if (run_directory / EVALUATION_FILE).is_file():
        if truth or rules:
            raise UsageError(
                f"{run_directory} is an evaluation of photographs: its truth is the data set, and "
                "its rules are given to `rekadapter evaluate`"
            )
        keep_survey(run_directory, surveyed)
        note_given(run_directory, (SURVEY_FILE,) if surveyed else ())
        evaluated = show_again(run_directory, as_json=as_json)
        if gallery is not None:
            show_failures(context.obj, run_directory, evaluated, gallery)
        return
    if gallery is not None:
        raise UsageError(f"{run_directory} is a run on feeds: it keeps no photographs to show")
    add_to(run_directory, truth, rules, surveyed)
    _show(written_up(run_directory), as_json=as_json)


def seconds_of(duration: str) -> float:
    """Seconds from ``60s``, ``5m``, ``1h`` or a bare number of seconds.

    Raises:
        UsageError: none of these, or no time at all.
    """
    found = _DURATION.fullmatch(duration.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise UsageError(f"{duration!r} is not a duration: write 60s, 5m or 1h")
    if seconds > _LONGEST_SECONDS:
        raise UsageError(f"{duration!r} is longer than a year: leave it out to run to the end")
    return seconds


def _request(
    session: Session,
    feeds: list[str],
    gallery: str | None,
    uplink: str | None,
    fps: float | None,
    out: Path | None,
    duration: str | None,
    limit: int,
    frame_kb: int,
    keep_faces: bool,
    mode: list[str] | None,
) -> jobs.RunRequest:
    return jobs.RunRequest(
        feeds=load_feeds(feeds, fps=fps),
        gallery=session.gallery(gallery),
        out=out or jobs.new_run_directory(Path("runs")),
        command=jobs.shown_command(sys.argv[1:]),
        options=RunOptions(
            limit=limit,
            duration_seconds=seconds_of(duration) if duration else None,
            keep_faces=keep_faces,
        ),
        uplink=uplink or session.settings.uplink,
        frame_bytes=frame_kb * 1000,
        modes=tuple(mode or ()),
    )


def _metrics(address: str | None, *, allowed: bool) -> MetricsAddress | None:
    if address is None:
        if allowed:
            raise UsageError("--metrics-open allows an address: give it by --metrics HOST:PORT")
        return None
    return MetricsAddress.parse(address, open_to_others=allowed)


def finish_run(result: RunResult, *, spool_of: Path | None = None, as_json: bool) -> None:
    """What a run came to and left in the spool (of another run's directory, where it asked about
    that), and its exit code.

    Raises:
        typer.Exit: it was interrupted.
        RekadapterError: it did nothing.
    """
    _show(result, as_json=as_json)
    if result.summary.state == "interrupted":
        remark("the run was interrupted; what was done until then is kept")
    _say_what_waits(result, spool_of or result.directory)
    if result.summary.state == "interrupted":
        raise typer.Exit(INTERRUPTED)
    refuse_nothing(result.directory, result.summary)


def _say_what_waits(result: RunResult, directory: Path) -> None:
    """How many frames wait in the spool of a run's directory, and what to do about it."""
    causes = [total.frames.dropped or {} for total in result.summary.totals]
    if waiting := sum(dropped.get(SPOOLED, 0) for dropped in causes):
        remark(
            f"{waiting} frames wait for the uplink: rekadapter spool drain {directory} asks "
            "about them"
        )


def _show(result: RunResult, *, as_json: bool) -> None:
    """What a run came to, and where it is written."""
    if as_json:
        print_json(result.summary)
    else:
        show_summary(result.summary)
        feeds = result.evaluation.feeds
        reviews = feeds.reviews if feeds else None
        said_of = feeds and (feeds.truth or (reviews and reviews.decisions))
        if len(result.evaluation.systems) > 1 or said_of:
            show_findings(result.evaluation)
        if feeds and feeds.truth:
            say_how_to_use(result.directory)
    remark(f"report: {result.report}")
    show_head(result.head)
