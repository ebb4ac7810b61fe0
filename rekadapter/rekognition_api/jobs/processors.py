"""Stream processors: faces of live feeds searched for as they come, one thread a processor.

A Kinesis video stream stands for one of rekadapter's feeds, a Kinesis data stream for a sink;
whoever runs the service sets which.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

from rekadapter.errors import (
    BackendClosedError,
    BackendError,
    ConfigError,
    FeedError,
    OutputError,
    RekadapterError,
)
from rekadapter.feeds import Feed, FeedItem, FeedSpec, Frame, Silence, open_feed
from rekadapter.feeds.frames import Sampler
from rekadapter.rekognition_api.faults import (
    INVALID_PARAMETER,
    Fault,
    FaultError,
    fault_of,
    internal,
    invalid_parameter,
    not_found,
)
from rekadapter.rekognition_api.jobs.records import RecordSink
from rekadapter.types import GalleryId

logger = logging.getLogger(__name__)

MAX_PROCESSORS: Final = 10_000
MAX_RUNNING: Final = 10
"""Existing and running face-search processors of an account: Rekognition's limits page."""

_STREAM: Final = re.compile(
    r"arn:[^:]+:(?:kinesisvideo|kinesis):[^:]*:[^:]*:stream/([^/]+)(?:/.*)?"
)
_ENDED: Final = "The feed has ended."


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
class StreamSettings:
    """``feeds`` by the name of the Kinesis video stream that stands for each, ``outputs`` by the
    name of the data stream. A feed's own ``fps`` goes before ``frames_per_second``."""

    feeds: Mapping[str, FeedSpec]
    outputs: Mapping[str, RecordSink]
    frames_per_second: float = 5.0
    max_processors: int = MAX_PROCESSORS
    max_running: int = MAX_RUNNING

    def __post_init__(self) -> None:
        if not 0 < self.frames_per_second < float("inf"):
            raise ConfigError("frames_per_second has to be a number above 0")
        if self.max_processors < 1 or self.max_running < 1:
            raise ConfigError("max_processors and max_running have to be at least 1")


@dataclass(slots=True)
class _Held:
    """A processor and its run; only touched with the lock held."""

    processor: Processor
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class StreamProcessors:
    """Creates, runs and ends processors. Safe to call from several threads.

    They live as long as this object. ``open_source`` opens the feed of a spec; ``clock`` gives
    seconds since 1970. Close it before the recognizer that its processors use.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        open_source: Callable[[FeedSpec], Feed] = open_feed,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._open_source = open_source
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[ProcessorKey, _Held] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create(self, plan: ProcessorPlan) -> None:
        """A new processor, stopped.

        Raises:
            FaultError: the name or a stream is in use, too many exist, or a stream's name stands
                for nothing here.
        """
        self._spec(plan)
        self._sink(plan)
        now = self._clock()
        with self._lock:
            self._refuse_twins(plan)
            count = sum(key.account == plan.key.account for key in self._held)
            if count >= self._settings.max_processors:
                raise _too_many(self._settings.max_processors)
            self._held[plan.key] = _Held(
                Processor(plan, ProcessorState.STOPPED, None, created_at=now, updated_at=now)
            )

    def describe(self, key: ProcessorKey) -> Processor:
        """
        Raises:
            FaultError: there is none of that name.
        """
        with self._lock:
            return self._found(key).processor

    def has(self, key: ProcessorKey) -> bool:
        with self._lock:
            return key in self._held

    def of(self, account: str, region: str) -> Iterator[Processor]:
        """Every processor of an account in a region, in no particular order."""
        owner = (account, region)
        return (
            processor
            for processor in self.every()
            if (processor.plan.key.account, processor.plan.key.region) == owner
        )

    def every(self) -> tuple[Processor, ...]:
        """Every processor there is, for those who watch over the service."""
        with self._lock:
            return tuple(held.processor for held in self._held.values())

    def start(self, key: ProcessorKey, searcher: Callable[[ProcessorPlan], Searcher]) -> str:
        """Has a processor run, and returns the id of this run. ``searcher`` makes what it works
        with.

        Raises:
            FaultError: there is none of that name, it runs already, or too many do.
        """
        plan = self.describe(key).plan
        made = searcher(plan)
        with self._lock:
            if self._closed:
                raise BackendClosedError("the service starts no more processors: it was closed")
            held = self._found(key)
            if not _is_idle(held) or held.processor.plan != plan:  # or made anew meanwhile
                raise in_use("Specified resource is in use.")
            running = sum(
                not _is_idle(other) and other_key.account == key.account
                for other_key, other in self._held.items()
            )
            if running >= self._settings.max_running:
                raise _too_many(self._settings.max_running)
            held.stop = threading.Event()
            self._set(held, ProcessorState.STARTING, None)
            held.thread = threading.Thread(
                target=self._run, args=(held, held.stop, made), name="stream-processor", daemon=True
            )
            held.thread.start()
        return str(uuid.uuid4())

    def stop(self, key: ProcessorKey) -> None:
        """Has a processor end after the frame under way; it is STOPPING until then.

        Raises:
            FaultError: there is none of that name, or it does not run.
        """
        with self._lock:
            held = self._found(key)
            if held.processor.state not in {ProcessorState.STARTING, ProcessorState.RUNNING}:
                raise in_use("Processor not available for stopping stream.")
            self._set(held, ProcessorState.STOPPING, None)
            held.stop.set()

    def delete(self, key: ProcessorKey) -> None:
        """
        Raises:
            FaultError: there is none of that name, or it runs.
        """
        with self._lock:
            held = self._found(key)
            if not _is_idle(held):
                raise in_use("Cannot delete stream processor in transitional state.")
            del self._held[key]
        if held.thread is not None:
            held.thread.join()  # it has nothing left to do

    def close(self) -> None:
        """Ends every processor and its thread. May be called twice."""
        with self._lock:
            self._closed = True
            threads = [held.thread for held in self._held.values() if held.thread is not None]
            for held in self._held.values():
                held.stop.set()
        for thread in threads:
            thread.join()

    # --- with the lock held -------------------------------------------------------------------

    def _found(self, key: ProcessorKey) -> _Held:
        try:
            return self._held[key]
        except KeyError:
            raise not_found(f"Stream processor {key.name} not found.") from None

    def _refuse_twins(self, plan: ProcessorPlan) -> None:
        """A stream has one processor, of whatever account: Rekognition's limits page."""
        if plan.key in self._held:
            raise in_use("Stream processor name already in use.")
        for held in self._held.values():
            other = held.processor.plan
            if plan.video_arn == other.video_arn or plan.data_arn == other.data_arn:
                raise in_use("Specified resource is in use.")

    def _set(self, held: _Held, state: ProcessorState, message: str | None) -> None:
        held.processor = replace(
            held.processor, state=state, message=message, updated_at=self._clock()
        )

    # --- running ------------------------------------------------------------------------------

    def _run(self, held: _Held, stop: threading.Event, searcher: Searcher) -> None:
        plan = held.processor.plan
        state: ProcessorState = ProcessorState.FAILED
        message: str | None = internal().message
        try:
            self._follow(held, stop, searcher)
            state, message = ProcessorState.STOPPED, None if stop.is_set() else _ENDED
        except RekadapterError as error:
            logger.warning("stream processor %s failed", plan.key.name, exc_info=error)
            message = _told(error, plan.gallery)
        except Exception:  # the client gets AWS's words, the log the cause
            logger.exception("stream processor %s failed", plan.key.name)
        with self._lock:
            self._set(held, state, message)

    def _follow(self, held: _Held, stop: threading.Event, searcher: Searcher) -> None:
        plan = held.processor.plan
        feed, sink = self._open_source(self._spec(plan)), self._sink(plan)
        with self._lock:
            if not stop.is_set():
                self._set(held, ProcessorState.RUNNING, None)
        with _ended(feed.frames()) as frames:
            for frame in _sampled(frames, self._rate(feed)):
                if stop.is_set():
                    return
                if isinstance(frame, Silence):
                    continue
                record = _searched(frame, searcher)
                if record is not None:
                    sink.put(record)
                self._count(held, missed=record is None)

    def _rate(self, feed: Feed) -> float | None:
        """How many frames of a second are taken; a feed with a rate of its own keeps it, and single
        photographs all count."""
        own = feed.spec.fps is not None or not feed.continuous
        return None if own else self._settings.frames_per_second

    def _count(self, held: _Held, *, missed: bool) -> None:
        with self._lock:
            was = held.processor
            held.processor = replace(
                was, searched=was.searched + (not missed), missed=was.missed + missed
            )

    def _spec(self, plan: ProcessorPlan) -> FeedSpec:
        spec = self._settings.feeds.get(_stream_name(plan.video_arn))
        if spec is None:
            raise invalid_parameter(
                "Request has invalid parameters: no feed stands for the KinesisVideoStream here."
            )
        return spec

    def _sink(self, plan: ProcessorPlan) -> RecordSink:
        sink = self._settings.outputs.get(_stream_name(plan.data_arn))
        if sink is None:
            raise invalid_parameter(
                "Request has invalid parameters: no output stands for the KinesisDataStream here."
            )
        return sink


def in_use(message: str) -> FaultError:
    return FaultError(Fault("ResourceInUseException", message))


def _too_many(limit: int) -> FaultError:
    message = f"Stream processor limit exceeded for account, limit - {limit}."
    return FaultError(Fault("LimitExceededException", message))


def _is_idle(held: _Held) -> bool:
    return held.processor.state in {ProcessorState.STOPPED, ProcessorState.FAILED}


def _stream_name(arn: str) -> str:
    """Of ``...:stream/NAME/CREATION-TIME`` (video) and ``...:stream/NAME`` (data); a name of AWS's
    has no slash. Empty for an ARN of another form."""
    found = _STREAM.fullmatch(arn)
    return found[1] if found else ""


@contextmanager
def _ended(frames: Iterator[FeedItem]) -> Iterator[Iterator[FeedItem]]:
    """Has a feed let go of its source at once, where it can."""
    try:
        yield frames
    finally:
        if isinstance(frames, Generator):
            frames.close()


def _sampled(items: Iterator[FeedItem], rate: float | None) -> Iterator[FeedItem]:
    sampler = Sampler(rate)
    return (one for one in items if not isinstance(one, Frame) or sampler.wants(one.seconds))


def _searched(frame: FeedItem, searcher: Searcher) -> bytes | None:
    """The record; None for a frame that is lost, here or by a failure that may pass."""
    if not isinstance(frame, Frame):
        return None
    try:
        return searcher.record_of(frame)
    except BackendError as error:
        if not error.retryable:
            raise
        logger.debug("a frame of %s was not searched: %s", frame.camera, error)
        return None


def _told(error: RekadapterError, gallery: GalleryId) -> str:
    """What a client may know: neither paths nor addresses."""
    match error:
        case FeedError():
            return "The feed of the video stream cannot be read."
        case OutputError():
            return "The records of the data stream cannot be kept."
        case _:
            return fault_of(error, collection=gallery, violation_code=INVALID_PARAMETER).message
