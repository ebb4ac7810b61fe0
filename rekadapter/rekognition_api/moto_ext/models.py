"""Rekognition's state within moto: one service to an account and region."""

from __future__ import annotations

import threading

import moto.rekognition
from moto.core.base_backend import BackendDict
from moto.rekognition.models import RekognitionBackend
from moto.s3.exceptions import S3ClientError
from moto.s3.models import s3_backends
from moto.utilities.utils import get_partition

from rekadapter.rekognition_api.context import S3Location, S3ObjectError
from rekadapter.rekognition_api.mocking import MockedRegion, MockedRekognition


class CollectionsBackend(RekognitionBackend):
    """moto's canned answers, and beside them a stateful service that is opened when needed."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._opening = threading.Lock()
        self._served: MockedRegion | None = None

    def reset(self) -> None:
        """moto calls ``__init__`` again."""
        if self._served is not None:
            self._served.close()
        super().reset()

    def region_of(self, mock: MockedRekognition) -> MockedRegion:
        """The service; its collections live until moto resets the backend."""
        with self._opening:
            if self._served is None:
                self._served = mock.open_region(MotoS3())
            return self._served


AnyBackends = BackendDict[RekognitionBackend]


class CollectionsBackends(BackendDict[RekognitionBackend]):
    """moto's dictionary of accounts, with the mock they all belong to.

    ``replaced`` is what stood in its place; ``own_answers`` are moto's canned operations that the
    mock answers instead.
    """

    def __init__(
        self, mock: MockedRekognition, replaced: AnyBackends, own_answers: frozenset[str]
    ) -> None:
        super().__init__(CollectionsBackend, "rekognition")
        self.mock = mock
        self.replaced = replaced
        self.own_answers = own_answers

    def clear(self) -> None:
        """moto does so at the beginning and at the end of ``mock_aws``, after each reset."""
        super().clear()
        self.mock.reset()

    def end(self) -> None:
        """Drops every collection, and what was set up for the running mock only."""
        for account in self.values():
            account.reset()
        self.clear()


def backends_in_place() -> AnyBackends:
    """Where moto looks for Rekognition at each request."""
    found: AnyBackends = moto.rekognition.rekognition_backends  # type: ignore[attr-defined]  # imported there, and looked up there by moto
    return found


def put_in_place(backends: AnyBackends) -> None:
    """Has moto look at ``backends`` from now on."""
    moto.rekognition.rekognition_backends = backends  # type: ignore[attr-defined]  # see above


class MotoS3:
    """Images of requests out of moto's S3, as the caller of Rekognition may read them."""

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        del max_bytes  # it is in memory already: the caller refuses what is too large
        backend = s3_backends[location.account][get_partition(location.region)]
        try:
            bucket = backend.get_bucket(location.bucket)
            held = backend.get_object(location.bucket, location.key, version_id=location.version)
        except S3ClientError as error:
            raise _unreadable(location) from error
        value = getattr(held, "value", None)  # a delete marker has none
        if bucket.region_name != location.region or not isinstance(value, bytes):
            raise _unreadable(location)
        return value


def _unreadable(location: S3Location) -> S3ObjectError:
    return S3ObjectError(
        f"moto's S3 holds no s3://{location.bucket}/{location.key} "
        f"in region {location.region} of account {location.account}"
    )
