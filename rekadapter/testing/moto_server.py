"""``rekadapter-moto-server``: moto's server with face collections, for SDKs of any language."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rekadapter.errors import ConfigError, RekadapterError
from rekadapter.testing.rekognition import install


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is stopped. All options but our own are moto's: see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="rekadapter-moto-server",
        description="moto's server with stateful Rekognition face collections.",
        epilog="Every other option is moto's own: -H HOST, -p PORT, -s for TLS.",
    )
    parser.add_argument(
        "--compare-faces",
        action="store_true",
        help="compare the faces that are declared or drawn, instead of moto's canned answer",
    )
    parser.add_argument(
        "--search-videos",
        action="store_true",
        help="search stored videos in moto's S3, instead of moto's canned StartFaceSearch",
    )
    own, for_moto = parser.parse_known_args(arguments)
    chosen = {"CompareFaces"} if own.compare_faces else set()
    if own.search_videos:
        chosen |= {"StartFaceSearch", "GetFaceSearch"}
    try:
        install(own_answers=chosen)
        _serve(for_moto)
    except RekadapterError as error:
        sys.exit(f"rekadapter-moto-server: {error}")


def _serve(arguments: Sequence[str]) -> None:
    try:
        from moto.server import main as serve_moto  # noqa: PLC0415 - optional, and only for this
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'no module {error.name!r}: pip install "moto[server]" brings moto\'s server'
        ) from error
    serve_moto(list(arguments) or ["-H", "127.0.0.1"])  # its default; an empty list means sys.argv
