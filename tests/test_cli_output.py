"""Tables in terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rekadapter.cli.output import table_of

COLUMNS = ("camera", "backend", "identified", "p50/p95 ms", "AWS charges")
ROWS = [
    ["lobby", "rekognition", "Ann, Zoë Šťastná", "120/340", "$0.010"],
    ["yard", "local", "-", "-", "[bold]"],
]


def shown(width: int, rows: list[list[str]] | None = None) -> list[str]:
    file = io.StringIO()
    table = table_of("a run", COLUMNS, ROWS if rows is None else rows, width)
    Console(file=file, width=width).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [54, 60, 80, 140])
def test_where_it_fits_rows_are_lines_and_no_word_is_broken(width: int) -> None:
    text = "\n".join(shown(width))
    assert text.count("lobby") == 1
    for word in ("identified", "rekognition", "Šťastná", "p50/p95", "charges"):
        assert word in text
    assert "┃" in text


@pytest.mark.parametrize("width", [30, 45, 53])
def test_where_words_would_break_cells_stand_below_each_other(width: int) -> None:
    lines = shown(width)
    words = [line.split(None, 1) for line in lines[1:]]
    assert ["camera", "│ lobby"] in words
    assert ["backend", "│ rekognition"] in words
    assert any("p50/p95 ms" in line and "120/340" in line for line in lines)
    assert any("[bold]" in line for line in lines)


@pytest.mark.parametrize("width", [30, 80])
def test_a_table_without_rows_is_a_title(width: int) -> None:
    assert shown(width, [])[0] == "a run"


def test_a_long_address_does_not_make_a_table_wide() -> None:
    rows = [["lobby", "local", "x" * 300, "-", "-"]]
    assert shown(80, rows)[1].startswith("camera")
