"""Writes the generated pages: docs/cli.md from the commands' own help, docs/coverage.md from the
operations served. `make docs` runs it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.main import get_command

from rekadapter.cli.app import app
from rekadapter.evaluation.results import report_schema

CLI_PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 96
_EXIT_CODES = (
    ("0", "Done. Also where nobody was found, where single frames or searches failed (they are "
     "counted), and where `report` wrote that a run was interrupted or is damaged."),
    ("1", "The answer is no, where one was asked for: `verify` finds no match, `enroll` could not "
     "enroll somebody, `search-video` has no result yet, `gallery sync` could not move everybody, "
     "`doctor` found something amiss, `audit verify` found what does not fit."),
    ("2", "You can put it right: an option, a name, a file. Also a run of which no frame could be "
     "read."),
    ("3", "The backend or this machine failed: no answer, refused credentials, a full disk. Also a "
     "run or an evaluation in which a backend answered nothing at all."),
    ("130", "Interrupted (Ctrl-C); what was done until then is kept."),
)  # fmt: skip


def cli_reference() -> str:
    """The page docs/cli.md: every command with its help."""
    parts = [
        "# Command line\n",
        "Generated from the commands' own help by `make docs`; do not edit.\n",
        "Data goes to stdout (`--json` for programs), progress, remarks and errors to stderr.\n",
        "| exit code | when |\n|---|---|",
        "".join(f"| {code} | {when} |\n" for code, when in _EXIT_CODES),
    ]
    command = get_command(app)
    context = typer.Context(command, info_name="rekadapter", terminal_width=_WIDTH)
    for path, text in _helps(context):
        parts.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _helps(context: typer.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, context.get_help()
    for name, command in sorted(getattr(context.command, "commands", {}).items()):
        yield from _helps(
            typer.Context(command, info_name=name, parent=context, terminal_width=_WIDTH)
        )


if __name__ == "__main__":
    CLI_PAGE.write_text(cli_reference(), encoding="utf-8")
    CLI_PAGE.with_name("report.schema.json").write_text(report_schema(), encoding="utf-8")
    runpy.run_path(str(CLI_PAGE.with_name("api_coverage.py")), run_name="__main__")
