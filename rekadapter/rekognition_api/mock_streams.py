"""Streams of a mock: pictures in the place of a camera's video, records kept for the test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from rekadapter.feeds import FeedSpec, Frame
from rekadapter.imaging import Image
from rekadapter.rekognition_api.jobs.plans import StreamSettings
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.records import CallbackSink
from rekadapter.types import CameraId

T = TypeVar("T")


class DataStreams(Protocol):
    """Where a shell has Kinesis data streams of its own."""

    def put(self, stream: str, record: bytes) -> None:
        """One record of a stream; a stream that is not there takes none.

        Raises:
            OutputError: the stream is there and did not take it.
        """
        ...


@dataclass(frozen=True, slots=True)
class StreamsPlan:
    """What a mock knows of streams, by their names.

    ``shown`` are the pictures of a video stream so far; ``recorded`` hears of each record.
    """

    shown: Callable[[str], Sequence[Image]]
    recorded: Callable[[str, Mapping[str, object]], None]


def open_streams(plan: StreamsPlan, beyond: DataStreams | None) -> StreamProcessors:
    """The processors of an account and region: every name is a stream's, and no thread runs.

    A processor searches each picture once, when it starts or when the picture is shown.
    """
    taken: Counter[str] = Counter()

    def sink(name: str) -> CallbackSink:
        def put(record: bytes) -> None:
            plan.recorded(name, json.loads(record))
            if beyond is not None:
                beyond.put(name, record)

        return CallbackSink(put)

    settings = StreamSettings(
        feeds=_Every(lambda name: FeedSpec(CameraId(name), name)), outputs=_Every(sink)
    )
    return StreamProcessors(
        settings,
        open_source=lambda spec: _ShownFeed(spec, plan.shown(spec.source), taken),
        threads=False,
    )


@dataclass(frozen=True, slots=True)
class _Every(Mapping[str, T]):
    """Something for every name."""

    make: Callable[[str], T]

    def __getitem__(self, name: str) -> T:
        if not name.strip():
            raise KeyError(name)
        return self.make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _ShownFeed:
    """Pictures of a stream that no processor has searched yet, a second apart."""

    spec: FeedSpec
    shown: Sequence[Image]
    taken: Counter[str]
    live: bool = field(default=False, init=False)
    continuous: bool = field(default=False, init=False)
    expected_frames: int | None = field(default=None, init=False)

    def frames(self) -> Iterator[Frame]:
        """See ``Feed``."""
        stream = self.spec.source
        while (index := self.taken[stream]) < len(self.shown):
            self.taken[stream] += 1
            yield Frame(self.spec.camera, index, float(index), datetime.now(UTC), self.shown[index])
