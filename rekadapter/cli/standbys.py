"""``--spool``: where the frames of a run's remote backends wait while their uplink is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rekadapter.cli.session import OpenBackend
from rekadapter.errors import UsageError
from rekadapter.uplink.link_watch import LinkWatch, Standby
from rekadapter.uplink.spool import Spool

REMOTE_WORKERS: Final = 4
"""Frames a remote backend is asked about at a time: its round trips overlap."""
_SPOOL_FOLDER: Final = "spool"


def spool_folder(run_directory: Path, place: int) -> Path:
    """Of the backend at a place, from 0, in ``run.json``: a name may not be one for a folder."""
    return run_directory / _SPOOL_FOLDER / f"backend{place + 1}"


def refuse_useless_spool(backends: Sequence[OpenBackend], spool_bytes: int | None) -> None:
    """A spool is for backends that send over an uplink.

    Raises:
        UsageError: one is asked for, and no backend does.
    """
    if spool_bytes is not None and not any(_remote(backend) for backend in backends):
        names = ", ".join(backend.name for backend in backends)
        raise UsageError(f"--spool is for backends that send over an uplink; {names} sends nothing")


@contextmanager
def standbys(
    run_directory: Path,
    backends: Sequence[OpenBackend],
    reachable: Callable[[], bool],
    spool_bytes: int | None,
) -> Iterator[Mapping[str, Standby]]:
    """A spool for each remote backend, by its name, sharing ``spool_bytes`` evenly.

    Raises:
        OutputError: a spool cannot be made.
    """
    remote = sum(_remote(backend) for backend in backends)
    with ExitStack() as stack:
        found = {}
        for place, backend in enumerate(backends):
            if spool_bytes is not None and _remote(backend):
                folder = spool_folder(run_directory, place)
                spool = stack.enter_context(Spool(folder, spool_bytes / remote))
                found[backend.name] = standby_of(spool, reachable)
        yield found
    remove_if_empty(run_directory)


def standby_of(spool: Spool, reachable: Callable[[], bool]) -> Standby:
    """A spool in use; one of the backend's workers is always left for what is fresh."""
    return Standby(spool, LinkWatch(reachable=reachable, most=REMOTE_WORKERS - 1))


def remove_if_empty(run_directory: Path) -> None:
    """The folder of the spools, once nothing waits in any of them."""
    folder = run_directory / _SPOOL_FOLDER
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _remote(backend: OpenBackend) -> bool:
    return backend.recognizer.capabilities.remote
