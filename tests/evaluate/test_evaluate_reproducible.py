"""The same stored answers give the same bytes: on another machine, in another country, years on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import rekadapter
from rekadapter.evaluation.answers import ANSWERS_FILE, line_of
from rekadapter.evaluation.evaluate import REQUESTS_FILE, SESSIONS_FILE, StoredEvaluation, evaluated
from rekadapter.evaluation.outcomes import GroupLabel
from rekadapter.evaluation.record import write_record
from rekadapter.evaluation.results import as_stored, report_text
from rekadapter.evaluation.rules import Rules
from rekadapter.evaluation.synthetic import GroupModel, ScoreModel, SearchDesign
from rekadapter.sinks.audit import Reviewed, Verdict
from rekadapter.sinks.review_log import ReviewLog
from rekadapter.testing.evaluations import made_up_evaluation
from rekadapter.testing.runs import RunBuilder, Transit

MODELS = {"beta": ScoreModel(mated_mean=0.5, failure_rate=0.01), "alpha": ScoreModel()}
GROUPS = (
    GroupModel(GroupLabel("site", "north"), 0.5),
    GroupModel(GroupLabel("site", "süd"), 0.5, mated_shift=-0.1, nonmated_shift=0.08),
)
DESIGN = SearchDesign(gallery=64, mated_people=64, nonmated_people=100, captures=1, groups=GROUPS)
WRITTEN = (
    "report.json",
    "report.html",
    "run/summary.json",
    "run/feeds.html",
    "run/report.json",
    "run/report.html",
)


@pytest.fixture(scope="module")
def stored() -> StoredEvaluation:
    rules = Rules(name="Übung", resamples=100, permutations=199)
    return made_up_evaluation(DESIGN, MODELS, default_threshold=0.40, rules=rules)


def _lay_down(stored: StoredEvaluation, directory: Path, *, turned: bool = False) -> Path:
    """The stored answers as a directory; ``turned``: in the opposite order."""
    write_record(directory, stored.record)
    lines = [line_of(answer) + b"\n" for answer in stored.answers.values()]
    (directory / ANSWERS_FILE).write_bytes(b"".join(lines[::-1] if turned else lines))
    for name in (REQUESTS_FILE, SESSIONS_FILE):
        (directory / name).write_bytes(b"")
    return directory


def _lay_down_run(directory: Path) -> Path:
    """A run, reviewed by two people; its log holds when that was."""
    run = RunBuilder()
    run.transit("local", Transit("lobby", 5, 40, subject="ann"))
    run.transit("rekognition", Transit("lobby", 5, 40))
    run.request("rekognition", "lobby")
    run.write(directory)
    said = (("bob", Verdict.CONFIRMED, 2.1), ("Eve", Verdict.UNDECIDED, 3.7))
    ReviewLog(directory).add(
        Reviewed("local", "lobby", 1, verdict, by, "", seconds) for by, verdict, seconds in said
    )
    return directory


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs between machines and may not matter. ``umask`` is what its user keeps to."""

    name: str
    umask: int
    environment: Mapping[str, str] = field(default_factory=dict)


MACHINES = (
    Machine(
        "one",
        0o077,
        {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
    ),
    Machine(
        "two",
        0o022,
        {
            "TZ": "America/St_Johns",
            "LC_ALL": "de_DE.UTF-8",
            "LANG": "tr_TR.UTF-8",
            "PYTHONHASHSEED": "4242",
            "PYTHONUTF8": "0",
            "OMP_NUM_THREADS": "2",
            "OPENBLAS_NUM_THREADS": "2",
            "COLUMNS": "40",
            # an older processor: numpy and OpenBLAS take other code paths, with other last bits
            "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
    ),
)


def _rendered(machine: Machine, directory: Path, cwd: Path) -> subprocess.Popen[bytes]:
    """``rekadapter report`` as that machine's user runs it, from a directory with settings."""
    cwd.mkdir()
    (cwd / "matplotlibrc").write_text("font.size: 31\naxes.grid: True\nsvg.fonttype: path\n")
    code = (
        f"import os; os.umask({machine.umask})\n"
        "from rekadapter.cli import run\n"
        f"raise SystemExit(run(['report', {str(directory)!r}])"
        f" or run(['report', {str(directory / 'run')!r}]))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(rekadapter.__file__).parents[1]),
        "REKADAPTER_DATA_DIR": str(cwd / "data"),
        **machine.environment,
    }
    return subprocess.Popen(  # noqa: S603 - this interpreter, our own code
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_other_machines_write_the_same_bytes(stored: StoredEvaluation, tmp_path: Path) -> None:
    places = {
        machine.name: _lay_down(stored, tmp_path / machine.name, turned=machine.umask == 0o022)
        for machine in MACHINES
    }
    run = _lay_down_run(tmp_path / "run")
    for place in places.values():
        shutil.copytree(run, place / "run")
    under_way = [
        _rendered(machine, places[machine.name], tmp_path / f"{machine.name}-cwd")
        for machine in MACHINES
    ]
    for process in under_way:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    for name in WRITTEN:
        first, second = (places[machine.name].joinpath(name).read_bytes() for machine in MACHINES)
        assert first == second
        assert str(tmp_path).encode() not in first
        assert os.uname().nodename.encode() not in first
    report = json.loads((places["one"] / "report.json").read_bytes())
    assert report["det"][0]["points"], "a report without figures would prove little"
    assert any(one["p_value"] is not None for one in report["paired"])
    feeds = json.loads((places["one"] / "run" / "report.json").read_bytes())["feeds"]
    assert [one["decisions"] for one in feeds["reviews"]["reviewers"]] == [1, 1]
    assert b"<svg" in (places["one"] / "report.html").read_bytes()


def test_thresholds_stand_in_full_and_rates_are_rounded(stored: StoredEvaluation) -> None:
    report = evaluated(stored)
    kept = as_stored(report)
    assert [row.threshold for row in kept.accuracy] == [row.threshold for row in report.accuracy]
    assert any(len(repr(row.threshold)) > 12 for row in kept.accuracy)
    exact = [row.fnir.ci.hi for row in report.accuracy if row.fnir.ci]
    rounded = [row.fnir.ci.hi for row in kept.accuracy if row.fnir.ci]
    assert rounded == [float(f"{value:.7g}") for value in exact]
    assert rounded != exact


def test_a_report_read_back_and_written_again_is_the_same_text(stored: StoredEvaluation) -> None:
    report = evaluated(stored)
    assert report_text(as_stored(report)) == report_text(report)
