"""``rekadapter review``: people look at what a run said, one alert after another."""

from __future__ import annotations

import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

import typer

from rekadapter.cli.options import INTERRUPTED, AsJson
from rekadapter.cli.output import print_json, print_table, remark, show_head
from rekadapter.errors import OutputError, UsageError
from rekadapter.evaluation.feed_inputs import read_inputs
from rekadapter.evaluation.review_queue import (
    Alert,
    alerts_of,
    read_decisions,
    reviewer_key,
    seen_by_too_few,
    track_key,
    waiting_for,
)
from rekadapter.evaluation.wording import many
from rekadapter.observation import Run
from rekadapter.roster import read_roster
from rekadapter.sinks.audit import Head, Reviewed, Verdict
from rekadapter.sinks.review_log import ReviewLog, read_run_log
from rekadapter.sinks.run_directory import read_run

_PROMPT: Final = "[c]onfirm [r]eject [u]ndecided [s]kip [q]uit, and a note if you like: "
_SKIP, _QUIT = "skip", "quit"
_ANSWERS: Final[Mapping[str, str]] = {
    "confirm": Verdict.CONFIRMED,
    "reject": Verdict.REJECTED,
    "undecided": Verdict.UNDECIDED,
    "skip": _SKIP,
    "quit": _QUIT,
}


def review(
    run_directory: Annotated[Path, typer.Argument(help="What run, compare or demo wrote.")],
    by: Annotated[
        str | None, typer.Option("--by", help="Who decides: a name or a number of yours.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="Only what this system said.")
    ] = None,
    unknowns: Annotated[
        bool, typer.Option("--unknowns", help="Also those of whom it said unknown.")
    ] = False,
    roster: Annotated[
        Path | None,
        typer.Option("--roster", help="The enrolled photographs, a folder a person, to name them."),
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="List what waits, and end.")] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Decisions as CSV: backend,camera,track,verdict,by,seconds,note."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at what a run said, alert by alert, and decide; the answers go into its audit log."""
    run = _whole_run(run_directory)
    if decisions is not None:
        if by is not None or pending or as_json:
            raise UsageError(
                "--from takes neither --by (the column 'by' says who decided) nor a list of what "
                "waits"
            )
        _bring_in(run_directory, run, decisions)
        return
    if backend is not None and backend not in {one.name for one in run.record.backends}:
        raise UsageError(f"{run_directory} has no backend '{backend}'")
    photos = read_roster(roster) if roster else ()
    alerts = [
        one
        for one in alerts_of(run, run_directory, photos, unknowns=unknowns)
        if backend in {None, one.backend}
    ]
    decided = _decided(run_directory)
    if pending or as_json:
        _list(_pending(run_directory, run, alerts, decided, by), as_json=as_json)
        return
    _sit(run_directory, _reviewer(by), alerts, decided, run.record.run_id)


def _reviewer(by: str | None) -> str:
    if by is None or not by.strip():
        raise UsageError("say who decides: --by NAME (a name or a number of yours)")
    if not by.isprintable():  # neither is what a terminal of another encoding typed
        raise UsageError("--by holds what is no text: give another name or number")
    return by


def _sit(
    directory: Path, by: str, alerts: Sequence[Alert], decided: Sequence[Reviewed], run_id: str
) -> None:
    waiting = waiting_for(by, alerts, decided, run_id)
    if not waiting:
        remark(f"nothing waits for {by}: {many(len(alerts), 'alert')} decided on")
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a review is done in a terminal, and this is none: write the decisions into a table "
            "and give it with --from decisions.csv, or list what waits with --pending"
        )
    log = ReviewLog(directory)
    log.add(())  # whether it can be added to is said before anybody has looked at anything
    _Sitting(by, waiting, log, Terminal()).run()


def _whole_run(directory: Path) -> Run:
    """The run, which has to be what its log says: or who knows what people would decide about."""
    run = read_run(directory)
    if run.damage:
        raise OutputError(
            f"{directory} is damaged, and decisions about it would say nothing: {run.damage[0]} "
            f"(rekadapter audit verify {directory} tells more)"
        )
    return run


def _decided(directory: Path) -> tuple[Reviewed, ...]:
    log = read_run_log(directory)
    return tuple(one.decision for one in log.reviews) if log else ()


# --- what waits, and decisions from a table ---------------------------------------------------


def _pending(
    directory: Path, run: Run, alerts: Sequence[Alert], decided: Sequence[Reviewed], by: str | None
) -> tuple[Alert, ...]:
    """For a reviewer what they have not decided on; without one, what too few people have."""
    if by is not None:
        return waiting_for(by, alerts, decided, run.record.run_id)
    least = read_inputs(directory).rules.governance.review.min_reviewers or 1
    return seen_by_too_few(alerts, decided, least)


def _list(alerts: Sequence[Alert], *, as_json: bool) -> None:
    if as_json:
        print_json(alerts)
        return
    rows = [
        (one.backend, one.camera, one.track, _time(one), printable(one.subject or "unknown"))
        for one in alerts
    ]
    print_table(
        f"{many(len(alerts), 'alert')} to look at",
        ("backend", "camera", "track", "seconds", "said"),
        rows,
    )


def _bring_in(directory: Path, run: Run, file: Path) -> None:
    """Writes what the log does not hold yet, all of it or nothing."""
    last = {(track_key(one), reviewer_key(one.by)): one for one in _decided(directory)}
    found = read_decisions(file, run)
    new = [one for one in found if last.get((track_key(one), reviewer_key(one.by))) != one]
    head = ReviewLog(directory).add(new)
    there = f", {len(found) - len(new)} were there already" if len(found) > len(new) else ""
    remark(f"{many(len(new), 'decision')} written{there}")
    show_head(head)


# --- a session --------------------------------------------------------------------------------


class Reader(Protocol):
    """Whoever shows alerts and hears answers. ``show`` forgets what was typed before: that is no
    answer to what is shown now. ``ask`` gives None where nothing more will come."""

    def show(self, text: str) -> None: ...

    def ask(self, prompt: str) -> str | None: ...

    def seconds(self) -> float: ...


class Terminal:
    """The person in front of this terminal."""

    def show(self, text: str) -> None:
        with suppress(termios.error):
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        typer.echo(text)

    def ask(self, prompt: str) -> str | None:
        try:
            return input(prompt)
        except EOFError:
            typer.echo("")
            return None

    def seconds(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was answered, a verdict or what to do, and the words behind it."""

    what: str
    note: str


class _Sitting:
    """One reviewer, one alert after another; each decision is in the log before the next alert."""

    def __init__(self, by: str, waiting: Sequence[Alert], log: ReviewLog, reader: Reader) -> None:
        self._by = by
        self._waiting = waiting
        self._log = log
        self._reader = reader
        self._decided = 0
        self._head: Head | None = None

    def run(self) -> None:
        """Asks until all is decided, or the reviewer has had enough.

        Raises:
            typer.Exit: Ctrl-C.
        """
        try:
            for number, alert in enumerate(self._waiting, 1):
                if not self._asked(number, alert):
                    break
        except KeyboardInterrupt as error:
            typer.echo("")
            self._say_goodbye()
            raise typer.Exit(INTERRUPTED) from error
        self._say_goodbye()

    def _asked(self, number: int, alert: Alert) -> bool:
        """Whether to go on."""
        reader = self._reader
        reader.show("\n".join(shown(alert, f"{number} of {len(self._waiting)}")))
        since = reader.seconds()
        answer = self._answer()
        seconds = round(reader.seconds() - since, 3)
        if answer.what in {_SKIP, _QUIT}:
            return answer.what == _SKIP
        self._head = self._log.add(
            [
                Reviewed(
                    alert.backend,
                    alert.camera,
                    alert.track,
                    answer.what,
                    self._by,
                    answer.note,
                    seconds,
                )
            ]
        )
        self._decided += 1
        return True

    def _answer(self) -> _Answer:
        while True:
            line = self._reader.ask(_PROMPT)
            if line is None:
                return _Answer(_QUIT, "")
            answer = understood(line)
            if answer is not None:
                return answer
            self._reader.show("answer c, r, u, s or q; a note may follow: r wears other glasses")

    def _say_goodbye(self) -> None:
        left = len(self._waiting) - self._decided
        remark(f"{self._decided} decided, {left} left; the same command goes on")
        show_head(self._head)


def understood(line: str) -> _Answer | None:
    """An answer by its word or the first letter of it, and a note behind it."""
    word, _, note = line.strip().partition(" ")
    for answer, what in _ANSWERS.items():
        if word.lower() in {answer, answer[0], what}:
            return _Answer(what, printable(note.strip()))
    return None


def shown(alert: Alert, place: str) -> Iterator[str]:
    """What a reviewer sees of an alert: nothing of what others decided, nothing of the truth."""
    yield ""
    yield from map(printable, _lines(alert, place))


def _lines(alert: Alert, place: str) -> Iterator[str]:
    yield f"--- {place}: camera {alert.camera}, {_time(alert)} s, track {alert.track}"
    if alert.subject is not None:
        yield f"{alert.backend} says: {alert.subject}"
        yield f"  score     {alert.score}; threshold {alert.threshold}"
        yield f"  next best {alert.next_best or 'nobody else was returned'}"
    else:
        yield f"{alert.backend} says: unknown, because {alert.reason}"
        if alert.next_best:
            yield f"  nearest   {alert.next_best}"
            yield f"  score     {alert.score}; threshold {alert.threshold}"
    yield f"  evidence  {alert.evidence}"
    yield f"  face      {alert.face or 'no picture was kept'}"
    for path in alert.enrolled:
        yield f"  enrolled  {path}"
    yield "Is that right?"


def _time(alert: Alert) -> str:
    return f"{alert.first_seconds:.1f} to {alert.last_seconds:.1f}"


def printable(text: str) -> str:
    """Text from a gallery or a feed without what could move a terminal's cursor."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
