"""Objects that requests name by bucket and key: out of a directory, or from an S3 endpoint.

Both readers give whole images and streams of video. A directory stands for S3 with one folder to a
bucket; nothing outside it is ever opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast, runtime_checkable

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rekadapter.errors import ConfigError, ConnectionFailedError, ThrottledError
from rekadapter.rekognition_api.context import S3Location, S3ObjectError, S3Reader

CHUNK_BYTES: Final = 1 << 20
_UNVERSIONED: Final = "null"
"""S3's own version id of an object in a bucket without versions."""
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 30
_ATTEMPTS: Final = 3
_THROTTLED: Final = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "503"}
)


@runtime_checkable
class ObjectStore(S3Reader, Protocol):
    """An ``S3Reader`` that also streams. Safe to call from several threads."""

    def size(self, location: S3Location) -> int:
        """Bytes of the object, without reading it.

        Raises:
            S3ObjectError: missing, or not readable.
        """
        ...

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """The object, at most ``CHUNK_BYTES`` at a time; closing the iterator lets it go.

        Raises:
            S3ObjectError: missing, or not readable.
        """
        ...


def in_chunks(data: bytes) -> Iterator[bytes]:
    """An object that is in memory already, as ``ObjectStore.chunks`` gives it."""
    return (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))


# --- a directory ------------------------------------------------------------------------------


class DirectoryObjects:
    """Buckets as folders of ``root``: ``root/BUCKET/KEY``, a ``/`` in the key being a folder.

    Keys with ``.``, ``..`` or an empty part name nothing, symbolic links are not followed at any
    place below the root, and only regular files are read.

    Raises:
        ConfigError: the root is no directory.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise ConfigError(f"{root} is no directory: give the folder that holds the buckets")
        self._root = root.resolve()

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        """See ``S3Reader``."""
        with self._opened(location) as file, _read_errors(location):
            return file.read(max_bytes + 1)

    def size(self, location: S3Location) -> int:
        """See ``ObjectStore``."""
        with self._opened(location) as file:
            return os.fstat(file.fileno()).st_size

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """See ``ObjectStore``."""
        with self._opened(location) as file, _read_errors(location):
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _opened(self, location: S3Location) -> Iterator[BinaryIO]:
        parts = [location.bucket, *location.key.split("/")]
        if location.version not in {None, _UNVERSIONED} or not all(map(_names_a_file, parts)):
            raise _unreadable(location)
        try:
            descriptor = _open_below(self._root, parts)
        except OSError as error:
            raise _unreadable(location) from error
        with os.fdopen(descriptor, "rb") as file:
            yield file


def _names_a_file(part: str) -> bool:
    return part not in {"", ".", ".."} and "\0" not in part and "/" not in part


def _open_below(root: Path, parts: list[str]) -> int:
    """Opens step by step from folder to folder, so that no link or rename can lead elsewhere."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        # without O_NONBLOCK, opening a named pipe would wait for its writer
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        return _regular(os.open(parts[-1], flags, dir_fd=folder))
    except ValueError as error:  # a lone surrogate, which no file name can have
        raise FileNotFoundError(str(error)) from error
    finally:
        os.close(folder)


def _regular(descriptor: int) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError("not a regular file")
    return descriptor


@contextmanager
def _read_errors(location: S3Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(location) from error


# --- S3 ---------------------------------------------------------------------------------------


class S3Client(Protocol):
    """What is used of boto3's S3 client."""

    def head_object(self, **members: str) -> Mapping[str, Any]: ...
    def get_object(self, **members: str) -> Mapping[str, Any]: ...
    def close(self) -> None: ...


class BotoObjects:
    """Objects from S3 or anything that speaks its protocol, with the service's own credentials.

    ``buckets``, where given, are the only ones that requests may name: the service reads on behalf
    of callers whose own rights in S3 it cannot know.
    """

    def __init__(self, client: S3Client, *, buckets: frozenset[str] | None = None) -> None:
        self._client = client
        self._buckets = buckets

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        """See ``S3Reader``."""
        with self._body(location) as body, _s3_errors(location):
            return cast("bytes", body.read(max_bytes + 1))

    def size(self, location: S3Location) -> int:
        """See ``ObjectStore``."""
        return int(self._ask(self._client.head_object, location)["ContentLength"])

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """See ``ObjectStore``."""
        with self._body(location) as body, _s3_errors(location):
            while chunk := body.read(CHUNK_BYTES):
                yield chunk

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()

    @contextmanager
    def _body(self, location: S3Location) -> Iterator[Any]:
        body = self._ask(self._client.get_object, location)["Body"]
        try:
            yield body
        finally:
            body.close()

    def _ask(
        self, operation: Callable[..., Mapping[str, Any]], location: S3Location
    ) -> Mapping[str, Any]:
        if self._buckets is not None and location.bucket not in self._buckets:
            raise _unreadable(location)
        members = {"Bucket": location.bucket, "Key": location.key}
        if location.version is not None:
            members["VersionId"] = location.version
        with _s3_errors(location):
            return operation(**members)


def open_s3(
    endpoint_url: str | None = None,
    *,
    region: str | None = None,
    buckets: frozenset[str] | None = None,
) -> BotoObjects:
    """S3 at an endpoint (None: AWS's own), with credentials found as boto3 finds them.

    Raises:
        ConfigError: no region is set anywhere, or the endpoint is no URL.
    """
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        # other makers of S3 take buckets as a path, not as a host
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    try:
        made = boto3.Session().client(
            "s3", endpoint_url=endpoint_url, region_name=region, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"no S3 client can be made: {error}") from error
    return BotoObjects(cast("S3Client", made), buckets=buckets)


@contextmanager
def _s3_errors(location: S3Location) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _THROTTLED:
            raise ThrottledError("S3 asks to slow down: try again later") from error
        raise _unreadable(location) from error
    except BotoCoreError as error:
        raise ConnectionFailedError(
            "the S3 endpoint gave no answer: check --s3-endpoint and the credentials"
        ) from error


def _unreadable(location: S3Location) -> S3ObjectError:
    return S3ObjectError(f"no object {location.key!r} that can be read in bucket {location.bucket}")
