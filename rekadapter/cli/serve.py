"""``rekadapter serve``: any backend behind Rekognition's own wire contract."""

from __future__ import annotations

from typing import Annotated

import typer

from rekadapter.cli.options import BackendName
from rekadapter.cli.output import remark
from rekadapter.cli.session import Session
from rekadapter.rekognition_api.server import create_app, serve_forever
from rekadapter.rekognition_api.service import RekognitionService


def serve(
    context: typer.Context,
    backend: BackendName = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8714,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow an address that other machines can reach."),
    ] = False,
) -> None:
    """Serve a backend as AWS Rekognition, for any AWS SDK; ends with Ctrl-C."""
    session: Session = context.obj
    with session.backend(backend) as opened:
        app = create_app(RekognitionService(opened.recognizer))
        url = f"http://{host}:{port}"
        remark(f"serving {opened.name} as AWS Rekognition: AWS_ENDPOINT_URL_REKOGNITION={url}")
        serve_forever(app, host, port, insecure=insecure)
