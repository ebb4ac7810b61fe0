"""``rekadapter serve``: any backend behind Rekognition's own wire contract."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from rekadapter.cli.background import (
    JobsDirectory,
    S3Buckets,
    S3Directory,
    S3Endpoint,
    S3Region,
    SnsEndpoint,
    StreamsFile,
    VideoFps,
    video_settings,
)
from rekadapter.cli.options import BackendName, number
from rekadapter.cli.output import remark
from rekadapter.cli.session import Session
from rekadapter.cli.shadowing import (
    ShadowBytes,
    ShadowBytesInAll,
    ShadowLogFile,
    ShadowMirror,
    ShadowName,
    ShadowOptions,
    ShadowUsd,
    ShadowUsdInAll,
    shadowed,
)
from rekadapter.errors import UsageError
from rekadapter.recognizer import Recognizer, stored_video_of
from rekadapter.rekognition_api.context import ServiceSettings
from rekadapter.rekognition_api.jobs.opening import BackgroundOptions, OpenedBackground
from rekadapter.rekognition_api.keys import KeyRing, keys_from_environment, read_keys
from rekadapter.rekognition_api.namespaces import Home
from rekadapter.rekognition_api.server import ServerSettings, TlsFiles, create_app, serve_forever
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.rekognition_api.tags import SqliteTags

TAGS_FILE: Final = "rekognition-tags.sqlite3"
PROCESSORS_FILE: Final = "rekognition-processors.sqlite3"


def serve(
    context: typer.Context,
    backend: BackendName = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, number("--port", low=0, high=65535, about="Port to listen on; 0 takes a free one.")
    ] = 8714,
    keys: Annotated[
        Path | None,
        typer.Option(help="Access keys and what each may do; requests have to be signed."),
    ] = None,
    home: Annotated[
        str | None,
        typer.Option(
            help="ACCOUNT/REGION whose collections are the galleries with plain names; accounts "
            "and regions see their own only. With keys: their account, if it is one, and us-east-1."
        ),
    ] = None,
    one_namespace: Annotated[
        bool,
        typer.Option("--one-namespace", help="All accounts and regions see the same galleries."),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate with its chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="The certificate's private key, PEM.")
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Origin whose web pages may call; again for more than one."),
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Answer GET /metrics, for Prometheus.")
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow an address that others reach, without keys or TLS."),
    ] = False,
    shadow: ShadowName = None,
    shadow_log: ShadowLogFile = None,
    shadow_bytes_per_hour: ShadowBytes = None,
    shadow_usd_per_hour: ShadowUsd = None,
    shadow_bytes_total: ShadowBytesInAll = None,
    shadow_usd_total: ShadowUsdInAll = None,
    shadow_mirror: ShadowMirror = False,
    s3_directory: S3Directory = None,
    s3_endpoint: S3Endpoint = None,
    s3_bucket: S3Buckets = None,
    s3_region: S3Region = None,
    sns_endpoint: SnsEndpoint = None,
    jobs_directory: JobsDirectory = None,
    video_fps: VideoFps = None,
    streams: StreamsFile = None,
) -> None:
    """Serve a backend as AWS Rekognition, for any AWS SDK; ends with Ctrl-C."""
    session: Session = context.obj
    ring = _keys(keys)
    separated = _home(ring, home, one_namespace)
    settings = ServerSettings(keys=ring, cors_origins=tuple(cors or ()), metrics=metrics)
    tls = _tls(tls_cert, tls_key)
    shadowing = ShadowOptions(
        name=shadow,
        log=shadow_log,
        bytes_per_hour=shadow_bytes_per_hour,
        usd_per_hour=shadow_usd_per_hour,
        bytes_in_all=shadow_bytes_total,
        usd_in_all=shadow_usd_total,
        mirror=shadow_mirror,
    )
    background = BackgroundOptions(
        s3_directory=s3_directory,
        s3_endpoint=s3_endpoint,
        s3_buckets=frozenset(s3_bucket or ()),
        sns_endpoint=sns_endpoint,
        region=s3_region,
        streams_file=streams,
        processors_file=session.settings.data_dir / PROCESSORS_FILE,
        video=video_settings(jobs_directory, video_fps),
    )
    with (
        session.backend(backend) as opened,
        shadowed(session, opened, shadowing) as recognizer,
        closing(SqliteTags(session.settings.data_dir / TAGS_FILE)) as tags,
        OpenedBackground(_on(background, recognizer)) as jobs,
    ):

        def announce(url: str) -> None:
            remark(f"serving {opened.name} as AWS Rekognition: AWS_ENDPOINT_URL_REKOGNITION={url}")
            if ring is None:
                remark("signatures are not checked: whoever reaches it may do everything")
            if jobs.background is not None and jobs.background.remote is not None:
                remark(f"jobs on stored video go to {opened.name}, which bills them")
            if separated is not None:
                remark(
                    f"galleries with plain names belong to {separated} (--home); accounts and "
                    "regions see their own only"
                )

        service = RekognitionService(
            recognizer,
            settings=ServiceSettings(home=separated),
            s3=jobs.objects,
            tags=tags,
            background=jobs.background,
        )
        app = create_app(service, settings)
        serve_forever(app, host, port, tls=tls, insecure=insecure, announce=announce)


def _keys(file: Path | None) -> KeyRing | None:
    """A flag wins over the environment."""
    return read_keys(file) if file else keys_from_environment(os.environ)


def _home(ring: KeyRing | None, named: str | None, one: bool) -> Home | None:
    """Nobody is told apart by claims that nobody checks, unless asked for."""
    if named is not None and one:
        raise UsageError("--home tells accounts and regions apart, --one-namespace does not")
    if named is not None:
        return Home.parse(named)
    if ring is None or one:
        return None
    only = next(iter(ring.accounts)) if len(ring.accounts) == 1 else None
    shipped = ServerSettings()
    return Home(only or shipped.account, shipped.region)


def _on(options: BackgroundOptions, recognizer: Recognizer) -> BackgroundOptions:
    return replace(options, backend_takes_jobs=stored_video_of(recognizer) is not None)


def _tls(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("--tls-cert and --tls-key go together")
    return TlsFiles(certificate, key)
