"""Rekognition's state within moto: one service to an account and region."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import moto.rekognition
from moto.core.base_backend import BackendDict
from moto.rekognition.models import RekognitionBackend
from moto.s3.exceptions import S3ClientError
from moto.s3.models import s3_backends
from moto.utilities.utils import get_partition

from rekadapter.errors import OutputError, UnexpectedAnswerError
from rekadapter.rekognition_api.context import S3Location, S3ObjectError
from rekadapter.rekognition_api.mock_works import Surroundings
from rekadapter.rekognition_api.mocking import MockedRegion, MockedRekognition
from rekadapter.rekognition_api.objects import in_chunks


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
                kinesis = MotoKinesis(self.account_id, self.region_name)
                self._served = mock.open_region(Surroundings(MotoS3(), MotoSns(), kinesis))
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
    """Images and videos out of moto's S3, as the caller of Rekognition may read them."""

    def read(self, location: S3Location, *, max_bytes: int) -> bytes:
        """See ``S3Reader``."""
        del max_bytes  # it is in memory already: the caller refuses what is too large
        return self._held(location)

    def size(self, location: S3Location) -> int:
        """See ``ObjectStore``."""
        return len(self._held(location))

    def chunks(self, location: S3Location) -> Iterator[bytes]:
        """See ``ObjectStore``."""
        return in_chunks(self._held(location))

    def _held(self, location: S3Location) -> bytes:
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


class MotoSns:
    """moto's topics, told without a role: moto knows who listens."""

    def tell(self, topic_arn: str, message: str) -> None:
        """See ``Notifier``."""
        from moto.sns.models import sns_backends  # noqa: PLC0415 - only where a job has a topic

        parts = topic_arn.split(":")
        try:
            _, _, _, region, account, _ = parts
            sns_backends[account][region].publish(message=message, arn=topic_arn)
        except Exception as error:  # what moto's errors are differs by version
            raise UnexpectedAnswerError(f"moto's SNS has no topic {topic_arn}") from error


@dataclass(frozen=True, slots=True)
class MotoKinesis:
    """moto's data streams in an account and region."""

    account: str
    region: str

    def put(self, stream: str, record: bytes) -> None:
        """See ``DataStreams``."""
        from moto.kinesis.models import kinesis_backends  # noqa: PLC0415 - only where streams are used

        backend = kinesis_backends[self.account][self.region]
        held = backend.streams.get(stream)
        if held is None:
            return
        try:
            backend.put_record(held.arn, stream, stream, "", base64.b64encode(record).decode())
        except Exception as error:  # what moto's errors are differs by version
            raise OutputError(f"moto's Kinesis stream {stream} took no record") from error


def _unreadable(location: S3Location) -> S3ObjectError:
    return S3ObjectError(
        f"moto's S3 holds no s3://{location.bucket}/{location.key} "
        f"in region {location.region} of account {location.account}"
    )
