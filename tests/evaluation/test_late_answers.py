"""Answers that came late reach every reader, as late ones, and do not look like damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.cli.nothing import refuse_nothing
from rekadapter.cli.summary import show_summary
from rekadapter.errors import BackendError
from rekadapter.evaluation.report import report_html
from rekadapter.evaluation.summary import Summary, summarize
from rekadapter.evaluation.thumbnails import Thumbnails
from rekadapter.evaluation.track_names import Naming, first_said
from rekadapter.observation import CameraRecord, Observation, Run
from rekadapter.testing.runs import RunBuilder, Transit, remote_backend

LATE_FROM = 12


def late_run() -> Run:
    """Ann crosses the view; what came after the twelfth frame was answered a minute later."""
    builder = RunBuilder(backends=(remote_backend("cloud"),), cameras={"lobby": 20})
    builder.transit("cloud", Transit("lobby", 10, 15, subject="Ann", listed=True))
    builder.request("cloud", "lobby")
    run = builder.build()
    seen = tuple(_late(one) if one.frame >= LATE_FROM else one for one in run.observations)
    return replace(run, observations=seen)


def _late(one: Observation) -> Observation:
    return replace(one, late=True, age_seconds=60.0, latency_seconds=0.25)


def test_frames_answered_late_and_who_matched_are_counted() -> None:
    (total,) = summarize(late_run()).totals
    assert (total.frames.answered, total.frames.late) == (20, 8)
    assert total.people.late_matches == {"Ann": 4}
    (row,) = summarize(late_run()).rows
    assert (row.frames.late, row.people.late_matches) == (8, {"Ann": 4})


def test_the_end_of_a_run_and_its_report_say_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = late_run()
    show_summary(summarize(run))
    assert "8 frames waited for the uplink and were answered late" in capsys.readouterr().err
    page = report_html(run, Thumbnails(tmp_path))
    assert "8 frames waited on disk and system cloud answered for them late" in page
    assert "Ann (4 pictures)" in page
    assert "waited on disk because the uplink was gone" in page


def test_without_any_nothing_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = late_run()
    seen = tuple(replace(one, late=False) for one in run.observations)
    run = replace(run, observations=seen)
    show_summary(summarize(run))
    assert "late" not in capsys.readouterr().err
    assert "waited on disk" not in report_html(run, Thumbnails(tmp_path))


def dropped(run: Run, processed: int, **causes: int) -> Run:
    (camera,) = run.record.cameras
    record: CameraRecord = replace(
        camera, processed={"cloud": processed}, dropped={"cloud": causes}
    )
    return replace(run, record=replace(run.record, cameras=(record,)))


def test_a_part_of_a_frame_that_was_answered_before_the_rest_waited_is_no_damage() -> None:
    run = late_run()
    assert summarize(dropped(run, 18, spooled=1, spool_full=1)).doubts == ()
    assert len(summarize(dropped(run, 18, replaced_by_newer=2)).doubts) == 1
    assert len(summarize(dropped(run, 20, spooled=1)).doubts) >= 1


def test_a_run_that_could_reach_nobody_has_failed() -> None:
    builder = RunBuilder(backends=(remote_backend("cloud"),), cameras={"lobby": 5})
    builder.drop("cloud", "lobby", range(5), "spooled")
    summary: Summary = summarize(builder.build())
    with pytest.raises(BackendError, match=r"nobody could reach cloud.*5 spooled"):
        refuse_nothing(Path("run"), summary)


def naming(run: Run) -> Naming:
    (backend,) = run.record.backends
    return Naming(backend, min_sightings=2)


def test_who_is_named_by_a_late_answer_is_named_when_it_came() -> None:
    run = late_run()
    faces = [one for one in run.observations if one.track is not None]
    assert first_said(faces, "Ann", naming(run)) == pytest.approx(1.1, abs=0.1)
    only_late = [one for one in faces if one.late]
    assert first_said(only_late, "Ann", naming(run)) == pytest.approx(1.3 + 60.0)
    one_in_time = [one for one in faces if one.frame >= LATE_FROM - 1]
    assert first_said(one_in_time, "Ann", naming(run)) == pytest.approx(1.2 + 60.0)
