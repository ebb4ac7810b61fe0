"""A Rekognition for tests: the service over any recognizer, with faults on order.

What carries a request to it (moto, a botocore client) stays outside, as with the service itself.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from rekadapter.errors import ConfigError
from rekadapter.imaging import Image
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api.context import S3Location, ServiceSettings
from rekadapter.rekognition_api.faults import Fault
from rekadapter.rekognition_api.index_delay import DelayedIndex, IndexDelay
from rekadapter.rekognition_api.injections import Armed, Injection, check_injection, injected
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.video import Analysis
from rekadapter.rekognition_api.mock_streams import StreamsPlan
from rekadapter.rekognition_api.mock_works import MockedWorks, Notice, Surroundings, WorksPlan
from rekadapter.rekognition_api.model import ServiceModel, load_model
from rekadapter.rekognition_api.objects import ObjectStore
from rekadapter.rekognition_api.operations import OPERATIONS
from rekadapter.rekognition_api.service import RekognitionService, ServiceAnswer

DEFAULT_ACCOUNT: Final = "123456789012"
"""The account a mock belongs to unless it is told another; moto's own default too."""


class Lifetime(Protocol):
    """Who ends a mock's days: a shell that resets it tells so here."""

    def is_passing(self) -> bool:
        """Whether what is set up now will be reset by the shell, and not kept."""
        ...


class MockedRekognition:
    """Stateful Rekognition services, one to an account and region, and the faults they show.

    ``open_recognizer`` is called once for each account and region, so that they share nothing.
    Safe to call from several threads; the answers to one thread are the same in every run. No
    thread of its own: a job on stored video is done within the call that starts it.
    """

    def __init__(
        self,
        open_recognizer: Callable[[], Recognizer],
        *,
        settings: ServiceSettings | None = None,
        seed: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        video: VideoSettings | None = None,
    ) -> None:
        self._open_recognizer = open_recognizer
        self._settings = settings
        self._seed = seed
        self._sleep = sleep
        self._lock = threading.RLock()
        self._lifetime: Lifetime | None = None
        self._kept: list[Armed] = []
        self._passing: list[Armed] = []
        self._calls: Counter[str] = Counter()
        self._index_delay = IndexDelay()
        self._kept_delay: tuple[float, Callable[[], float]] = (0.0, time.monotonic)
        self._polls = self._kept_polls = 0
        self._notices: list[Notice] = []
        self._kept_pictures: dict[str, list[Image]] = {}
        self._passing_pictures: dict[str, list[Image]] = {}
        self._records: dict[str, list[Mapping[str, object]]] = {}
        self._opened: weakref.WeakSet[MockedRegion] = weakref.WeakSet()
        self._video = video or VideoSettings()
        self._regions: dict[tuple[str, str], MockedRegion] = {}
        self._model: ServiceModel | None = None

    # --- what a test sets up ------------------------------------------------------------------

    def inject(self, injection: Injection) -> None:
        """Faults from now on: see ``throttle``, ``fail`` and ``slow``.

        Several injections add up in the order they came in; the first error is the answer.

        Raises:
            ConfigError: Rekognition has no such operation, or no such error.
        """
        self._model = self._model or load_model(OPERATIONS)
        check_injection(injection, self._model)
        with self._lock:
            rules = self._passing if self.is_passing() else self._kept
            rules.append(Armed(injection, random.Random(self._seed)))  # noqa: S311 - a repeatable draw, no secret

    def calm(self) -> None:
        """No injection, no index delay and no waiting for jobs any more."""
        with self._lock:
            self._kept.clear()
            self._passing.clear()
            self._kept_delay = (0.0, time.monotonic)
            self._index_delay.set(*self._kept_delay)
            self._polls = self._kept_polls = 0

    def index_delay(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Searches miss a face for ``seconds`` after it was indexed, as on AWS; 0 ends that.

        SearchFaces with such a face as the probe answers that it is not in the collection.
        ListFaces and DescribeCollection know it at once.
        """
        with self._lock:
            self._index_delay.set(seconds, clock)
            if not self.is_passing():
                self._kept_delay = (seconds, clock)

    def video_polls(self, count: int) -> None:
        """A job started from now on is IN_PROGRESS for the first ``count`` questions, and done
        within the next one; 0, as at first, has it done as soon as it is started.

        Raises:
            ConfigError: less than none.
        """
        if count < 0:
            raise ConfigError(f"a job can be asked for 0 times or more, not {count}")
        with self._lock:
            self._polls = count
            if not self.is_passing():
                self._kept_polls = count

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the topics of jobs were told so far, of all accounts and regions."""
        with self._lock:
            return tuple(self._notices)

    def show(self, stream: str, *pictures: bytes) -> None:
        """Pictures (JPEG or PNG) on the Kinesis video stream of that name, a second apart.

        A processor of the stream searches each once: at once if it runs, else when it is started.

        Raises:
            InvalidImageError: one is no picture; none is shown.
        """
        images = [Image.from_bytes(picture) for picture in pictures]
        with self._lock:
            layer = self._passing_pictures if self.is_passing() else self._kept_pictures
            layer.setdefault(stream, []).extend(images)
            opened = list(self._opened)
        for region in opened:
            region.show(stream)

    def records(self, stream: str) -> tuple[Mapping[str, object], ...]:
        """What stream processors have put into the Kinesis data stream of that name so far, of all
        accounts and regions."""
        with self._lock:
            return tuple(self._records.get(stream, ()))

    def calls(self, operation: str) -> int:
        """Requests for ``operation`` so far, each retry and each refused one counted."""
        with self._lock:
            return self._calls[operation]

    # --- for the shells -----------------------------------------------------------------------

    def open_region(self, around: Surroundings | None = None) -> MockedRegion:
        """A service of its own, without a collection yet. The caller closes it."""
        around = around or Surroundings()
        recognizer = DelayedIndex(self._open_recognizer(), self._index_delay)
        works = MockedWorks(around, self._plan())
        service = RekognitionService(
            recognizer, settings=self._settings, s3=around.objects, background=works
        )
        opened = MockedRegion(self, recognizer, service, works)
        with self._lock:
            self._opened.add(opened)
        return opened

    def region(self, account: str, region: str) -> MockedRegion:
        """The mock's own service of an account and region, opened at the first call."""
        with self._lock:
            if (account, region) not in self._regions:
                self._regions[account, region] = self.open_region()
            return self._regions[account, region]

    def live_within(self, lifetime: Lifetime | None) -> None:
        """Until the next call: what is set up while ``lifetime`` is passing ends with a reset."""
        self._lifetime = lifetime

    def is_passing(self) -> bool:
        """Whether what is set up now ends with the next reset."""
        return self._lifetime is not None and self._lifetime.is_passing()

    def reset(self) -> None:
        """Drops what was set up while the shell's mock was running, and all counts."""
        with self._lock:
            self._passing.clear()
            for rule in self._kept:
                rule.rewind(random.Random(self._seed))  # noqa: S311 - a repeatable draw, no secret
            self._calls.clear()
            self._notices.clear()
            self._passing_pictures.clear()
            self._records.clear()
            self._polls = self._kept_polls
            self._index_delay.set(*self._kept_delay)

    def close(self) -> None:
        """Closes the mock's own services; their collections are gone."""
        with self._lock:
            opened = list(self._regions.values())
            self._regions.clear()
        for region in opened:
            region.close()

    def meet(self, operation: str) -> Fault | None:
        """Counts a call of ``operation``, waits as long as it shall take, and says how it fails."""
        with self._lock:
            self._calls[operation] += 1
            hits = [rule.injection for rule in self._kept + self._passing if rule.hits(operation)]
        latency = sum(hit.latency_seconds for hit in hits)
        if latency > 0:
            self._sleep(latency)
        return next((injected(hit) for hit in hits if hit.code is not None), None)

    def _watched(self, video: S3Location, objects: ObjectStore, analysis: Analysis) -> Analysis:
        """For a mock that knows more of a video than its frames show."""
        del video, objects
        return analysis

    def _plan(self) -> WorksPlan:
        return WorksPlan(
            video=self._video,
            polls=lambda: self._polls,
            watch=self._watched,
            told=self._told,
            streams=StreamsPlan(self._shown, self._recorded),
        )

    def _shown(self, stream: str) -> Sequence[Image]:
        with self._lock:
            layers = (self._kept_pictures, self._passing_pictures)
            return [image for layer in layers for image in layer.get(stream, ())]

    def _recorded(self, stream: str, record: Mapping[str, object]) -> None:
        with self._lock:
            self._records.setdefault(stream, []).append(record)

    def _told(self, notice: Notice) -> None:
        with self._lock:
            self._notices.append(notice)


class MockedRegion:
    """Rekognition in one account and region."""

    def __init__(
        self,
        mock: MockedRekognition,
        recognizer: Recognizer,
        service: RekognitionService,
        works: MockedWorks,
    ) -> None:
        self._mock = mock
        self._recognizer = recognizer
        self._service = service
        self._works = works

    def handle(self, target: str, body: bytes, *, account: str, region: str) -> ServiceAnswer:
        """Answers one request like ``RekognitionService.handle``, unless a fault is due."""
        return self.refusal(target) or self._service.handle(
            target, body, account=account, region=region
        )

    def refusal(self, target: str) -> ServiceAnswer | None:
        """The injected error due for a request, if any; the request counts as made."""
        fault = self._mock.meet(target.rpartition(".")[2])
        return None if fault is None else self._service.refuse(fault)

    def refuse(self, fault: Fault) -> ServiceAnswer:
        """The answer for a request that a shell turns away by itself."""
        return self._service.refuse(fault)

    def show(self, stream: str) -> None:
        """A video stream has new pictures."""
        self._works.show(stream)

    def close(self) -> None:
        self._works.close()
        self._recognizer.close()
