"""The commands, gathered."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rekadapter import __version__
from rekadapter.cli import (
    audit,
    demo,
    doctor,
    evaluate,
    galleries,
    images,
    models,
    plan,
    review,
    runs,
    serve,
    spool,
    survey,
    video,
)
from rekadapter.cli.options import ConfigFile
from rekadapter.cli.session import Session


class _Commands(TyperGroup):
    """typer turns Ctrl-C into an exit without a word; as an abort it gets to who says it."""

    def invoke(self, ctx: Any) -> object:  # noqa: ANN401 - the context's class is not public
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise typer.Abort from error


app = typer.Typer(
    name="rekadapter",
    cls=_Commands,
    help="AWS Rekognition face collections and local face recognition behind one interface.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rekadapter {__version__}")
        raise typer.Exit


@app.callback()
def settle(
    context: typer.Context,
    config: ConfigFile = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more; twice for debug.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Settings and logging, before any command."""
    del version
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("rekadapter").setLevel(level)
    context.obj = Session.start(config)


app.command()(demo.demo)
app.command()(images.detect)
app.command()(images.verify)
app.command()(images.identify)
app.command()(video.search_video)
app.command()(galleries.enroll)
app.command()(runs.run)
app.command()(runs.compare)
app.command()(evaluate.evaluate)
app.command()(runs.report)
app.command()(review.review)
app.command()(survey.survey)
app.command()(plan.plan)
app.add_typer(audit.audit_app, name="audit")
app.add_typer(spool.spool_app, name="spool")
app.add_typer(galleries.gallery_app, name="gallery")
app.command()(doctor.doctor)
app.command()(serve.serve)
app.add_typer(models.models_app, name="models")
