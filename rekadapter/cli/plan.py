"""``rekadapter plan``: how many cameras on this link, at what price a month, and what is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from rekadapter.backends.rekognition.prices import PriceList
from rekadapter.cli.jobs import stopping_at_ctrl_c
from rekadapter.cli.options import (
    AsJson,
    BackendName,
    Thresholds,
    ThresholdsFrom,
    ThresholdTarget,
    number,
)
from rekadapter.cli.output import print_json, print_table, remark, threshold_words
from rekadapter.cli.runs import seconds_of
from rekadapter.cli.session import OpenBackend, Session
from rekadapter.cli.thresholds import ThresholdRequest
from rekadapter.errors import OutputError, UsageError
from rekadapter.feeds import load_feeds, open_feed
from rekadapter.feeds.frames import MAX_FPS
from rekadapter.gate import DetectingFinder, GateRules, TrackGate
from rekadapter.planning import (
    LinkPlan,
    LinkRequest,
    LinkRow,
    Measurement,
    MeasureOptions,
    Sending,
    SurveyedCamera,
    Traffic,
    bytes_plot,
    measure,
    plan_link,
    survey,
)
from rekadapter.planning.measuring import calls_needed
from rekadapter.uplink.bucket import parse_rate

_COLUMNS: Final = (
    "backend", "sent", "kbit/s a camera", "cameras on link", "wait s",
    "images a month", "USD a month", "what is lost",
)  # fmt: skip
_FREE_CALLS: Final = 1000
"""Searches of a remote backend that a measurement makes without being asked for more."""

Feeds = Annotated[
    list[str] | None,
    typer.Argument(help="Videos or a feeds.toml to look at; nothing is sent.", show_default=False),
]
Cameras = Annotated[
    int | None,
    number("--cameras", low=1, high=100_000, about="How many. [4, or as many as feeds]"),
]
People = Annotated[
    float | None,
    number("--people-per-hour", low=0, high=1e6, about="Past each camera. [60]"),
]


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """What ``plan --json`` prints: the feeds looked at, if any, and a plan for each backend."""

    cameras: tuple[SurveyedCamera, ...]
    rekognition: LinkPlan
    local: LinkPlan
    region: str


@dataclass(frozen=True, slots=True)
class _Question:
    cameras: int
    traffic: Traffic
    sending: Sending
    uplink: float | None
    region: str

    def answered(self, surveyed: Sequence[SurveyedCamera] = ()) -> PlanAnswer:
        return PlanAnswer(
            cameras=tuple(surveyed),
            rekognition=plan_link(self._request(remote=True)),
            local=plan_link(self._request(remote=False)),
            region=self.region,
        )

    def _request(self, *, remote: bool) -> LinkRequest:
        return LinkRequest(
            cameras=self.cameras,
            traffic=self.traffic,
            sending=self.sending,
            uplink_bytes_per_second=self.uplink,
            price=_price(self.region),
            remote=remote,
        )


def plan(
    context: typer.Context,
    feeds: Feeds = None,
    cameras: Cameras = None,
    people_per_hour: People = None,
    seconds_in_view: Annotated[
        float, number("--seconds-in-view", low=0, high=86_400, about="Of each person.")
    ] = 4.0,
    hours: Annotated[
        float, number("--hours", low=0.1, high=24, about="Busy hours of a day.")
    ] = 12.0,
    uplink: Annotated[
        str | None, typer.Option("--uplink", help="What the link gives, such as 2Mbit/s.")
    ] = None,
    shots: Annotated[
        float, number("--shots", low=0, high=10_000, about="Pictures sent of a person.")
    ] = 2.0,
    shot_kb: Annotated[
        float, number("--shot-kb", low=0.1, high=5000, about="kB of such a picture.")
    ] = 3.6,
    fps: Annotated[
        float, number("--fps", low=0.01, high=MAX_FPS, about="Whole frames a second, to compare.")
    ] = 1.0,
    frame_kb: Annotated[
        float, number("--frame-kb", low=1, high=15_000, about="kB of a whole frame.")
    ] = 250.0,
    region: Annotated[str, typer.Option(help="AWS region, for the price.")] = "us-east-1",
    duration: Annotated[
        str | None, typer.Option("--duration", help="How much of each feed, such as 60s or 5m.")
    ] = None,
    measure_on: Annotated[
        Path | None,
        typer.Option("--measure", help="A folder per subject: identification against bytes."),
    ] = None,
    backend: BackendName = None,
    threshold: Thresholds = None,
    threshold_from: ThresholdsFrom = None,
    target_fpir: ThresholdTarget = None,
    max_calls: Annotated[
        int,
        number(
            "--max-calls",
            low=1,
            high=10_000_000,
            about="Most searches --measure makes of a remote backend.",
        ),
    ] = _FREE_CALLS,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where --measure leaves its plot (SVG).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How many cameras an uplink carries, at what price a month, and what is lost."""
    session: Session = context.obj
    if measure_on is not None:
        thresholds = ThresholdRequest.of("photographs", threshold, threshold_from, target_fpir)
        with session.backend(backend, thresholds=thresholds) as opened:
            measurement = _measured(session, opened, measure_on, max_calls)
        _show_measurement(measurement, out, as_json=as_json)
        return
    seconds = seconds_of(duration) if duration else None
    rate = uplink or session.settings.uplink
    question = _Question(
        cameras=cameras or (4 if not feeds else len(load_feeds(feeds, fps=None))),
        traffic=Traffic(
            60.0 if people_per_hour is None else people_per_hour, seconds_in_view, hours
        ),
        sending=Sending(1000 * shot_kb, shots, 1000 * frame_kb, fps),
        uplink=parse_rate(rate) if rate else None,
        region=region,
    )
    if not feeds:
        answer = question.answered()
    else:
        surveyed = _surveyed(session, feeds, seconds)
        answer = _from_feeds(question, surveyed, people_per_hour).answered(surveyed)
    _show_plan(answer, as_json=as_json)


def _price(region: str) -> Callable[[int], float | None]:
    found = PriceList.load().price_of("SearchFacesByImage", region)
    return lambda images: None if found is None else found.total_usd(images)


# --- feeds --------------------------------------------------------------------------------------


def _surveyed(
    session: Session, feeds: list[str], duration: float | None
) -> tuple[SurveyedCamera, ...]:
    opened = [open_feed(spec) for spec in load_feeds(feeds, fps=None)]
    stop = threading.Event()
    with session.backend("local") as local, stopping_at_ctrl_c(stop):
        gate = TrackGate(DetectingFinder(local.recognizer))
        remark("looking at the feeds; nothing is sent")
        return survey(opened, gate, duration_seconds=duration, stop=stop)


def _from_feeds(
    asked: _Question, surveyed: Sequence[SurveyedCamera], people_per_hour: float | None
) -> _Question:
    """The question with what the feeds showed in the place of what was assumed."""
    people = sum(camera.asked for camera in surveyed)
    shots = sum(camera.shots for camera in surveyed)
    hours = sum(camera.seconds for camera in surveyed) / 3600
    if not shots or not hours:
        raise UsageError("nobody worth sending was seen in the feeds: give numbers instead")
    seen = sum(camera.seconds_in_view * camera.asked for camera in surveyed) / people
    return _Question(
        cameras=asked.cameras,
        traffic=Traffic(
            people_per_hour=people / hours if people_per_hour is None else people_per_hour,
            seconds_in_view=seen,
            hours_per_day=asked.traffic.hours_per_day,
        ),
        sending=Sending(
            shot_bytes=sum(camera.shot_bytes for camera in surveyed) / shots,
            shots_per_person=shots / people,
            frame_bytes=asked.sending.frame_bytes,
            frames_per_second=asked.sending.frames_per_second,
        ),
        uplink=asked.uplink,
        region=asked.region,
    )


def _show_plan(answer: PlanAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    if answer.cameras:
        _show_survey(answer.cameras)
    rows = [("rekognition", *_row(row)) for row in answer.rekognition.rows]
    rows += [("local", *_row(row, unpriced="hardware")) for row in answer.local.rows]
    print_table(f"{answer.rekognition.cameras} cameras", _COLUMNS, rows)
    for line in (*answer.rekognition.assumptions, *answer.local.assumptions):
        remark(f"assumed: {line}")
    if answer.rekognition.rows[0].monthly_usd is None:
        remark(f"the price in {answer.region} is not known: give another --region")


def _row(row: LinkRow, unpriced: str = "not known") -> tuple[str, ...]:
    unbounded = "no bound" if row.cameras_on_link is None else str(row.cameras_on_link)
    return (
        row.mode,
        f"{row.bits_per_second_a_camera / 1000:,.1f}",
        unbounded,
        "never ends" if row.wait_seconds is None else f"{row.wait_seconds:.2f}",
        f"{row.searches_per_month:,}",
        unpriced if row.monthly_usd is None else f"{row.monthly_usd:,.0f}",
        row.lost,
    )


def _show_survey(cameras: Sequence[SurveyedCamera]) -> None:
    rows = [
        (
            camera.camera,
            f"{camera.seconds:.1f}",
            camera.frames,
            f"{camera.asked} of {camera.tracks}",
            ", ".join(f"{count} {reason}" for reason, count in camera.unasked.items()) or "-",
            camera.shots,
            f"{camera.shot_bytes / 1000:.1f}",
            f"{1000 * camera.look_seconds / camera.looks:.0f}" if camera.looks else "-",
        )
        for camera in cameras
    ]
    columns = ("camera", "seconds", "frames", "people asked about", "the others", "shots", "kB",
               "ms a look here")  # fmt: skip
    print_table("what the gate would send", columns, rows)
    looks = sum(camera.looks for camera in cameras)
    seconds = sum(camera.look_seconds for camera in cameras)
    rate = GateRules().looks_per_second
    if looks and rate:
        remark(
            f"finding faces took {1000 * seconds / looks:.0f} ms a look: at {rate:g} looks a "
            f"second this machine watches {looks / seconds / rate:.1f} cameras in which something "
            "always moves"
        )


# --- measuring ----------------------------------------------------------------------------------


def _measured(session: Session, opened: OpenBackend, dataset: Path, max_calls: int) -> Measurement:
    options = MeasureOptions()
    remote = opened.recognizer.capabilities.remote
    if remote and (calls := calls_needed(dataset, options)) > max_calls:
        raise UsageError(
            f"measuring on {dataset} takes up to {calls:,} searches of {opened.name}, which are "
            f"charged: allow them with --max-calls {calls}, or give fewer photographs"
        )
    with (
        session.backend("local") as local,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("searching")

        def show(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        finder = DetectingFinder(local.recognizer)
        measured = measure(opened.recognizer, opened.threshold, finder, dataset, options, show)
        return replace(measured, threshold_origin=opened.threshold_origin)


def _show_measurement(measurement: Measurement, out: Path | None, *, as_json: bool) -> None:
    plot = bytes_plot(measurement)
    if out is not None and plot is not None:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(plot + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{out} cannot be written: {error.strerror}") from error
        remark(f"plot: {out}")
    if as_json:
        print_json(measurement)
        return
    rows = [
        (
            f"{cell.eye_px:g}",
            cell.quality,
            f"{cell.identified} of {cell.probes}",
            f"{100 * cell.low:.0f} to {100 * cell.high:.0f}",
            cell.misidentified,
            f"{cell.median_bytes:,}",
        )
        for cell in measurement.cells
    ]
    columns = ("eyes px", "JPEG quality", "identified", "95 % between", "as another", "bytes")
    title = (
        f"{measurement.backend} ({measurement.model}), threshold {measurement.threshold:.6g}, "
        f"{measurement.subjects} subjects, {measurement.probes} photographs"
    )
    print_table(title, columns, rows)
    remark(threshold_words(measurement.threshold, measurement.threshold_origin))
    for line in measurement.left_out:
        remark(f"left out: {line}")
    best = measurement.recommended
    if best is None:
        remark("nobody was identified at any size: check the photographs and the threshold")
    else:
        remark(
            f"enough: {best.eye_px:g} px between the eyes at quality {best.quality}, "
            f"{best.median_bytes:,} bytes, {100 * best.rate:.0f} % identified; "
            f"below {best.min_eye_px:g} px not worth sending"
        )
