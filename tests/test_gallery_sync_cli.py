"""``gallery sync`` as a user meets it, between a cloud (our own service) and another one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.cli import run
from rekadapter.imaging import Image, encode_jpeg
from rekadapter.rekognition_api.server import ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.testing.drawn import picture, portrait
from rekadapter.types import GalleryId, SubjectId

G = GalleryId("staff")
SYNC = ["gallery", "sync", "cloud", "site", "--gallery", G, "--roster", "roster"]


@pytest.fixture
def cloud() -> MemoryRecognizer:
    return MemoryRecognizer()


@pytest.fixture
def site() -> MemoryRecognizer:
    return MemoryRecognizer()


@pytest.fixture(autouse=True)
def in_a_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cloud: MemoryRecognizer,
    site: MemoryRecognizer,
) -> Iterator[Path]:
    """A roster of two drawn people, and two backends behind Rekognition's contract: one in a
    region whose prices are known, one in another."""
    for who in ("ann", "bob"):
        folder = tmp_path / "roster" / who
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(encode_jpeg(portrait(who), 90))
    monkeypatch.chdir(tmp_path)
    with (
        ServiceServer(create_app(RekognitionService(cloud))) as first,
        ServiceServer(create_app(RekognitionService(site))) as second,
    ):
        (tmp_path / "rekadapter.toml").write_text(
            _table("cloud", first.url, "us-east-1") + _table("site", second.url, "eu-west-1")
        )
        yield tmp_path


def _table(name: str, url: str, region: str) -> str:
    return (
        f'[backends.{name}]\ntype = "rekognition"\nendpoint_url = "{url}"\n'
        f'region = "{region}"\nunsigned = true\n'
    )


def _holds(recognizer: MemoryRecognizer) -> Counter[SubjectId | None]:
    if G not in set(recognizer.galleries()):
        return Counter()
    return Counter(face.subject for face in recognizer.faces(G))


def _add_carol(recognizer: MemoryRecognizer) -> None:
    recognizer.create_gallery(G)
    photo = Image.from_bytes(encode_jpeg(portrait("carol"), 90))
    recognizer.enroll(G, photo, subject=SubjectId("carol"))


def test_a_dry_run_gives_plan_and_price_and_changes_nothing(
    in_a_folder: Path,
    cloud: MemoryRecognizer,
    site: MemoryRecognizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SYNC, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "$0.0020" in shown
    assert "unknown" in shown
    assert _holds(cloud) == _holds(site) == Counter()
    assert not (in_a_folder / "data").exists()


def test_a_sync_brings_both_to_the_roster_and_a_second_one_is_free(
    cloud: MemoryRecognizer, site: MemoryRecognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*SYNC, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["billed_usd"] == pytest.approx(0.002)
    assert first["requests_of_unknown_price"] == 2
    assert _holds(cloud) == _holds(site) == Counter({"ann": 1, "bob": 1})
    assert run([*SYNC, "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["billed_usd"] == 0
    assert [side["enroll"] for side in second["plan"]["sides"]] == [[], []]
    assert len(second["plan"]["in_both"]) == 2


def test_who_cannot_move_is_listed_with_face_counts(
    site: MemoryRecognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    _add_carol(site)
    assert run(SYNC) == 1
    shown = capsys.readouterr().out
    assert "no photograph at hand" in shown
    row = next(line for line in shown.splitlines() if line.startswith("carol"))
    assert [cell.strip() for cell in row.split("│")] == ["carol", "0", "1"]


def test_deleting_asks_first(
    site: MemoryRecognizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _add_carol(site)
    monkeypatch.setattr("sys.stdin", _Says("n\n"))
    assert run([*SYNC, "--delete"]) == 130
    assert "1 faces from site" in capsys.readouterr().err
    assert _holds(site) == Counter({"carol": 1})
    assert run([*SYNC, "--delete", "--yes"]) == 0
    assert _holds(site) == Counter({"ann": 1, "bob": 1})


def test_a_photograph_without_a_face_is_named_with_the_reason(
    in_a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_a_folder / "roster" / "ann" / "2.jpg").write_bytes(encode_jpeg(picture(), 90))
    assert run(SYNC) == 1
    assert "2.jpg: NO_FACE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gallery", "sync", "cloud", "cloud", "-g", G], "two different backends"),
        (["gallery", "sync", "cloud", "site", "-g", G, "--delete"], "--roster"),
        (["gallery", "sync", "cloud", "site", "-g", G, "--roster", "gone"], "gone"),
        (["gallery", "sync", "cloud", "site"], "no gallery named"),
        (["gallery", "sync", "cloud", "moon", "-g", G], "no backend 'moon'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_clear_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert complaint in shown
    assert shown.count("\n") == 1


class _Says:
    """A terminal at which somebody types."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def readline(self, *_: Any) -> str:
        return self._lines.pop(0) if self._lines else ""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError
