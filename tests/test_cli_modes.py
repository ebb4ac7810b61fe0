"""``--mode`` and ``plan`` on the command line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import jobs
from rekadapter.cli.app import app
from rekadapter.cli.modes import Mode, gate_of, mode_of
from rekadapter.cli.session import OpenBackend
from rekadapter.errors import UsageError
from rekadapter.feeds import FeedSpec
from rekadapter.gate import GateRules
from rekadapter.imaging import encode_jpeg
from rekadapter.pipeline import RunOptions
from rekadapter.recognizer import Capabilities
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import CameraId, GalleryId, Size, SubjectId

GALLERY = GalleryId("staff")


@pytest.mark.parametrize(
    ("flags", "remote", "mode"),
    [
        ((), True, Mode.TRACK),
        ((), False, Mode.FRAME),
        (("crop",), True, Mode.CROP),
        (("crop",), False, Mode.FRAME),
        (("cloud=frame",), True, Mode.FRAME),
        (("cloud=track",), False, Mode.TRACK),
        (("other=frame",), True, Mode.TRACK),
        (("frame", "cloud=crop"), True, Mode.CROP),
    ],
)
def test_a_bare_mode_is_for_what_is_sent_away_and_a_named_one_for_its_backend(
    *, flags: tuple[str, ...], remote: bool, mode: Mode
) -> None:
    assert mode_of("cloud", flags, remote=remote) is mode


def test_an_unknown_mode_and_a_missing_detector_are_told() -> None:
    with pytest.raises(UsageError, match="'best' is not a mode: frame, crop, track"):
        mode_of("cloud", ("best",), remote=True)
    with pytest.raises(UsageError, match="use --mode frame"):
        gate_of(Mode.TRACK, None, GateRules())


class Remote(MemoryRecognizer):
    """A memory backend that says it is far away."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, remote=True, min_image_side_px=80)


def opened(recognizer: MemoryRecognizer, name: str) -> OpenBackend:
    recognizer.create_gallery(GALLERY)
    recognizer.enroll(GALLERY, portrait("ann"), subject=SubjectId("ann"))
    return OpenBackend(name, recognizer, recognizer.capabilities.default_threshold)


def test_what_goes_away_is_tracks_and_what_stays_is_whole_frames(tmp_path: Path) -> None:
    frames = [
        picture(DrawnFace("ann", 40 + 3 * n, 40, 60 + 2 * n), size=Size(640, 360))
        for n in range(30)
    ]
    clip = write_clip(tmp_path / "door.mp4", even(frames, fps=10))
    request = jobs.RunRequest(
        (FeedSpec(CameraId("door"), str(clip)),), GALLERY, tmp_path / "run", "", RunOptions()
    )
    backends = [opened(MemoryRecognizer(), "local"), opened(Remote(), "cloud")]
    result = jobs.run_opened(backends, jobs.Uplink.capped_at("2Mbit/s"), request)
    local, cloud = result.summary.rows
    assert local.people.subjects == cloud.people.subjects == ("ann",)
    assert (local.frames.processed, local.frames.dropped) == (30, {})
    assert cloud.frames.processed is not None
    assert 1 <= cloud.frames.processed <= 3
    assert cloud.frames.unaccounted == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["mode of local"] == "frame"
    assert record["settings"]["mode of cloud"] == "track"


@pytest.fixture
def runner() -> Iterator[CliRunner]:
    logger = logging.getLogger("rekadapter")
    level = logger.level
    yield CliRunner()
    logger.setLevel(level)


def test_a_plan_from_numbers_is_a_table_and_json(runner: CliRunner) -> None:
    arguments = ["plan", "--cameras", "4", "--people-per-hour", "60", "--uplink", "1Mbit/s"]
    table = runner.invoke(app, arguments)
    assert table.exit_code == 0
    assert "4 cameras" in table.stdout
    told = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    rows = {row["mode"]: row for row in told["rekognition"]["rows"]}
    assert not rows["frame"]["fits"]
    assert rows["track"]["fits"]
    assert rows["track"]["monthly_usd"] > 0
    assert told["local"]["rows"][0]["monthly_usd"] is None


def test_a_region_without_a_known_price_has_none(runner: CliRunner) -> None:
    told = runner.invoke(app, ["plan", "--region", "mars-north-1", "--json"])
    rows = json.loads(told.stdout)["rekognition"]["rows"]
    assert [row["monthly_usd"] for row in rows] == [None, None, None]


def test_a_measurement_that_costs_is_refused_until_it_is_allowed(
    runner: CliRunner, tmp_path: Path
) -> None:
    for subject in ("ann", "bob"):
        folder = tmp_path / "faces" / subject
        folder.mkdir(parents=True)
        for number in range(12):
            (folder / f"{number}.jpg").write_bytes(encode_jpeg(portrait(subject), 90))
    done = runner.invoke(
        app, ["plan", "--measure", str(tmp_path / "faces"), "--backend", "rekognition"]
    )
    assert done.exit_code != 0
    assert "--max-calls" in str(done.exception) + done.output
