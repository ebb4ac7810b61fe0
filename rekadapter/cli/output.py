"""What commands print: tables for people, JSON for programs; progress and remarks on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import TypeAdapter
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rekadapter.observation import ThresholdOrigin
from rekadapter.sinks.audit import Head
from rekadapter.types import Candidate, ComparisonScore

_PIPED_WIDTH: Final = 120
"""Columns of a table that goes into a file or another program."""
_BETWEEN: Final = 3
"""Columns that a table puts between two cells."""
_BREAKS: Final = 20
"""Longer words are addresses and digests, which may be broken."""


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
    cells = [[str(cell) for cell in row] for row in rows]
    console.print(table_of(title, columns, cells, console.width))


def table_of(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Table:
    """A table for a terminal of so many columns. Where that would break words, the cells of a row
    stand below each other, each behind its column's name."""
    table = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
    words = _longest_words(columns, rows)
    if sum(words) + _BETWEEN * (len(columns) - 1) < width:
        for column, narrowest in zip(columns, words, strict=True):
            table.add_column(column, overflow="fold", min_width=narrowest)
        for row in rows:
            table.add_row(*map(escape, row))
        return table
    table.show_header = False
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        for name, cell in zip(columns, row, strict=True):
            table.add_row(escape(name), escape(cell))
        table.add_section()
    return table


def _longest_words(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column in which no word is broken."""
    return [
        max(_longest_word(cell) for cell in (name, *(row[place] for row in rows)))
        for place, name in enumerate(columns)
    ]


def _longest_word(cell: str) -> int:
    return max((min(cell_len(word), _BREAKS) for word in cell.split()), default=0)


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


def threshold_words(value: float, origin: ThresholdOrigin | None) -> str:
    """A threshold and where it comes from, as every threshold in force is shown."""
    where = origin.words if origin else "where it comes from was not recorded"
    return f"threshold {value:.6g}, {where}"


def candidate_text(candidate: Candidate) -> str:
    """Who, and how alike, with the model's own score beside it."""
    raw = candidate.raw_score
    beside = f", {raw.value:.3f} {raw.scale.name}" if raw else ""
    who = candidate.subject if candidate.subject is not None else "(no subject)"
    return f"{who}: {score_text(candidate.score)}{beside}"
