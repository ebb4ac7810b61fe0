"""A run from start to finished directory, as the commands make it."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import jobs
from rekadapter.cli.runs import seconds_of
from rekadapter.cli.session import OpenBackend
from rekadapter.errors import FeedError, GalleryNotFoundError, UsageError
from rekadapter.feeds import FeedSpec
from rekadapter.imaging import encode_jpeg
from rekadapter.pipeline import RunOptions
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import CameraId, GalleryId, SubjectId

GALLERY = GalleryId("staff")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of ann, of a stranger, and of nobody, as one camera."""
    camera = tmp_path / "door"
    camera.mkdir()
    pictures = [
        picture(DrawnFace("ann", 100, 100, 200)),
        picture(DrawnFace("stranger", 200, 100, 160)),
        picture(),
    ]
    for number, image in enumerate(pictures):
        (camera / f"{number}.jpg").write_bytes(encode_jpeg(image, 90))
    (camera / "3.jpg").write_text("not a picture")
    return camera


def backend(name: str) -> OpenBackend:
    recognizer = MemoryRecognizer()
    recognizer.create_gallery(GALLERY)
    recognizer.enroll(GALLERY, portrait("ann"), subject=SubjectId("ann"))
    return OpenBackend(name, recognizer, recognizer.capabilities.default_threshold)


def request(source: Path, out: Path) -> jobs.RunRequest:
    spec = FeedSpec(CameraId("door"), str(source))
    return jobs.RunRequest((spec,), GALLERY, out, "rekadapter run door", RunOptions())


def test_a_run_leaves_numbers_that_add_up_and_a_page(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    uplink = jobs.Uplink.capped_at(None)
    result = jobs.run_opened([backend("a"), backend("b")], uplink, request(folder, out))
    assert result.summary.doubts == ()
    for row in result.summary.rows:
        assert row.people.subjects == ("ann",)
        assert row.people.unknown_tracks == 1
        assert (row.frames.captured, row.frames.processed) == (4, 3)
        assert row.frames.dropped == {"unreadable_image": 1}
        assert row.frames.unaccounted == 0
    assert "ann" in (out / "feeds.html").read_text(encoding="utf-8")
    assert "Decision page" in result.report.read_text(encoding="utf-8")
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "finished"
    assert len(record["input_hashes"]["door"]) == 64


def test_a_missing_gallery_is_said_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    empty = MemoryRecognizer()
    opened = OpenBackend("a", empty, empty.capabilities.default_threshold)
    with pytest.raises(GalleryNotFoundError, match=r"^a: .*staff"):
        jobs.run_opened([opened], jobs.Uplink.capped_at(None), request(folder, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_missing_camera_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"gone\.mp4"):
        jobs.run_opened(
            [backend("a")],
            jobs.Uplink.capped_at(None),
            request(tmp_path / "gone.mp4", tmp_path / "run"),
        )
    assert not (tmp_path / "run").exists()


def test_ctrl_c_ends_in_order_and_is_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = threading.Event()
    with jobs.stopping_at_ctrl_c(stop):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_password_in_a_url_is_not_recorded() -> None:
    shown = jobs.shown_command(["run", "rtsp://me:secret@10.0.0.2/1", "--gallery", "G"])
    assert "secret" not in shown
    assert "rtsp://10.0.0.2/1" in shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60.0), ("60s", 60.0), ("1.5m", 90.0), ("2 h", 7200.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-1s", "1d", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        seconds_of(text)
