"""A survey's verdicts on cameras, and the gate and page that read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import run
from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.decision_page import evaluation_html
from rekadapter.evaluation.feed_inputs import FeedInputs
from rekadapter.evaluation.feed_report import Kept, feed_report
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.survey_results import (
    ALERTS,
    DETECTION,
    INVESTIGATION,
    SurveyCamera,
    SurveyResult,
    read_survey,
    survey_in,
    write_survey,
)
from rekadapter.feeds import FeedSpec, open_feed
from rekadapter.feeds.frames import Frame
from rekadapter.feeds.metering import Coded
from rekadapter.gate import DetectingFinder, Look, TrackGate
from rekadapter.gate.probe import Followed
from rekadapter.imaging import Image
from rekadapter.planning import FaceLog, SurveyedCamera, survey
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.testing.runs import START, RunBuilder, Transit
from rekadapter.types import BoundingBox, CameraId, DetectedFace, FaceQuality, Pose, Size

LOBBY = CameraId("lobby")


def surveyed(seconds: float = 100.0, people: int = 12, frames: int = 2501) -> SurveyedCamera:
    return SurveyedCamera(LOBBY, seconds, frames, {}, people, people, {}, 0, 0, 3.0, 500, 9.0)


def camera(
    *,
    eyes: float,
    people: int = 12,
    pose: Pose | None = None,
    quality: FaceQuality | None = None,
    frames: int = 2501,
) -> SurveyCamera:
    """A camera on which everybody is seen three times with so many pixels between the eyes."""
    log, size = FaceLog(), Size(1920, 1080)
    image = Image.from_pixels(picture(size=size).pixels)
    side = 2.5 * eyes
    box = BoundingBox(0.1, 0.1, side / size.width, side / size.height)
    for number in range(3):
        faces = tuple(
            Followed(track, DetectedFace(box, 99.0, None, pose, quality, eyes + number))
            for track in range(people)
        )
        frame = Frame(LOBBY, number, float(number), START, image)
        log.watch(frame, Look(followed=faces))
    return log.result(surveyed(people=people, frames=frames))


def results(one: SurveyCamera) -> dict[str, str]:
    return {verdict.use: verdict.result for verdict in one.verdicts}


@pytest.mark.parametrize(
    ("eyes", "alerts", "investigation", "detection"),
    [
        (12.0, "unfit", "unfit", "unfit"),
        (18.0, "unfit", "unfit", "fit"),
        (31.0, "marginal", "fit", "fit"),
        (30.0, "unfit", "marginal", "fit"),
        (59.0, "fit", "fit", "fit"),
    ],
)
def test_pixels_between_the_eyes_decide_what_a_camera_is_good_for(
    eyes: float, alerts: str, investigation: str, detection: str
) -> None:
    found = camera(eyes=eyes)
    assert found.eye_px_p50 == eyes + 1
    assert found.best_eye_px_p50 == eyes + 2
    # at 18 px no face is 50 px wide, which AWS asks for a search
    assert results(found) == {ALERTS: alerts, INVESTIGATION: investigation, DETECTION: detection}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"pose": Pose(0.0, 60.0, 0.0)}, "turned"),
        ({"pose": Pose(0.0, 0.0, -40.0)}, "turned"),
        ({"quality": FaceQuality(2.0, 50.0)}, "sharp"),
        ({"quality": FaceQuality(50.0, 3.0)}, "dark"),
        ({"frames": 51}, "frames a second"),
    ],
)
def test_pixels_alone_do_not_make_a_camera_fit(changed: dict[str, object], why: str) -> None:
    found = camera(eyes=80.0, **changed)  # type: ignore[arg-type]
    assert found.verdict(ALERTS).result == "unfit"
    assert why in found.verdict(ALERTS).why
    assert found.verdict(DETECTION).result == "fit"


def test_what_a_detector_does_not_tell_is_not_held_against_a_camera() -> None:
    found = camera(eyes=80.0)
    assert "not known" in {check.result for check in found.checks}
    assert found.verdict(ALERTS).result == "fit"


def test_a_camera_with_too_few_pixels_is_told_what_would_give_them() -> None:
    """19 px between the eyes in a picture 1920 px wide: 302 px/m, so the view is 6.4 m wide."""
    advice = camera(eyes=18.0).verdict(INVESTIGATION).advice
    assert "gives 302 px/m and 508 are needed: bring it to 59% of the distance" in advice
    assert "from 6.4 m to 3.8 m" in advice
    assert advice.endswith("a 4K picture would do")
    assert camera(eyes=18.0).verdict(ALERTS).advice.endswith("a 4K picture alone gives 603 px/m")
    assert camera(eyes=18.0).verdict(DETECTION).advice == ""


def test_a_camera_with_pixels_enough_is_told_nothing_about_them() -> None:
    assert camera(eyes=80.0).verdict(ALERTS).advice == ""
    assert FaceLog().result(surveyed(people=0)).verdict(ALERTS).advice == ""


def test_a_stream_s_rates_are_those_of_what_came() -> None:
    coded = Coded("h264", 12_500_000, 2500)
    found = FaceLog().result(replace(surveyed(), coded=coded)).stream
    assert found is not None
    assert (found.codec, found.kbps, found.frames_per_second) == ("h264", 1000.0, 25.0)
    short = replace(surveyed(seconds=9.0), coded=coded)
    assert FaceLog().result(short).stream is None
    assert FaceLog().result(surveyed()).stream is None


def test_every_limit_names_its_source() -> None:
    for check in camera(eyes=30.0).checks:
        assert check.source
        assert check.fit > check.marginal


def test_a_camera_that_nobody_passed_is_not_known() -> None:
    found = FaceLog().result(surveyed(people=0))
    assert set(results(found).values()) == {"not known"}
    assert not found.enough


def test_less_than_a_minute_gives_no_rate_by_the_hour() -> None:
    assert FaceLog().result(surveyed(seconds=59)).people_per_hour is None
    assert FaceLog().result(surveyed(seconds=60)).people_per_hour == 720


def test_a_survey_sees_each_person_and_every_face_of_a_clip(tmp_path: Path) -> None:
    frames = [
        picture(
            DrawnFace("ann", 20 + 2 * n, 20, 90),
            DrawnFace("eve", 400 - 2 * n, 20, 90),
            size=Size(640, 360),
        )
        for n in range(30)
    ]
    clip = write_clip(tmp_path / "lobby.mp4", even(frames, fps=10))
    log = FaceLog()
    gate = TrackGate(DetectingFinder(MemoryRecognizer()))
    (seen,) = survey([open_feed(FeedSpec(LOBBY, str(clip)))], gate, watch=log.watch)
    found = log.result(seen)
    assert (found.people, found.width, found.height) == (2, 640, 360)
    assert found.faces == 2 * found.looks
    assert found.frames_per_second == pytest.approx(10)
    assert found.verdict(DETECTION).result == "fit"
    assert "2 people passed" in found.why_not_enough
    assert seen.coded is not None
    assert (seen.coded.codec, seen.coded.pictures) == ("h264", 30)
    assert 0 < seen.coded.payload_bytes < clip.stat().st_size


# --- gate, page, command --------------------------------------------------------------------------


def a_survey(*cameras: SurveyCamera) -> SurveyResult:
    return SurveyResult(
        tool_version="test",
        surveyed_at="2026-03-14T09:26:53+00:00",
        detector="a test's",
        cameras=cameras,
    )


def report_with(found: SurveyResult | None, mode: str = "identification") -> EvaluationReport:
    builder = RunBuilder(cameras={"lobby": 100})
    for name in ("local", "rekognition"):
        builder.transit(name, Transit("lobby", 10, 30, "ann", listed=True))
    rules = Rules.model_validate({"mode": mode})
    return feed_report(builder.build(), Kept(FeedInputs(rules=rules), "0" * 64, found))


def gate_of(report: EvaluationReport) -> tuple[str, str]:
    (one, _) = [one for one in report.verdicts if one.gate == "cameras"]
    return one.result, one.why


@pytest.mark.parametrize(
    ("found", "mode", "result", "why"),
    [
        (camera(eyes=80.0), "identification", "pass", "none unfit"),
        (camera(eyes=40.0), "identification", "pass", "marginal: lobby"),
        (camera(eyes=20.0), "identification", "fail", "below 32"),
        (camera(eyes=22.0), "investigation", "pass", "marginal: lobby"),
        (camera(eyes=80.0, people=3), "identification", "not enough evidence", "3 people passed"),
        (camera(eyes=10.0, people=3), "identification", "fail", "below 32"),
        (
            camera(eyes=80.0).model_copy(update={"id": "yard"}),
            "identification",
            "not enough evidence",
            "not surveyed: lobby",
        ),
    ],
)
def test_the_gate_of_cameras_reads_the_survey(
    found: SurveyCamera, mode: str, result: str, why: str
) -> None:
    told, because = gate_of(report_with(a_survey(found), mode))
    assert told == result
    assert why in because


def test_cameras_that_were_surveyed_and_not_tested_do_not_count() -> None:
    other = camera(eyes=10.0).model_copy(update={"id": "yard"})
    assert gate_of(report_with(a_survey(camera(eyes=80.0), other)))[0] == "pass"


def test_without_a_survey_the_faces_of_the_run_decide() -> None:
    assert gate_of(report_with(None)) == ("fail", "too few pixels a face: lobby")


def test_the_page_shows_the_survey_with_the_source_of_each_limit() -> None:
    page = evaluation_html(report_with(a_survey(camera(eyes=40.0))))
    assert "Survey of the cameras" in page
    assert "AWS developer guide: yaw below 45 degrees" in page
    assert "report.json: survey.cameras" in page
    assert "Survey of the cameras" not in evaluation_html(report_with(None))


def test_a_survey_reads_back_and_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "survey.json"
    written = a_survey(camera(eyes=40.0))
    write_survey(path, written)
    assert read_survey(path) == written
    path.write_text('{"cameras": []}', encoding="utf-8")
    with pytest.raises(UsageError, match="is no survey"):
        read_survey(path)
    with pytest.raises(OutputError):
        survey_in(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_survey(tmp_path / "missing.json")


def test_a_survey_given_afterwards_stays_with_the_run(tmp_path: Path) -> None:
    builder = RunBuilder(cameras={"lobby": 100})
    builder.write(tmp_path / "run")
    write_survey(tmp_path / "s.json", a_survey(camera(eyes=80.0)))
    assert run(["report", str(tmp_path / "run"), "--survey", str(tmp_path / "s.json")]) == 0
    (tmp_path / "s.json").unlink()
    assert run(["report", str(tmp_path / "run")]) == 0
    report = EvaluationReport.model_validate_json((tmp_path / "run" / "report.json").read_bytes())
    assert report.survey is not None
    assert gate_of(report)[0] == "pass"


def test_the_command_writes_the_survey_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "yard.mp4", even([picture(size=Size(320, 240))] * 3, fps=10))
    out = tmp_path / "survey.json"
    assert run(["survey", str(clip), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "yard" in shown.out
    assert "no face was seen" in shown.err
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["cameras"][0]["verdicts"][0]["result"] == "not known"
