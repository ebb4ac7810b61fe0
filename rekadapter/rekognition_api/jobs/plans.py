"""Stream processors as they are asked for and as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from rekadapter.errors import ConfigError
from rekadapter.feeds import FeedSpec, Frame
from rekadapter.rekognition_api.jobs.records import RecordSink
from rekadapter.types import GalleryId

MAX_PROCESSORS: Final = 10_000
MAX_RUNNING: Final = 10
"""Existing and running face-search processors of an account: Rekognition's limits page."""


class ProcessorState(StrEnum):
    """In Rekognition's words."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    STOPPING = "STOPPING"


@dataclass(frozen=True, slots=True)
class ProcessorKey:
    """Whose processor of which name."""

    account: str
    region: str
    name: str


@dataclass(frozen=True, slots=True)
class ProcessorPlan:
    """What CreateStreamProcessor asks for; ``threshold`` is in percent of similarity."""

    key: ProcessorKey
    video_arn: str
    data_arn: str
    role_arn: str
    gallery: GalleryId
    threshold: float


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor as it stands. Times are seconds since 1970.

    ``searched`` frames gave a record; ``missed`` ones could not be decoded, or the recognizer was
    not available for them.
    """

    plan: ProcessorPlan
    state: ProcessorState
    message: str | None
    created_at: float
    updated_at: float
    searched: int = 0
    missed: int = 0


class Searcher(Protocol):
    """Makes a frame's record. Called from the processor's thread."""

    def record_of(self, frame: Frame) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose streams something stands for; None: anybody's."""

    account: str | None = None
    region: str | None = None

    def owns(self, arn: str) -> bool:
        """Whether a stream's ARN names the account and region."""
        region, account = arn.split(":")[3:5]
        return self.account in {None, account} and self.region in {None, region}


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """``feeds`` by the name of the Kinesis video stream that stands for each, ``outputs`` by the
    name of the data stream. A feed's own ``fps`` goes before ``frames_per_second``.

    Where a feed or an output has an owner, it stands for streams of that account and region only.
    """

    feeds: Mapping[str, FeedSpec]
    outputs: Mapping[str, RecordSink]
    frames_per_second: float = 5.0
    max_processors: int = MAX_PROCESSORS
    max_running: int = MAX_RUNNING
    feed_owners: Mapping[str, Owner] = field(default_factory=dict)
    output_owners: Mapping[str, Owner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.frames_per_second < float("inf"):
            raise ConfigError("frames_per_second has to be a number above 0")
        if self.max_processors < 1 or self.max_running < 1:
            raise ConfigError("max_processors and max_running have to be at least 1")
