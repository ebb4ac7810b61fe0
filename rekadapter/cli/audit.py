"""``rekadapter audit``: is a run what its log says it was, and what people decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from rekadapter.cli.options import AsJson, number
from rekadapter.cli.output import print_json, remark, show_head
from rekadapter.errors import UsageError
from rekadapter.evaluation.record import EVALUATION_FILE
from rekadapter.sinks.audit import Reviewed, Verdict
from rekadapter.sinks.audit_check import AuditFindings, check_log
from rekadapter.sinks.review_log import ReviewLog
from rekadapter.sinks.run_directory import RUN_FILE, read_run

DOES_NOT_FIT: Final = 1
_SHOWN: Final = 20

audit_app = typer.Typer(
    help="The audit log of a run or an evaluation: check it, add to it.", no_args_is_help=True
)

RunDirectory = Annotated[Path, typer.Argument(help="What run, compare or evaluate wrote.")]


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``audit verify --json`` prints."""

    intact: bool
    findings: AuditFindings


@audit_app.command()
def verify(
    run_directory: RunDirectory,
    head: Annotated[
        str | None,
        typer.Option("--head", help="A head noted elsewhere: the log has to hold it still."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the chain, and every file and line it names (exit code 1: something does not fit)."""
    _refuse_other(run_directory)
    findings = check_log(run_directory, noted=head)
    if as_json:
        print_json(Checked(findings.intact, findings))
    else:
        _show(findings, noted=head is not None)
    if not findings.intact:
        raise typer.Exit(DOES_NOT_FIT)


@audit_app.command()
def review(
    run_directory: RunDirectory,
    backend: Annotated[str, typer.Option("--backend", "-b", help="Whose answer.")],
    camera: Annotated[str, typer.Option("--camera", help="On which camera.")],
    track: Annotated[int, number("--track", low=0, high=2**53, about="About which track.")],
    verdict: Annotated[Verdict, typer.Option("--verdict", help="What you make of it.")],
    by: Annotated[str, typer.Option("--by", help="Who decides: a name or a number.")],
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
) -> None:
    """Record what a person decides about a track; nothing in the run itself is changed."""
    known = {(one.backend, one.camera, one.track) for one in read_run(run_directory).tracks}
    if (backend, camera, track) not in known:
        raise UsageError(
            f"{run_directory} holds no track {track} of camera {camera} by {backend}: the report "
            "numbers them"
        )
    decision = Reviewed(backend, camera, track, verdict, by, note)
    show_head(ReviewLog(run_directory).add([decision]))


def _refuse_other(directory: Path) -> None:
    if not any((directory / name).is_file() for name in (RUN_FILE, EVALUATION_FILE)):
        raise UsageError(f"{directory} holds no run and no evaluation: give what --out named")


def _show(findings: AuditFindings, *, noted: bool) -> None:
    head = findings.head
    for misfit in findings.misfits[:_SHOWN]:
        place = "the log" if misfit.record is None else f"record {misfit.record}"
        typer.echo(f"{place}: {misfit.why}")
    if (more := len(findings.misfits) - _SHOWN) > 0:
        typer.echo(f"and {more:,} more")
    if findings.intact:
        typer.echo(f"intact: {head.records} records, and every file and line they name")
    typer.echo(f"head: {head.sha256}")
    if findings.intact and not noted:
        remark(
            "no part was changed by itself; that the log was not written anew as a whole, or cut "
            "short, only a head noted elsewhere can show (--head)"
        )
