"""The command line: parse, call one function, render. No error reaches a user as a traceback."""

from __future__ import annotations

import logging
import os
import sys

from rekadapter.errors import RekadapterError

logger = logging.getLogger(__name__)

_IMPORT_HELP = (
    "a library is missing (for libGL on a server: `pip uninstall opencv-python` and then "
    "`pip install opencv-python-headless`): "
)
_INTERRUPTED = 130  # 128 + SIGINT, what shells expect of a command ended by Ctrl-C


def main() -> None:
    """Entry point of the ``rekadapter`` script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code: 0 ok, 1 a negative answer where asked, 2 usage,
    3 backend, 130 interrupted."""
    try:
        return _answered(arguments or ["--help"])
    except RekadapterError as error:
        return _say(error, error.exit_code)
    except BrokenPipeError:
        # the reader of our output went away (`| head`): not an error, and nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line before a user: no traceback
        return _say(error, 3, prefix="internal error, please report it: ")


def _answered(arguments: list[str]) -> int:
    try:
        # what takes long to load comes in here, so that Ctrl-C and missing libraries are said well
        import typer  # noqa: PLC0415

        from rekadapter.cli.app import app  # noqa: PLC0415
    except ImportError as error:
        return _say(error, 2, prefix=_IMPORT_HELP)
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="rekadapter")
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.TyperException as error:
        return _misused(error.format_message())
    return code if isinstance(code, int) else 0


def _misused(message: str) -> int:
    if not message.startswith("Usage:"):
        message = f"error: {message} (try --help)"
    sys.stderr.write(message + "\n")
    return 2


def _say(error: Exception, code: int, prefix: str = "") -> int:
    if os.environ.get("REKADAPTER_DEBUG"):
        logger.error("traceback, as REKADAPTER_DEBUG asks", exc_info=error)
    text = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"error: {prefix}{text}\n")
    return code
