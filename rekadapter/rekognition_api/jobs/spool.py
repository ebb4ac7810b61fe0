"""Room on disk for the videos under analysis, never more than a quota."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rekadapter.errors import ConfigError, OutputError, StoppedError
from rekadapter.rekognition_api.context import S3Location, S3ObjectError
from rekadapter.rekognition_api.objects import ObjectStore

_PREFIX: Final = "video-"


class Spool:
    """Files of at most ``quota_bytes`` together; who finds no room waits for it.

    ``directory`` has to be this service's own: what an earlier one left there is removed. ``stop``,
    once set, ends every wait (after ``wake``) and every copy with a ``StoppedError``.

    Raises:
        ConfigError: the directory cannot be used.
    """

    def __init__(self, directory: Path, *, quota_bytes: int, stop: threading.Event) -> None:
        if quota_bytes < 1:
            raise ConfigError("the room for videos needs at least one byte")
        self._directory = directory
        self._quota = quota_bytes
        self._stop = stop
        self._room = threading.Condition()
        self._held = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in directory.glob(f"{_PREFIX}*"):
                left.unlink()
        except OSError as error:
            raise ConfigError(f"{directory} cannot hold videos: {error.strerror}") from error

    @contextmanager
    def copy(self, objects: ObjectStore, location: S3Location) -> Iterator[Path]:
        """The object as a file of its own for the length of the block.

        Raises:
            S3ObjectError: it cannot be read, or grew meanwhile.
            OutputError: it can never fit, or cannot be written.
            StoppedError: the service stops.
        """
        size = objects.size(location)
        with self._reserved(size), self._file() as path:
            _fill(path, self._chunks(objects, location, size))
            yield path

    def wake(self) -> None:
        """Has those who wait look at ``stop`` again."""
        with self._room:
            self._room.notify_all()

    @contextmanager
    def _reserved(self, size: int) -> Iterator[None]:
        if size > self._quota:
            raise OutputError(
                f"a video of {size} bytes does not fit in the {self._quota} bytes set aside"
            )
        with self._room:
            self._room.wait_for(lambda: self._stop.is_set() or self._held + size <= self._quota)
            self._check_stop()
            self._held += size
        try:
            yield
        finally:
            with self._room:
                self._held -= size
                self._room.notify_all()

    @contextmanager
    def _file(self) -> Iterator[Path]:
        try:
            descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=_PREFIX)
        except OSError as error:
            raise OutputError(f"no file for a video can be made: {error.strerror}") from error
        os.close(descriptor)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _chunks(self, objects: ObjectStore, location: S3Location, size: int) -> Iterator[bytes]:
        read = 0
        for chunk in objects.chunks(location):
            self._check_stop()
            read += len(chunk)
            if read > size:
                raise S3ObjectError(f"an object of bucket {location.bucket} grew meanwhile")
            yield chunk

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("the service stops")


def _fill(path: Path, chunks: Iterator[bytes]) -> None:
    """Errors of the reader come as its own kinds, so an OSError is the writer's."""
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise OutputError(f"a video cannot be written: {error.strerror}") from error
