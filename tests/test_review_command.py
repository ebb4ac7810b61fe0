"""``rekadapter review`` as somebody in front of a terminal meets it, and without one."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

import rekadapter
from rekadapter.cli import run
from rekadapter.cli.review import printable, shown, understood
from rekadapter.evaluation.feed_inputs import FeedInputs, write_inputs
from rekadapter.evaluation.review_queue import alerts_of, in_order_of
from rekadapter.evaluation.rules import Rules
from rekadapter.roster import RosterPhoto
from rekadapter.sinks.audit import AuditLog
from rekadapter.sinks.run_directory import read_run
from rekadapter.testing.runs import RunBuilder, Transit, local_backend
from rekadapter.types import SubjectId
from tests.test_compare_truth import TRUTH, compared, report_in

PROMPT = "and a note if you like: "
HEADER = "backend,camera,track,verdict,by,seconds,note\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three names and an unknown; a picture was kept of the first."""
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 100})
    builder.transit("local", Transit("lobby", 0, 9, subject="ann", thumbnail="ann.jpg"))
    builder.transit("local", Transit("lobby", 20, 29, subject="bob"))
    builder.transit("local", Transit("lobby", 40, 49, subject="eve\x1b[2J"))
    builder.transit("local", Transit("lobby", 60, 69))
    builder.write(tmp_path / "run")
    return tmp_path / "run"


def reviewed(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "audit.jsonl").read_bytes().splitlines()
    return [one["record"] for one in map(json.loads, lines) if one["kind"] == "reviewed"]


@dataclass
class Reviewer:
    """A process in a terminal of its own."""

    terminal: int
    process: subprocess.Popen[bytes]
    seen: str = ""

    @classmethod
    def sits_down(cls, directory: Path, *arguments: str) -> Self:
        own, other = pty.openpty()
        process = subprocess.Popen(  # noqa: S603 - this interpreter, our own code
            [sys.executable, "-m", "rekadapter", "review", str(directory), *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(rekadapter.__file__).parents[1])},
        )
        os.close(other)
        return cls(own, process)

    def reads(self, text: str) -> str:
        """What is shown up to ``text``."""
        until = time.monotonic() + 60
        while text not in self.seen:
            ready, _, _ = select.select([self.terminal], [], [], max(0, until - time.monotonic()))
            assert ready, f"never shown: {text!r}; but {self.seen!r}"
            with suppress(OSError):  # the other end is gone: what is there was read
                part = os.read(self.terminal, 4096).decode()
                self.seen += part
                continue
            assert text in self.seen, f"never shown: {text!r}; but {self.seen!r}"
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def types(self, line: str) -> None:
        os.write(self.terminal, f"{line}\n".encode())

    def interrupts(self) -> None:
        """Ctrl-C until it is heard: one between a prompt and its read is heard at the next key."""
        for _ in range(60):
            self.process.send_signal(signal.SIGINT)
            if select.select([self.terminal], [], [], 1)[0]:
                return

    def leaves(self) -> int:
        """The exit code."""
        return self.process.wait(timeout=60)


@pytest.fixture
def sit_down(directory: Path) -> Iterator[Any]:
    sitting: list[Reviewer] = []

    def begin(*arguments: str) -> Reviewer:
        sitting.append(Reviewer.sits_down(directory, *arguments))
        return sitting[-1]

    yield begin
    for one in sitting:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        os.close(one.terminal)


def test_a_session_goes_through_all_alerts_and_each_answer_is_there_at_once(
    sit_down: Any, directory: Path
) -> None:
    reviewer = sit_down("--by", "Officer 7")
    for number, answer in enumerate(("c", "r other glasses", "undecided"), 1):
        shown = reviewer.reads(PROMPT)
        assert f"{number} of 3: camera lobby" in shown
        assert "score     91.00 (test similarity, 0 to 100, higher is more alike)" in shown
        assert "threshold 60" in shown
        assert "Alike enough in 10 of 10 faces searched" in shown
        assert "\x1b" not in shown.split("local says: ")[1].split("score")[0]
        reviewer.types(answer)
    reviewer.reads("3 decided, 0 left")
    assert reviewer.leaves() == 0
    found = reviewed(directory)
    assert [one["verdict"] for one in found] == ["confirmed", "rejected", "undecided"]
    assert [one["note"] for one in found] == ["", "other glasses", ""]
    assert {one["by"] for one in found} == {"Officer 7"}
    assert sorted(one["track"] for one in found) == [1, 2, 3]
    assert all(one["seconds"] >= 0 for one in found)
    assert run(["audit", "verify", str(directory)]) == 0


def test_a_session_that_is_left_goes_on_where_it_was(sit_down: Any, directory: Path) -> None:
    first = sit_down("--by", "a")
    first.reads(PROMPT)
    first.types("what")
    assert "answer c, r, u, s or q" in first.reads(PROMPT)
    first.types("s")
    first.reads(PROMPT)
    first.types("c")
    first.reads(PROMPT)
    assert len(reviewed(directory)) == 1
    first.types("q")
    first.reads("1 decided, 2 left")
    assert first.leaves() == 0
    again = sit_down("--by", " A ")
    assert "1 of 2" in again.reads(PROMPT)


def test_ctrl_c_says_what_remains_and_keeps_what_was_decided(
    sit_down: Any, directory: Path
) -> None:
    reviewer = sit_down("--by", "a")
    reviewer.reads(PROMPT)
    reviewer.types("c")
    reviewer.reads(PROMPT)
    reviewer.interrupts()
    reviewer.reads("1 decided, 2 left")
    assert reviewer.leaves() == 130
    assert len(reviewed(directory)) == 1


def test_what_was_typed_before_an_alert_was_shown_is_no_answer_to_it(
    sit_down: Any, directory: Path
) -> None:
    reviewer = sit_down("--by", "a")
    reviewer.reads(PROMPT)
    reviewer.types("c\nc\nc")
    reviewer.reads(PROMPT)
    reviewer.types("q")
    reviewer.reads("1 decided, 2 left")
    assert len(reviewed(directory)) == 1


def test_two_people_may_review_one_run_at_a_time_and_see_nothing_of_each_other(
    sit_down: Any, directory: Path
) -> None:
    ann, bob = sit_down("--by", "ann"), sit_down("--by", "bob")
    for answer in "crc":
        for one in (ann, bob):
            shown = one.reads(PROMPT)
            assert "confirmed" not in shown
            assert "rejected" not in shown
            one.types(answer)
    for one in (ann, bob):
        one.reads("3 decided")
        assert one.leaves() == 0
    assert len(reviewed(directory)) == 6
    assert run(["audit", "verify", str(directory)]) == 0


def test_each_reviewer_has_an_order_of_their_own_that_stays() -> None:
    builder = RunBuilder(backends=(local_backend(),), cameras={"lobby": 400})
    for n in range(20):
        builder.transit("local", Transit("lobby", 20 * n, 20 * n + 9, subject="ann"))
        builder.transit("local", Transit("lobby", 20 * n, 20 * n + 9))
    made = builder.build()
    names = alerts_of(made, Path())
    everything = alerts_of(made, Path(), unknowns=True)
    assert (len(names), len(everything)) == (20, 40)
    ann, bob = (in_order_of(by, names, "run") for by in ("ann", "bob"))
    assert ann != bob
    assert sorted(ann, key=lambda one: one.track) == sorted(bob, key=lambda one: one.track)
    assert ann == in_order_of("Ann", names[::-1], "run")
    assert ann == tuple(one for one in in_order_of("ann", everything, "run") if one.subject)


def test_kept_and_enrolled_pictures_are_named(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = read_run(directory)
    assert alerts_of(made, directory)[0].face is None
    (directory / "faces").mkdir()
    (directory / "faces" / "ann.jpg").write_bytes(b"")
    assert alerts_of(made, directory)[0].face == directory / "faces" / "ann.jpg"
    photos = [
        RosterPhoto(SubjectId("ann"), Path("a.jpg")),
        RosterPhoto(SubjectId("bob"), Path("b")),
    ]
    assert alerts_of(made, directory, photos)[0].enrolled == (Path("a.jpg"),)
    assert run(["review", str(directory), "--roster", str(tmp_path / "none")]) == 2
    assert "neither a folder nor an image" in capsys.readouterr().err


def test_an_unknown_is_shown_with_its_reason_and_whom_it_resembled(directory: Path) -> None:
    (alert,) = (one for one in alerts_of(read_run(directory), directory, unknowns=True)
                if one.subject is None)  # fmt: skip
    text = "\n".join(shown(alert, "1 of 1"))
    assert "local says: unknown, because nobody enrolled was alike enough" in text
    assert "nearest   the runner-up" in text
    assert "score     91.00 (test similarity" in text
    assert "no picture was kept" in text


# --- without a terminal ---------------------------------------------------------------------------


def test_without_a_terminal_the_other_ways_are_named(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["review", str(directory)]) == 2
    assert "--by NAME" in capsys.readouterr().err
    assert run(["review", str(directory), "--by", "a"]) == 2
    said = capsys.readouterr().err
    assert "--from decisions.csv" in said
    assert "--pending" in said
    assert reviewed(directory) == []


def test_decisions_from_a_table_are_written_once(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "d.csv"
    table.write_text(
        HEADER + 'local,lobby,1,confirmed,a,2.5,\nlocal,lobby,2,rejected,a,,"no, not him"\n',
        "utf-8",
    )
    assert run(["review", str(directory), "--from", str(table)]) == 0
    assert "2 decisions written" in capsys.readouterr().err
    first, second = reviewed(directory)
    assert (first["seconds"], second["seconds"]) == (2.5, None)
    assert second["note"] == "no, not him"
    assert run(["review", str(directory), "--from", str(table)]) == 0
    assert "0 decisions written, 2 were there already" in capsys.readouterr().err
    assert len(reviewed(directory)) == 2


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("local,lobby,9,confirmed,a,1,", "no track 9"),
        ("cloud,lobby,1,confirmed,a,1,", "by cloud"),
        ("local,lobby,one,confirmed,a,1,", "no track one"),
        ("local,lobby,1,sure,a,1,", "the verdict is"),
        ("local,lobby,1,confirmed,,1,", "who decided"),
        ("local,lobby,1,confirmed,a,-1,", "seconds"),
        ("local,lobby,1,confirmed,a,nan,", "seconds"),
        ("local,lobby,1,confirmed,a", "as many fields"),
        ("local,lobby,2,rejected, A,1,", "in line 2 already"),
    ],
)
def test_a_table_with_one_wrong_row_writes_nothing(
    row: str, wrong: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "d.csv"
    table.write_text(HEADER + "local,lobby,2,confirmed,a,1,\n" + row + "\n", "utf-8")
    before = (directory / "audit.jsonl").read_bytes()
    assert run(["review", str(directory), "--from", str(table)]) == 2
    said = capsys.readouterr().err
    assert "line 3" in said
    assert wrong in said
    assert (directory / "audit.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["-b", "cloud", "--by", "a"], "has no backend 'cloud'"),
        (["--from", "d.csv", "--by", "a"], "--from takes neither"),
        (["--from", "d.csv", "--pending"], "--from takes neither"),
        (["--from", "d.csv"], "cannot be read"),
        (["--by", "  "], "say who decides"),
        (["--by", "a\udcff"], "no text"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: list[str], wrong: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["review", str(directory), *arguments]) == 2
    assert wrong in capsys.readouterr().err


def test_a_session_does_not_begin_while_a_run_writes_its_log(
    directory: Path, sit_down: Any
) -> None:
    log = AuditLog(directory)
    try:
        reviewer = sit_down("--by", "a")
        assert PROMPT not in reviewer.reads("added to by another process")
        assert reviewer.leaves() == 3
    finally:
        log.close()


def test_the_terminal_says_what_reviewers_came_to(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.csv").write_text(HEADER + "local,lobby,1,confirmed,a,2.5,\n", "utf-8")
    assert run(["review", str(directory), "--from", str(tmp_path / "d.csv")]) == 0
    assert run(["report", str(directory)]) == 0
    assert "1 reviewer decided on 1 of 3 names that local said" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("backend,camera,track,verdict\n", "needs the columns by"),
        (HEADER.replace("note", "mood"), "unknown columns mood"),
        (HEADER, "holds no decision"),
    ],
)
def test_a_table_of_another_form_is_refused(
    text: str, wrong: str, directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.csv").write_text(text, "utf-8")
    assert run(["review", str(directory), "--from", str(tmp_path / "d.csv")]) == 2
    assert wrong in capsys.readouterr().err


def test_what_waits_is_listed_for_one_reviewer_or_by_the_two_person_rule(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = Rules.model_validate({"governance": {"review": {"min_reviewers": 2}}})
    write_inputs(directory, FeedInputs(rules=rules))
    table = tmp_path / "d.csv"
    rows = "local,lobby,1,confirmed,a,,\nlocal,lobby,1,confirmed,b,,\nlocal,lobby,2,rejected,a,,\n"
    table.write_text(HEADER + rows, "utf-8")
    assert run(["review", str(directory), "--from", str(table)]) == 0
    capsys.readouterr()

    def waits(*arguments: str) -> list[int]:
        assert run(["review", str(directory), "--json", *arguments]) == 0
        return sorted(one["track"] for one in json.loads(capsys.readouterr().out))

    assert waits() == [2, 3]
    assert waits("--by", "b") == [2, 3]
    assert waits("--by", "a", "--unknowns") == [3, 4]
    assert run(["review", str(directory), "--pending", "--by", "a"]) == 0
    assert "1 alert to look at" in capsys.readouterr().out


def test_a_damaged_run_is_not_reviewed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracks = directory / "tracks.jsonl"
    tracks.write_bytes(tracks.read_bytes().replace(b'"ann"', b'"bob"'))
    assert run(["review", str(directory), "--pending"]) == 3
    assert "is damaged" in capsys.readouterr().err


def test_a_real_comparison_is_reviewed_and_held_against_its_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Drawn feeds through two backends: what both say is right, and a reviewer rejects one."""
    directory = compared(tmp_path).directory
    assert run(["review", str(directory), "--json"]) == 0
    alerts = json.loads(capsys.readouterr().out)
    assert sorted(one["backend"] for one in alerts) == ["a", "b"]
    rows = [
        f"{one['backend']},door,{one['track']},{verdict},guard,4,\n"
        for one, verdict in zip(alerts, ("confirmed", "rejected"), strict=True)
    ]
    (tmp_path / "d.csv").write_text(HEADER + "".join(rows), "utf-8")
    (tmp_path / "truth.csv").write_text(TRUTH, "utf-8")
    assert run(["review", str(directory), "--from", str(tmp_path / "d.csv")]) == 0
    assert run(["report", str(directory), "--truth", str(tmp_path / "truth.csv")]) == 0
    feeds = report_in(directory).feeds
    assert feeds is not None
    assert feeds.reviews is not None
    by_system = {one.system: one for one in feeds.reviews.errors}
    kept, lost = (by_system[one["backend"]] for one in alerts)
    assert (kept.right_rejected.errors, lost.right_rejected.errors) == (0, 1)
    assert (kept.identified.passed, lost.identified.stopped) == (1, 1)
    assert run(["audit", "verify", str(directory)]) == 0


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["c", "C", " confirm ", "confirmed", "c  fine"])
def test_an_answer_is_a_word_or_its_first_letter(line: str) -> None:
    answer = understood(line)
    assert answer is not None
    assert answer.what == "confirmed"


@pytest.mark.parametrize("line", ["", "yes", "cc", "conf"])
def test_anything_else_is_asked_again(line: str) -> None:
    assert understood(line) is None


def test_a_name_cannot_move_the_cursor_or_turn_the_line() -> None:
    assert printable("Zoë \x1b[2J\u202e") == "Zoë \ufffd[2J\ufffd"
