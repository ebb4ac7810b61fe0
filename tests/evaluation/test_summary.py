"""Counts of a run: nothing invented, nothing lost."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekadapter.errors import UsageError
from rekadapter.evaluation.summary import (
    CameraFitness,
    Summary,
    SummaryRow,
    eyes_px,
    percentile,
    summarize,
    write_summary,
)
from rekadapter.evaluation.wording import left_in_bucket
from rekadapter.observation import EyeCount
from rekadapter.testing.runs import RunBuilder, Transit, local_backend, remote_backend
from rekadapter.types import Reason


def row(summary: Summary, camera: str, backend: str) -> SummaryRow:
    (found,) = [r for r in summary.rows if (r.camera, r.backend) == (camera, backend)]
    return found


def test_every_camera_and_backend_has_a_row_in_the_order_of_the_run() -> None:
    summary = summarize(RunBuilder().build())
    assert [(r.camera, r.backend) for r in summary.rows] == [
        ("lobby", "local"),
        ("lobby", "rekognition"),
        ("gate", "local"),
        ("gate", "rekognition"),
    ]


def test_frames_are_captured_processed_or_dropped_by_cause() -> None:
    run = RunBuilder()
    run.drop("rekognition", "lobby", range(10, 40), "uplink full")
    run.drop("rekognition", "lobby", range(40, 45), "too old")
    run.fail("rekognition", "lobby", range(50, 53))
    frames = row(summarize(run.build()), "lobby", "rekognition").frames
    assert frames.captured == 100
    assert frames.processed == 62
    assert frames.dropped == {"request_failed": 3, "too old": 5, "uplink full": 30}
    assert frames.unaccounted == 0
    assert (frames.answered, frames.failed) == (62, 3)


def test_tracks_are_counted_by_decision_and_reason() -> None:
    run = RunBuilder()
    run.transit("local", Transit("lobby", 0, 9, subject="zoe"))
    run.transit("local", Transit("lobby", 20, 29, subject="ann"))
    run.transit("local", Transit("lobby", 40, 49, subject="ann"))
    run.transit("local", Transit("lobby", 60, 64, reason=Reason.FACE_TOO_SMALL, score=None))
    run.transit("local", Transit("lobby", 70, 74))
    people = row(summarize(run.build()), "lobby", "local").people
    assert people.faces == 40
    assert (people.tracks, people.identified_tracks, people.unknown_tracks) == (5, 3, 2)
    assert people.subjects == ("ann", "zoe")
    assert people.unknown_by_reason == {Reason.BELOW_THRESHOLD: 1, Reason.FACE_TOO_SMALL: 1}


def test_a_subject_on_two_cameras_counts_once_in_the_total() -> None:
    run = RunBuilder()
    run.transit("local", Transit("lobby", 0, 9, subject="ann"))
    run.transit("local", Transit("gate", 0, 9, subject="ann"))
    total = next(t for t in summarize(run.build()).totals if t.backend == "local")
    assert total.people.subjects == ("ann",)
    assert total.people.identified_tracks == 2


def test_nothing_to_measure_is_none_and_not_zero() -> None:
    run = RunBuilder(cameras={"lobby": 0})
    found = row(summarize(run.build()), "lobby", "local")
    assert (found.latency.frames, found.latency.p50_ms, found.latency.p95_ms) == (0, None, None)
    assert found.traffic.price_usd is None
    assert summarize(run.build()).cameras[0].eye_distances == ()


def test_failed_frames_are_counted_and_their_latency_is_not() -> None:
    run = RunBuilder()
    run.fail("local", "lobby", range(90))
    found = row(summarize(run.build()), "lobby", "local")
    assert found.latency.frames == 10
    assert found.frames.failed == 90


def test_a_frame_with_several_faces_has_one_latency() -> None:
    run = RunBuilder(cameras={"lobby": 1})
    for left in (0.1, 0.5, 0.8):
        run.transit("local", Transit("lobby", 0, 0, left=left))
    assert row(summarize(run.build()), "lobby", "local").latency.frames == 1


def test_prices_are_summed_where_known_and_counted_where_not() -> None:
    run = RunBuilder()
    for price in (0.001, 0.001, None):
        run.request("rekognition", "lobby", price_usd=price)
    run.request("rekognition", "lobby", outcome="no_face")
    run.request("rekognition", "lobby", outcome="ThrottlingException", price_usd=None)
    run.request("rekognition", None, operation="IndexFaces")
    summary = summarize(run.build())
    traffic = row(summary, "lobby", "rekognition").traffic
    assert traffic.price_usd == pytest.approx(0.003)
    assert traffic.unpriced_requests == 2
    assert (traffic.requests, traffic.failed_requests) == (5, 1)
    assert traffic.calls == {"SearchFacesByImage": 5}
    assert traffic.bytes_sent == 100_000
    total = next(t for t in summary.totals if t.backend == "rekognition")
    assert total.housekeeping.calls == {"IndexFaces": 1}
    assert total.traffic == traffic


def test_images_that_were_put_and_not_deleted_are_counted_and_told() -> None:
    builder = RunBuilder(backends=(remote_backend(),), cameras={"lobby": 1})
    for outcome in ("ok", "ok", "ok", "AccessDenied"):
        builder.request("rekognition", "lobby", operation="PutObject", outcome=outcome)
    for outcome in ("ok", "AccessDenied"):
        builder.request("rekognition", "lobby", operation="DeleteObject", outcome=outcome)
    summary = summarize(builder.build())
    assert summary.totals[0].traffic.left_in_bucket == 2
    assert "at least 2 pictures of people in the bucket" in left_in_bucket(summary.totals[0])


def test_eye_distances_say_what_the_camera_is_fit_for() -> None:
    run = RunBuilder()
    run.transit("local", Transit("lobby", 0, 9, eyes_px=10))
    run.transit("local", Transit("lobby", 20, 49, eyes_px=24))
    (eyes,) = summarize(run.build()).cameras[0].eye_distances
    assert (eyes.backend, eyes.faces) == ("local", 40)
    assert (eyes.p10_px, eyes.median_px, eyes.p90_px) == (10, 24, 24)
    assert eyes.share_under_16_px == 0.25
    assert eyes.fitness is CameraFitness.INVESTIGATION_ONLY


def test_a_camera_is_not_better_by_what_was_not_sent() -> None:
    """Chosen pictures are the largest: the eyes count of all they were chosen from."""
    builder = RunBuilder(backends=(remote_backend(),), cameras={"lobby": 100})
    builder.transit("rekognition", Transit("lobby", 0, 9, eyes_px=40))
    run = builder.build()
    seen = (EyeCount(8.5, 90), EyeCount(40.0, 10))
    (camera,) = run.record.cameras
    camera = replace(camera, eyes_seen={"rekognition": seen})
    run = replace(run, record=replace(run.record, cameras=(camera,)))
    (eyes,) = summarize(run).cameras[0].eye_distances
    assert (eyes.faces, eyes.median_px, eyes.p90_px) == (100, 8.5, 8.5)
    assert eyes.fitness is CameraFitness.UNFIT
    assert eyes_px(camera, "local", run.observations)[0] == 40  # no choice was made for it


@pytest.mark.parametrize(
    ("median_px", "fitness"),
    [
        (15.9, CameraFitness.UNFIT),
        (16.0, CameraFitness.INVESTIGATION_ONLY),
        (31.9, CameraFitness.INVESTIGATION_ONLY),
        (32.0, CameraFitness.USABLE_VERIFY),
        (60.0, CameraFitness.USABLE_VERIFY),
        (60.1, CameraFitness.GOOD),
    ],
)
def test_fitness_changes_at_the_proposed_lines(median_px: float, fitness: CameraFitness) -> None:
    assert CameraFitness.of(median_px) is fitness


def test_a_killed_run_has_lines_but_no_frame_counts(tmp_path: Path) -> None:
    run = RunBuilder(state="running")
    run.transit("local", Transit("lobby", 0, 9, subject="ann"))
    run.write(tmp_path / "run")
    found = row(write_summary(tmp_path / "run"), "lobby", "local")
    assert (found.frames.captured, found.frames.processed, found.frames.dropped) == (None,) * 3
    assert found.frames.answered == 100
    assert found.people.subjects == ("ann",)


def test_the_summary_file_is_the_summary(tmp_path: Path) -> None:
    run = RunBuilder()
    run.transit("local", Transit("lobby", 0, 9, subject='Zoë "<b>"'))
    run.request("rekognition", "lobby")
    run.write(tmp_path / "run")
    summary = write_summary(tmp_path / "run")
    assert summary == summarize(run.build())
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert stored["rows"][0]["people"]["subjects"] == ['Zoë "<b>"']


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_summary(tmp_path)


def test_one_backend_alone_is_summarized() -> None:
    run = RunBuilder(backends=(local_backend(),))
    assert {r.backend for r in summarize(run.build()).rows} == {"local"}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_was_measured_and_covers_its_share(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)
    assert found in values
    below = sum(value <= found for value in values)
    strictly = sum(value < found for value in values)
    assert below >= percent / 100 * len(values) - 1e-9
    assert strictly < math.ceil(percent / 100 * len(values))


def test_a_percentile_outside_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="percentage"):
        percentile([1.0], 0)
