"""What a run may cost at most, said before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.drawn import picture

CAMERA = "http://127.0.0.1:9/door"
"""Never looked at: the run ends at a service that nobody answers for."""

CLOUD = """
[backends.cloud]
type = "rekognition"
region = "us-east-1"
unsigned = true
endpoint_url = "http://127.0.0.1:9"
deadline_seconds = 0.1
"""


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        (["clip.mp4"], "in each of 20 frames $0.02"),
        (["clip.mp4", "--fps", "5"], "in each of 10 frames $0.01"),
        (["clip.mp4", "--fps", "5", "--duration", "1s"], "in each of 5 frames"),
        ([CAMERA, "--fps", "5", "--duration", "1h"], "in each of 18000 frames $18.00"),
        ([CAMERA, "clip.mp4", "--duration", "1h"], "nobody knows how many frames will come"),
        ([CAMERA, "--fps", "5"], "nobody knows how many frames will come"),
    ],
    ids=["file", "fps", "part-of-a-file", "camera-for-an-hour", "each-picture", "for-ever"],
)
def test_the_price_before_a_run_is_that_of_all_its_frames(
    feed: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", even([picture()] * 20, fps=10))
    (tmp_path / "rekadapter.toml").write_text(CLOUD, encoding="utf-8")
    assert run(["run", *feed, "-g", "staff", "-b", "cloud", "--mode", "frame"]) == 3
    assert told in capsys.readouterr().err
