"""Feeds with their truth through two backends into one report, and the same report again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import jobs, run
from rekadapter.cli.feed_reports import Beforehand, RunResult
from rekadapter.cli.session import OpenBackend
from rekadapter.evaluation.results import EvaluationReport
from rekadapter.evaluation.truth import Truth
from rekadapter.feeds import FeedSpec
from rekadapter.pipeline import RunOptions
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import CameraId, GalleryId, Size, SubjectId

GALLERY = GalleryId("staff")
TRUTH = """role,person,camera,enters,leaves
gallery,ann,,,
transit,ann,door,0,1
transit,eve,door,1.5,3
"""


def clip(folder: Path) -> Path:
    """Ann for a second, nobody for half of one, then Eve, who is not enrolled."""
    size = Size(640, 360)
    ann = [picture(DrawnFace("ann", 40 + 3 * n, 40, 90), size=size) for n in range(10)]
    eve = [picture(DrawnFace("eve", 300 + 3 * n, 90, 90), size=size) for n in range(15)]
    frames = [*ann, *[picture(size=size)] * 5, *eve]
    return write_clip(folder / "door.mp4", even(frames, fps=10))


def compared(folder: Path, truth: Truth | None = None) -> RunResult:
    def opened(name: str) -> OpenBackend:
        recognizer = MemoryRecognizer()
        recognizer.create_gallery(GALLERY)
        recognizer.enroll(GALLERY, portrait("ann"), subject=SubjectId("ann"))
        return OpenBackend(name, recognizer, recognizer.capabilities.default_threshold)

    request = jobs.RunRequest(
        (FeedSpec(CameraId("door"), str(clip(folder))),),
        GALLERY,
        folder / "run",
        "rekadapter compare door.mp4",
        RunOptions(),
        given=Beforehand(truth=truth),
    )
    return jobs.run_opened([opened("a"), opened("b")], jobs.Uplink.capped_at(None), request)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return compared(tmp_path).directory


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH, encoding="utf-8")
    return path


def report_in(directory: Path) -> EvaluationReport:
    return EvaluationReport.model_validate_json((directory / "report.json").read_bytes())


def test_a_comparison_without_truth_ends_in_the_same_form_and_claims_nothing(
    finished: Path,
) -> None:
    report = report_in(finished)
    assert {one.gate: one.result for one in report.verdicts}["accuracy"] == "not enough evidence"
    assert report.feeds is not None
    assert report.feeds.agreement[0].same == report.feeds.agreement[0].comparable == 2
    assert "Decision page" in (finished / "report.html").read_text(encoding="utf-8")


def test_a_truth_given_afterwards_counts_every_transit_and_asks_nothing(
    finished: Path, truth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "observations.jsonl").read_bytes()
    assert run(["report", str(finished), "--truth", str(truth)]) == 0
    shown = capsys.readouterr()
    assert "Transits, at the thresholds in force" in shown.out
    assert shown.err.count("no threshold to use: ") == 2, "one absent person chooses none"
    feeds = report_in(finished).feeds
    assert feeds is not None
    for row in feeds.transits:
        assert (row.mated, row.identified, row.nonmated, row.nonmated_named) == (1, 1, 1, 0)
    for said in feeds.alerts:
        assert said.false_alerts == 0
        assert said.p50_seconds is not None
        assert said.p50_seconds < 1
    assert (finished / "observations.jsonl").read_bytes() == before


def test_the_same_directory_gives_the_same_bytes(finished: Path, truth: Path) -> None:
    run(["report", str(finished), "--truth", str(truth)])
    first = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    for name in ("report.json", "report.html", "feeds.html", "summary.json"):
        (finished / name).unlink()
    assert run(["report", str(finished)]) == 0
    assert {p.name: p.read_bytes() for p in finished.iterdir() if p.is_file()} == first


def test_rules_given_afterwards_move_the_gates(finished: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('name = "Door"\n[governance]\npurpose = "find <lost> dogs"\n', "utf-8")
    assert run(["report", str(finished), "--rules", str(rules)]) == 0
    assert report_in(finished).protocol.name == "Door"
    assert "find &lt;lost&gt; dogs" in (finished / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("role,person,camera,enters,leaves\ngallery,bob,,,\ntransit,bob,door,0,1\n", "'ann'"),
        ("role,person,camera,enters,leaves\ngallery,ann,,,\ntransit,ann,attic,0,1\n", "attic"),
        ("who,when\nann,0\n", "needs the columns"),
    ],
)
def test_a_truth_that_does_not_fit_is_a_usage_error(
    finished: Path, truth: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    truth.write_text(text, encoding="utf-8")
    assert run(["report", str(finished), "--truth", str(truth)]) == 2
    assert said in capsys.readouterr().err
    assert run(["report", str(finished)]) == 0  # it was not kept


def test_a_wrong_truth_is_said_before_anything_is_run(
    tmp_path: Path, truth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feed = clip(tmp_path)
    feed.rename(tmp_path / "yard.mp4")
    command = ["compare", str(tmp_path / "yard.mp4"), "--gallery", "g", "--truth", str(truth)]
    out = tmp_path / "out"
    assert run([*command, "-b", "memory", "-b", "local", "--out", str(out)]) == 2
    assert "no camera of the run is called door" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_of_an_older_version_without_inputs_is_still_reported(finished: Path) -> None:
    (finished / "comparison.json").unlink()
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    for camera in record["cameras"]:
        del camera["seconds"]
    (finished / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert run(["report", str(finished)]) == 0
    feeds = report_in(finished).feeds
    assert feeds is not None
    assert feeds.cameras[0].seconds is None


def test_damaged_inputs_are_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "comparison.json").write_text("{", encoding="utf-8")
    assert run(["report", str(finished)]) != 0
    assert "comparison.json cannot be read" in capsys.readouterr().err
