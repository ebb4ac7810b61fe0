"""How an image reaches Rekognition: inside the request, or through a bucket of the user's.

Inside the request it travels as base64, 4 bytes for 3. Through a bucket it travels as it is, and
two more requests go with it: PutObject before and DeleteObject after the one that names it. So it
pays off from some size on.

An image in a bucket is a picture of people. Each has a key of its own that nobody can guess and is
deleted as soon as the request that names it is over, however that ended, also when the run is
stopped. One that cannot be deleted is logged, tried again after the next that can, and told when
the backend is closed. Where deleting is refused, no further image is put.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from rekadapter.backends.rekognition.calls import Caller, Request, Tally
from rekadapter.backends.rekognition.images import ImageLimits, sendable
from rekadapter.errors import AccessDeniedError, RekadapterError, StoppedError
from rekadapter.imaging import Image

logger = logging.getLogger(__name__)

_KEY_BYTES: Final = 16
"""Random bytes of a key: as many as a UUID has, and all of them random."""

DELETE_SECONDS: Final = 5.0
"""How long deleting is tried at a time: what is left then is tried again after the next image, and
nobody waits for it while the uplink is gone."""


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where images are put, and from which size on. ``encryption`` and ``kms_key_id`` are S3's own
    words; None leaves them to the bucket's default."""

    bucket: str
    prefix: str
    from_bytes: int
    encryption: str | None = None
    kms_key_id: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def headers(self) -> dict[str, str]:
        """PutObject's parameters for encryption."""
        given = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object in the bucket; ``version`` where the bucket keeps versions."""

    key: str
    version: str | None = None


class ImageBucket:
    """Puts images into a bucket and takes them out again; safe to use from several threads."""

    def __init__(
        self, putting: Caller, deleting: Caller, place: BucketPlace, *, stop: threading.Event
    ) -> None:
        """Both callers have the same client; ``deleting`` shall give up soon, as another try comes.
        ``stop`` ends a run: images are deleted all the same, without waiting for the uplink."""
        self._putting = putting
        self._deleting = deleting
        self._place = place
        self._stop = stop
        self._lock = threading.Lock()
        self._left: deque[_Stored] = deque()
        self._refused: AccessDeniedError | None = None
        self._versions_told = False

    @property
    def place(self) -> BucketPlace:
        return self._place

    @property
    def left_behind(self) -> int:
        """Images that could not be deleted so far."""
        with self._lock:
            return len(self._left)

    @contextmanager
    def holding(self, data: bytes) -> Iterator[dict[str, str]]:
        """``data`` as an ``S3Object`` that is there as long as the block runs.

        Raises:
            ConfigError: no such bucket, or one of another region.
            AccessDeniedError: the identity may not put images there, or not delete them.
            BackendError: S3 cannot take it.
        """
        self._refuse_what_would_stay()
        stored, tally = _Stored(self._place.prefix + secrets.token_hex(_KEY_BYTES)), Tally()
        try:
            stored = self._put(stored, data, tally)
            named = {"Bucket": self._place.bucket, "Name": stored.key}
            yield named if stored.version is None else {**named, "Version": stored.version}
        finally:
            if tally.maybe_done:
                self._delete_with_those_left(stored)

    def close(self) -> None:
        """A last try for what was left behind, and a word about the rest. May be called twice."""
        if self._next_left_is_deleted():
            self._delete_those_left()
        left = self.left_behind
        if left:
            logger.error(
                "%d images of people are left in %s and could not be deleted: delete them there, "
                "and give the bucket a lifecycle rule that expires this prefix",
                left,
                self._place,
            )
        self._putting.close()

    def _put(self, stored: _Stored, data: bytes, tally: Tally) -> _Stored:
        parameters = {**self._named(stored), "Body": data, **self._place.headers}
        answer = self._putting.call(
            Request("PutObject", parameters, f"bucket '{self._place.bucket}'"), tally
        )
        version = answer.data.get("VersionId")
        if version is None:
            return stored
        self._tell_of_versions()
        return _Stored(stored.key, str(version))

    def _named(self, stored: _Stored) -> dict[str, Any]:
        named = {"Bucket": self._place.bucket, "Key": stored.key}
        return named if stored.version is None else {**named, "VersionId": stored.version}

    def _tell_of_versions(self) -> None:
        with self._lock:
            told, self._versions_told = self._versions_told, True
        if not told:
            logger.warning(
                "bucket '%s' keeps versions: an image that had to be put twice leaves one behind. "
                "Use a bucket without versions, or expire noncurrent versions by a lifecycle rule",
                self._place.bucket,
            )

    def _refuse_what_would_stay(self) -> None:
        with self._lock:
            refused = self._refused
        if refused is not None:
            raise AccessDeniedError(
                f"no image is put into {self._place} any more, because it could not be deleted "
                f"there: {refused}"
            ) from refused

    def _delete_with_those_left(self, stored: _Stored) -> None:
        if self._deleted(stored):
            self._delete_those_left()

    def _delete_those_left(self) -> None:
        while self._next_left_is_deleted():
            pass

    def _next_left_is_deleted(self) -> bool:
        with self._lock:
            stored = self._left.popleft() if self._left else None
        return stored is not None and self._deleted(stored)

    def _deleted(self, stored: _Stored) -> bool:
        try:
            self._delete(stored)
        except RekadapterError as error:
            self._keep_in_mind(stored, error)
            return False
        return True

    def _delete(self, stored: _Stored) -> None:
        request = Request("DeleteObject", self._named(stored), f"bucket '{self._place.bucket}'")
        if not self._stop.is_set():
            try:
                self._deleting.call(request)
            except StoppedError:
                logger.debug("stopped while an image was to be deleted: it is deleted at once")
            else:
                return
        self._deleting.call(request, paced=False)

    def _keep_in_mind(self, stored: _Stored, error: RekadapterError) -> None:
        with self._lock:
            self._left.append(stored)
            left = len(self._left)
            if isinstance(error, AccessDeniedError):
                self._refused = error
        logger.warning(
            "an image of people could not be deleted and is left at s3://%s/%s (%d left so far): "
            "%s",
            self._place.bucket,
            stored.key,
            left,
            error,
        )


class ImageTransport:
    """Makes an image the ``Image`` member of a request, for as long as that request takes."""

    def __init__(self, limits: ImageLimits, bucket: ImageBucket | None = None) -> None:
        self._limits = limits
        self._bucket = bucket

    @contextmanager
    def sent(self, image: Image) -> Iterator[Mapping[str, Any]]:
        """``image`` as ``{"Bytes": ...}`` or ``{"S3Object": ...}``.

        Raises:
            ImageTooSmallError, ImageTooLargeError, InvalidImageError: see ``sendable``.
            BackendError: it could not be put into the bucket; see ``ImageBucket.holding``.
        """
        data = sendable(image, self._limits)
        if self._bucket is None or len(data) < self._bucket.place.from_bytes:
            yield {"Bytes": data}
            return
        with self._bucket.holding(data) as named:
            yield {"S3Object": named}

    @property
    def described(self) -> str:
        """For reports."""
        if self._bucket is None:
            return "inside the request, as base64"
        place = self._bucket.place
        return f"through {place} from {place.from_bytes} bytes on, else inside the request"

    def close(self) -> None:
        """Lets the bucket go, if there is one. May be called twice."""
        if self._bucket is not None:
            self._bucket.close()
