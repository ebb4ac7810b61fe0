"""Files that are there whole or not at all, and room kept free for those that come last."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from rekadapter.errors import OutputError

RESERVED_FILE: Final = ".reserved"
RESERVED_BYTES: Final = 64 * 1024
"""What the end of a run takes: how it ended, its last record in the audit log, its counts."""


def write_whole(path: Path, data: bytes) -> Path:
    """The whole file or, if the machine stops or the disk is full, the one that was there before.

    Raises:
        OutputError: it cannot be written; nothing half written is left.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise cannot_write(path, error) from error
    return path


def reserve_room(directory: Path) -> None:
    """Takes room on the disk for the end, until ``release_room``.

    Raises:
        OutputError: there is not even that much.
    """
    write_whole(directory / RESERVED_FILE, bytes(RESERVED_BYTES))


def release_room(directory: Path) -> None:
    """Gives the room back, where it was taken."""
    with contextlib.suppress(OSError):
        (directory / RESERVED_FILE).unlink()


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error that says what cannot be written, why, and what helps."""
    return OutputError(
        f"{path} cannot be written ({error.strerror}): free space there or name another directory "
        "with --out"
    )
