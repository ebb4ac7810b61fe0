"""What commands print: tables for people, JSON for programs; progress and remarks on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final, Self

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from rekadapter.types import CameraId, Candidate, ComparisonScore

_PIPED_WIDTH: Final = 120
"""Columns of a table that goes into a file or another program."""


def print_json(value: object) -> None:
    """A dataclass, or a sequence of them, as one JSON document on stdout."""
    if isinstance(value, list | tuple):
        text = "[" + ",".join(map(_json, value)) + "]"
    else:
        text = _json(value)
    sys.stdout.write(text + "\n")


def _json(value: object) -> str:
    return TypeAdapter(type(value)).dump_json(value).decode()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; text is shown as it is, never read as markup."""
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    table = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


def remark(text: str) -> None:
    """A line for the person, on stderr, so that stdout stays data."""
    sys.stderr.write(text + "\n")


def score_text(score: ComparisonScore | None) -> str:
    """A score with its scale, as every score is shown."""
    return f"{score.value:.1f} ({score.scale.name})" if score else "not given"


def candidate_text(candidate: Candidate) -> str:
    """Who, and how alike, with the model's own score beside it."""
    raw = candidate.raw_score
    beside = f", {raw.value:.3f} {raw.scale.name}" if raw else ""
    who = candidate.subject if candidate.subject is not None else "(no subject)"
    return f"{who}: {score_text(candidate.score)}{beside}"


class FeedProgress:
    """A bar a camera on stderr, where stderr is a terminal; a ``ProgressListener``.

    A frame counts once for each of ``lanes`` backends.
    """

    def __init__(self, *, lanes: int) -> None:
        self._lanes = lanes
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[CameraId, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, camera: CameraId, frames_expected: int | None) -> None:
        total = None if frames_expected is None else frames_expected * self._lanes
        self._tasks[camera] = self._progress.add_task(escape(camera), total=total)

    def frame_done(self, camera: CameraId, backend: str) -> None:
        del backend
        self._progress.advance(self._tasks[camera])
