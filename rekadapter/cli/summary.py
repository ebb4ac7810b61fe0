"""The table that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping

from rekadapter.cli.output import print_table, remark, threshold_words
from rekadapter.evaluation.summary import (
    BackendTotal,
    FrameCounts,
    Latency,
    Summary,
    SummaryRow,
    Traffic,
)
from rekadapter.evaluation.wording import left_in_bucket
from rekadapter.types import SubjectId

_COLUMNS = (
    "camera", "backend", "frames", "faces", "identified", "unknown",
    "p50/p95 ms", "sent kB", "calls", "AWS charges",
)  # fmt: skip


def show_summary(summary: Summary) -> None:
    """A row per camera and backend, then the totals. What was not measured is a dash."""
    for doubt in summary.doubts:
        remark(f"warning: this run is damaged: {doubt}")
    rows = [_row(row.camera, row, row.traffic) for row in summary.rows]
    rows += [_row("all", total, total.traffic) for total in summary.totals]
    damaged = ", DAMAGED: do not rely on these numbers" if summary.doubts else ""
    state = "going on, or killed" if summary.state == "running" else summary.state
    print_table(f"run {state}{damaged}", _COLUMNS, rows)
    for total in summary.totals:
        origin = total.threshold_origin
        remark(f"{total.backend}: {threshold_words(total.threshold, origin)}")
        _say_what_is_missing(total)
        if total.frames.late:
            remark(
                f"{total.backend}: {total.frames.late} frames waited for the uplink and were "
                f"answered late; pictures of them that match: {_matches(total.people.late_matches)}"
            )
    for camera in summary.cameras:
        if camera.interruptions:
            remark(
                f"{camera.camera}: away {camera.interruptions} time(s), "
                f"{camera.away_seconds:g} s together; nobody knows who came by then"
            )
    for total in summary.totals:
        if total.housekeeping.requests:
            rows = [(total.backend, *_traffic(total.housekeeping))]
            columns = ("backend", "sent kB", "calls", "AWS charges")
            print_table("besides the feeds (enrollment and the like)", columns, rows)


def _say_what_is_missing(total: BackendTotal) -> None:
    if total.frames.dropped:
        remark(f"{total.backend}: frames without an answer: {_causes(total.frames.dropped)}")
    if total.traffic.left_in_bucket:
        remark(f"warning: {left_in_bucket(total)}")


def _row(camera: str, row: SummaryRow | BackendTotal, traffic: Traffic) -> tuple[object, ...]:
    return (
        camera,
        row.backend,
        _frames(row.frames),
        row.people.faces,
        ", ".join(row.people.subjects) or "-",
        row.people.unknown_tracks,
        _latency(row.latency),
        *_traffic(traffic),
    )


def _frames(frames: FrameCounts) -> str:
    if frames.captured is None or not frames.dropped:
        return str(frames.answered)
    return f"{frames.processed} of {frames.captured}"


def _matches(late: Mapping[SubjectId, int]) -> str:
    return ", ".join(f"{subject} in {count}" for subject, count in late.items()) or "none"


def _causes(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in dropped.items())


def _latency(latency: Latency) -> str:
    if latency.p50_ms is None or latency.p95_ms is None:
        return "-"
    return f"{latency.p50_ms:.0f}/{latency.p95_ms:.0f}"


def _traffic(traffic: Traffic) -> tuple[str, str, str]:
    if not traffic.requests:
        return ("-", "-", "-")
    calls = str(traffic.requests)
    if traffic.failed_requests:
        calls += f", {traffic.failed_requests} failed"
    price = "unknown" if traffic.price_usd is None else f"${traffic.price_usd:.3f}"
    if traffic.unpriced_requests:
        price += f" + {traffic.unpriced_requests} unpriced"
    return (f"{traffic.bytes_sent / 1000:,.0f}", calls, price)
