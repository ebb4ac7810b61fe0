"""``rekadapter models list|pull|verify``: local model packs and their licences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from rekadapter.backends.local.packs import PackStatus, list_packs, pull_pack, verify_pack
from rekadapter.cli.options import AsJson
from rekadapter.cli.output import print_json, print_table, remark
from rekadapter.cli.session import Session

FAILED = 1

models_app = typer.Typer(help="List, fetch and verify local model packs.", no_args_is_help=True)

PackName = Annotated[str, typer.Argument(help="A pack, as `models list` names it.")]


@models_app.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """Every known pack, its licences, and whether it is on this machine."""
    session: Session = context.obj
    _show(list_packs(session.settings.cache_dir), as_json=as_json)


@models_app.command("pull")
def pull(
    context: typer.Context,
    pack: PackName,
    accept_license: Annotated[
        bool,
        typer.Option("--accept-license", help="I have read the weights' licence and accept it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a pack to this machine; non-commercial weights ask for --accept-license first."""
    session: Session = context.obj
    _show(
        [pull_pack(pack, session.settings.cache_dir, accept_license=accept_license)],
        as_json=as_json,
    )


@models_app.command("verify")
def verify(context: typer.Context, pack: PackName, as_json: AsJson = False) -> None:
    """Hold a pack's files against their hashes (exit code 1: they differ or are missing)."""
    session: Session = context.obj
    status = verify_pack(pack, session.settings.cache_dir)
    _show([status], as_json=as_json)
    if not status.verified:
        raise typer.Exit(FAILED)


def _show(packs: Sequence[PackStatus], *, as_json: bool) -> None:
    if as_json:
        print_json(list(packs))
        return
    columns = (
        "pack",
        "on this machine",
        "verified",
        "estimates",
        "commercial use",
        "weights' licence",
    )
    print_table("model packs", columns, [_row(status) for status in packs])
    for status in packs:
        if status.problem:
            remark(f"{status.manifest.name}: {status.problem}")


def _row(status: PackStatus) -> tuple[object, ...]:
    manifest = status.manifest
    return (
        manifest.name,
        "yes" if status.installed else "no",
        {True: "yes", False: "NO", None: "-"}[status.verified],
        ", ".join(status.estimates) or "-",
        "yes" if manifest.commercial_use else "NO",
        manifest.weights_license,
    )
