"""Stream processors: faces of live feeds searched for as they come, one thread a processor.

A Kinesis video stream stands for one of rekadapter's feeds, a Kinesis data stream for a sink;
whoever runs the service sets which.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from rekadapter.closing import Closing
from rekadapter.errors import BackendClosedError, RekadapterError
from rekadapter.feeds import Feed, FeedSpec, Silence, open_feed
from rekadapter.feeds.frames import let_go
from rekadapter.rekognition_api.faults import (
    Fault,
    FaultError,
    internal,
    invalid_parameter,
    not_found,
)
from rekadapter.rekognition_api.jobs.definitions import Definition, Definitions, NoDefinitions
from rekadapter.rekognition_api.jobs.following import (
    sampled,
    searched,
    stream_name,
    told,
)
from rekadapter.rekognition_api.jobs.plans import (
    Owner,
    Processor,
    ProcessorKey,
    ProcessorPlan,
    ProcessorState,
    Searcher,
    StreamSettings,
)
from rekadapter.rekognition_api.jobs.records import RecordSink

logger = logging.getLogger(__name__)

_ENDED: Final = "The feed has ended."


@dataclass(slots=True)
class _Held:
    """A processor and its run; only touched with the lock held."""

    processor: Processor
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    searcher: Searcher | None = None


class StreamProcessors(Closing):
    """Creates, runs and ends processors. Safe to call from several threads.

    They run as long as this object lives, and ``definitions`` brings them back, stopped.
    ``open_source`` opens the feed of a spec; ``clock`` gives seconds since 1970. Close it before
    the recognizer that its processors use.

    Without ``threads`` a processor searches what its feed has within the call that starts it, and
    what its feed has by then within each ``proceed``. The end of a feed does not end it.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        open_source: Callable[[FeedSpec], Feed] = open_feed,
        clock: Callable[[], float] = time.time,
        definitions: Definitions | None = None,
        threads: bool = True,
    ) -> None:
        self._settings = settings
        self._open_source = open_source
        self._clock = clock
        self._definitions = definitions or NoDefinitions()
        self._threads = threads
        self._lock = threading.Lock()
        self._in_calls = threading.Lock()
        self._held = {kept.plan.key: _stopped(kept) for kept in self._definitions.every()}
        self._closed = False

    def create(self, plan: ProcessorPlan) -> None:
        """A new processor, stopped.

        Raises:
            FaultError: the name or a stream is in use, too many exist, or a stream's name stands
                for nothing here.
            OutputError: it cannot be kept.
        """
        self._spec(plan)
        self._sink(plan)
        now = self._clock()
        with self._lock:
            self._refuse_twins(plan)
            count = sum(key.account == plan.key.account for key in self._held)
            if count >= self._settings.max_processors:
                raise _too_many(self._settings.max_processors)
            definition = Definition(plan, created_at=now)
            self._definitions.put(definition)
            self._held[plan.key] = _stopped(definition)

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
            held.stop, held.searcher = threading.Event(), made
            self._set(held, ProcessorState.STARTING, None)
            if self._threads:
                held.thread = threading.Thread(
                    target=self._run,
                    args=(held, held.stop, made),
                    name="stream-processor",
                    daemon=True,
                )
                held.thread.start()
        if not self._threads:
            self._run_in_call(held)
        return str(uuid.uuid4())

    def proceed(self, name: str) -> None:
        """The video stream of that name has something new for the processors that run in calls."""
        with self._lock:
            running = [
                held
                for held in self._held.values()
                if held.processor.state is ProcessorState.RUNNING
                and stream_name(held.processor.plan.video_arn) == name
            ]
        for held in running:
            self._run_in_call(held)

    def stop(self, key: ProcessorKey) -> None:
        """Has a processor end after the frame under way; it is STOPPING until then.

        Raises:
            FaultError: there is none of that name, or it does not run.
        """
        with self._lock:
            held = self._found(key)
            if held.processor.state not in {ProcessorState.STARTING, ProcessorState.RUNNING}:
                raise in_use("Processor not available for stopping stream.")
            held.stop.set()
            ended = ProcessorState.STOPPING if self._threads else ProcessorState.STOPPED
            self._set(held, ended, None)

    def delete(self, key: ProcessorKey) -> None:
        """
        Raises:
            FaultError: there is none of that name, or it runs.
        """
        with self._lock:
            held = self._found(key)
            if not _is_idle(held):
                raise in_use("Cannot delete stream processor in transitional state.")
            self._definitions.drop(key)
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
        self._definitions.close()

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
            state, message = self._after(stop)
        except RekadapterError as error:
            logger.warning("stream processor %s failed: %s", plan.key.name, error)
            message = told(error, plan.gallery)
        except Exception:  # the client gets AWS's words, the log the cause
            logger.exception("stream processor %s failed", plan.key.name)
        with self._lock:
            self._set(held, state, message)

    def _run_in_call(self, held: _Held) -> None:
        """One at a time: a feed's frames come in order."""
        with self._in_calls:
            if held.searcher is not None and not held.stop.is_set():
                self._run(held, held.stop, held.searcher)

    def _after(self, stop: threading.Event) -> tuple[ProcessorState, str | None]:
        """What becomes of a processor once its feed has nothing more."""
        if stop.is_set():
            return ProcessorState.STOPPED, None
        return (ProcessorState.STOPPED, _ENDED) if self._threads else (ProcessorState.RUNNING, None)

    def _follow(self, held: _Held, stop: threading.Event, searcher: Searcher) -> None:
        plan = held.processor.plan
        feed, sink = self._open_source(self._spec(plan)), self._sink(plan)
        with self._lock:
            if not stop.is_set():
                self._set(held, ProcessorState.RUNNING, None)
        with let_go(feed.frames()) as frames:
            for frame in sampled(frames, self._rate(feed)):
                if stop.is_set():
                    return
                if isinstance(frame, Silence):
                    continue
                record = searched(frame, searcher)
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
        name = stream_name(plan.video_arn)
        spec = self._settings.feeds.get(name)
        if spec is None or not _owns(self._settings.feed_owners, name, plan.video_arn):
            raise invalid_parameter(
                "Request has invalid parameters: no feed stands for the KinesisVideoStream here."
            )
        return spec

    def _sink(self, plan: ProcessorPlan) -> RecordSink:
        name = stream_name(plan.data_arn)
        sink = self._settings.outputs.get(name)
        if sink is None or not _owns(self._settings.output_owners, name, plan.data_arn):
            raise invalid_parameter(
                "Request has invalid parameters: no output stands for the KinesisDataStream here."
            )
        return sink


def _owns(owners: Mapping[str, Owner], name: str, arn: str) -> bool:
    return owners.get(name, Owner()).owns(arn)


def _stopped(definition: Definition) -> _Held:
    made = definition.created_at
    plan = definition.plan
    return _Held(Processor(plan, ProcessorState.STOPPED, None, created_at=made, updated_at=made))


def in_use(message: str) -> FaultError:
    return FaultError(Fault("ResourceInUseException", message))


def _too_many(limit: int) -> FaultError:
    message = f"Stream processor limit exceeded for account, limit - {limit}."
    return FaultError(Fault("LimitExceededException", message))


def _is_idle(held: _Held) -> bool:
    return held.processor.state in {ProcessorState.STOPPED, ProcessorState.FAILED}
