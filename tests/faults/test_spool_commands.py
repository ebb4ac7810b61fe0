"""``--spool``, ``spool show`` and ``spool drain`` as a user meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rekadapter.cli import run
from rekadapter.evaluation.summary import summarize
from rekadapter.sinks import read_run
from rekadapter.uplink.spool import Spool
from tests.faults.spool_site import PEOPLE, Site, site_in

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """After a run whose link went for good; it is mended now."""
    folder = tmp_path_factory.mktemp("site")
    with site_in(folder) as site, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asked = ["run", "lobby", "-b", "cloud", "--mode", "frame", "--spool", "1MB", "--out", "run"]
        with site.cut_once(lambda: site.lines("run") >= 4):
            assert run(asked) == 0
        site.mend()
        yield site


@pytest.fixture
def cut_off(broken_off: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The same, each time anew."""
    shutil.copytree(broken_off.folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    broken_off.mend()
    return replace(broken_off, folder=tmp_path / "here")


@pytest.fixture
def waiting(cut_off: Site) -> int:
    """How many frames wait."""
    count = len(cut_off.waiting())
    assert count >= PEOPLE - 8
    return count


def test_what_waits_is_shown(waiting: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["spool", "show", "run", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    expected = {"backend": "cloud", "camera": "lobby", "frames": waiting, "pictures": waiting}
    assert row == expected
    assert run(["report", "run"]) == 0
    assert f"{waiting} spooled" in capsys.readouterr().err


def test_a_drain_is_a_run_of_its_own_that_says_what_was_late(
    waiting: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["spool", "drain", "run", "--out", "late"]) == 0
    told = capsys.readouterr().err
    assert f"{waiting} frames waited for the uplink and were answered late" in told
    assert f"Ann in {waiting}" in told
    left, late = read_run(Path("run")), read_run(Path("late"))
    assert left.record.cameras[0].dropped == {"cloud": {"spooled": waiting}}
    assert late.record.cameras[0].processed == {"cloud": waiting}
    assert late.record.settings["spool of run"] == left.record.run_id
    origins = [one.record.backends[0].threshold_origin for one in (left, late)]
    assert origins[0] == origins[1]
    assert origins[0] is not None
    assert origins[0].source == "shipped default"
    frames = [{seen.frame for seen in one.observations} for one in (left, late)]
    assert not frames[0] & frames[1]
    assert len(frames[0] | frames[1]) == PEOPLE
    assert all(seen.late and seen.captured_at for seen in late.observations)
    assert {entry.late for entry in late.ledger if entry.camera} == {True}
    assert "waited on disk" in Path("late/feeds.html").read_text(encoding="utf-8")


def test_nothing_is_left_of_what_was_drained_and_nothing_asked_twice(
    cut_off: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["spool", "drain", "run", "--out", "late"]) == 0
    assert not Path("run/spool").exists()
    asked = len(cut_off.asked.seen)
    assert run(["spool", "drain", "run", "--out", "again"]) == 2
    assert "nothing waits" in capsys.readouterr().err
    assert run(["spool", "show", "run"]) == 0
    assert len(cut_off.asked.seen) == asked
    # neither directory looks damaged
    assert read_run(Path("run")).damage == read_run(Path("late")).damage == ()
    assert summarize(read_run(Path("run"))).doubts == ()
    assert summarize(read_run(Path("late"))).doubts == ()


def test_another_system_must_not_finish_what_one_began(
    cut_off: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Path("rekadapter.toml")
    settings.write_text('gallery = "staff"\n[backends.cloud]\ntype = "memory"\n')
    assert run(["spool", "drain", "run", "--out", "late"]) == 2
    assert "put the settings back" in capsys.readouterr().err
    assert not Path("late").exists()
    assert cut_off.waiting()


def test_a_spool_in_use_is_not_touched(cut_off: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with Spool(Path("run/spool/backend1"), 1_000_000):
        assert run(["spool", "drain", "run", "--out", "late"]) == 3
    assert "in use" in capsys.readouterr().err
    assert cut_off.waiting()


def test_a_link_that_is_gone_is_said_before_anything_is_written(
    cut_off: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cut_off.waiting()
    with cut_off.cut_once(lambda: True):
        pass
    assert run(["spool", "drain", "run", "--out", "late"]) == 3
    assert "staff" in capsys.readouterr().err
    assert not Path("late").exists()
    assert cut_off.waiting() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--spool", "much"], "not a size"),
        (["--spool", "1MB", "-b", "memory"], "sends nothing"),
    ],
)
def test_a_spool_without_a_use_or_a_size_is_refused(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lobby").mkdir()
    (tmp_path / "lobby" / "1.jpg").write_text("no picture")
    assert run(["run", "lobby", "-g", "staff", *options, "--out", "run"]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_where_nothing_ever_waited_there_is_nothing_to_drain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["spool", "drain", str(tmp_path)]) == 2
    assert "no run directory" in capsys.readouterr().err
