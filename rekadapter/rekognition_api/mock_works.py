"""What a mocked Rekognition does besides answering: jobs on stored video and stream processors,
without any thread. It is opened when first asked for, since most tests have neither."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rekadapter.rekognition_api.context import S3Location
from rekadapter.rekognition_api.jobs.background import Background
from rekadapter.rekognition_api.jobs.notices import Notifier
from rekadapter.rekognition_api.jobs.processors import StreamProcessors
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.store import JobOrder
from rekadapter.rekognition_api.jobs.video import Analysis
from rekadapter.rekognition_api.jobs.worker import VideoJobs
from rekadapter.rekognition_api.mock_streams import DataStreams, StreamsPlan, open_streams
from rekadapter.rekognition_api.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a shell has beside a mocked account and region; None: nothing of the kind."""

    objects: ObjectStore | None = None
    topics: Notifier | None = None
    data_streams: DataStreams | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Word of a job that is over, as its topic heard it."""

    topic_arn: str
    message: Mapping[str, object]


Watch = Callable[[S3Location, ObjectStore, Analysis], Analysis]
"""What becomes of the analysis of a video, and where that lies."""


@dataclass(frozen=True, slots=True)
class WorksPlan:
    """How a mock works: ``polls()`` is how many questions a new job is under way for."""

    video: VideoSettings
    polls: Callable[[], int]
    watch: Watch
    told: Callable[[Notice], None]
    streams: StreamsPlan


@dataclass(slots=True)
class MockedWorks:
    """See ``Works``; jobs are done within the calls that start them or ask for them."""

    around: Surroundings
    plan: WorksPlan
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _video: VideoJobs | None = None
    _streams: StreamProcessors | None = None
    _closed: bool = False

    @property
    def video(self) -> VideoJobs | None:
        with self._lock:
            if self._video is None and not self._closed and self.around.objects is not None:
                self._video = _MockedJobs(self.around.objects, self.around.topics, self.plan)
            return self._video

    @property
    def streams(self) -> StreamProcessors | None:
        with self._lock:
            if self._streams is None and not self._closed:
                self._streams = open_streams(self.plan.streams, self.around.data_streams)
            return self._streams

    @property
    def remote(self) -> None:
        """A mock analyzes videos itself."""
        return

    def show(self, stream: str) -> None:
        """A video stream has new pictures."""
        with self._lock:
            opened = self._streams
        if opened is not None:
            opened.proceed(stream)

    def close(self) -> None:
        """Jobs and processors are gone. May be called twice."""
        with self._lock:
            works = Background(self._video, self._streams)
            self._video, self._streams, self._closed = None, None, True
        works.close()


class _MockedJobs(VideoJobs):
    def __init__(self, objects: ObjectStore, topics: Notifier | None, plan: WorksPlan) -> None:
        super().__init__(
            objects,
            settings=plan.video,
            notifier=_KeptNotices(plan.told, topics),
            patience=plan.polls,
        )
        self._videos = objects
        self._watch = plan.watch

    def start(self, order: JobOrder, prepare: Callable[[], Analysis]) -> str:
        return super().start(order, lambda: self._watch(order.video, self._videos, prepare()))


@dataclass(frozen=True, slots=True)
class _KeptNotices:
    """A notifier whose mock remembers what was said; ``beyond`` is where it is said, too."""

    told: Callable[[Notice], None]
    beyond: Notifier | None

    def tell(self, topic_arn: str, message: str) -> None:
        self.told(Notice(topic_arn, MappingProxyType(json.loads(message))))
        if self.beyond is not None:
            self.beyond.tell(topic_arn, message)
