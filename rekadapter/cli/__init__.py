"""The command line: parse, call one function, render. No error reaches a user as a traceback."""

from __future__ import annotations

import logging
import os
import sys

import typer

from rekadapter.cli.app import app
from rekadapter.errors import RekadapterError

logger = logging.getLogger(__name__)

INTERRUPTED = 130
"""128 + SIGINT, what shells expect of a command ended by Ctrl-C."""


def main() -> None:
    """Entry point of the ``rekadapter`` script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code: 0 ok, 1 a negative answer where asked, 2 usage,
    3 backend."""
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="rekadapter")
    except typer.TyperException as error:
        sys.stderr.write(f"error: {error.format_message()} (see `rekadapter --help`)\n")
        return 2
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except RekadapterError as error:
        _say(error)
        return error.exit_code
    except BrokenPipeError:
        # the reader of our output went away (`| head`): not an error, and nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line before a user: no traceback
        _say(error, prefix="internal error, please report it: ")
        return 3
    return code if isinstance(code, int) else 0


def _say(error: Exception, prefix: str = "") -> None:
    if os.environ.get("REKADAPTER_DEBUG"):
        logger.error("traceback, as REKADAPTER_DEBUG asks", exc_info=error)
    text = " ".join(str(error).split()) or type(error).__name__
    sys.stderr.write(f"error: {prefix}{text}\n")
