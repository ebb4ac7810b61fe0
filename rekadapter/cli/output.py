"""What commands print: tables for people, JSON for programs; progress and remarks on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rekadapter.sinks.audit import Head
from rekadapter.types import Candidate, ComparisonScore

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


def show_head(head: Head | None) -> None:
    """The head of an audit log, so that it can be noted where nobody who edits the log reaches."""
    if head is not None:
        remark(f"audit log: {head.records} records, head {head.sha256} (note it elsewhere)")


def score_text(score: ComparisonScore | None) -> str:
    """A score with its scale, as every score is shown."""
    return f"{score.value:.1f} ({score.scale.name})" if score else "not given"


def candidate_text(candidate: Candidate) -> str:
    """Who, and how alike, with the model's own score beside it."""
    raw = candidate.raw_score
    beside = f", {raw.value:.3f} {raw.scale.name}" if raw else ""
    who = candidate.subject if candidate.subject is not None else "(no subject)"
    return f"{who}: {score_text(candidate.score)}{beside}"
