"""Puts questions to one system, a few at a time, and writes each answer down as it comes.

A picture that cannot be read and a request that was refused are answers. What stops a whole system
(no credentials, an account limit, a closed backend) is raised: it says nothing about a face.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

from rekadapter.errors import (
    AccessDeniedError,
    BackendClosedError,
    BackendError,
    CredentialsError,
    ImageError,
    QuotaExceededError,
    StoppedError,
)
from rekadapter.evaluation.answers import (
    AnswerStore,
    Question,
    SearchedFace,
    Stage,
    StoredAnswer,
    StoredCandidate,
    StoredFailure,
)
from rekadapter.types import DetectedFace, VendorAnswer

logger = logging.getLogger(__name__)

_STOPS_ALL: Final = (
    CredentialsError,
    AccessDeniedError,
    QuotaExceededError,
    BackendClosedError,
    StoppedError,
)

Read = TypeVar("Read")
Task = TypeVar("Task")


class Progress(Protocol):
    """Told how far a system is, from any thread."""

    def started(self, system: str, pending: int) -> None: ...

    def advanced(self, system: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Given:
    """What one call gave."""

    candidates: tuple[StoredCandidate, ...] = ()
    enrolled: int = 0
    failure: StoredFailure | None = None
    face: SearchedFace | None = None
    request_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asking:
    """One sitting with one system: how many questions at a time, where the answers go, and what
    ends it early. ``label`` is what the progress is told."""

    label: str
    workers: int
    store: AnswerStore
    session: str
    stop: threading.Event
    progress: Progress

    def each(self, tasks: Sequence[Task], one: Callable[[Task], StoredAnswer]) -> None:
        """Answers tasks in order, ``workers`` at a time; the first error that stops all ends it."""
        queue = deque(tasks)
        halt = threading.Event()

        def work() -> None:
            while not (halt.is_set() or self.stop.is_set()):
                try:
                    task = queue.popleft()
                except IndexError:
                    return
                try:
                    self.store.add(one(task))
                except BaseException:
                    halt.set()
                    raise
                self.progress.advanced(self.label)

        with ThreadPoolExecutor(self.workers, thread_name_prefix="evaluate") as pool:
            for worker in [pool.submit(work) for _ in range(self.workers)]:
                worker.result()

    def answered(
        self,
        question: Question,
        read: Callable[[], Read],
        ask: Callable[[Read], Given],
        limit: int = 0,
    ) -> StoredAnswer:
        """One answer: ``read`` gives the picture in pixels, ``ask`` makes the call."""
        began = time.perf_counter()
        done_reading = began
        try:
            picture = read()
            done_reading = time.perf_counter()
            given = ask(picture)
        except ImageError as error:
            given = _failed(Stage.IMAGE, error)
        except _STOPS_ALL:
            raise
        except BackendError as error:
            given = _failed(Stage.REQUEST, error)
        return StoredAnswer(
            question=question,
            answered_at=datetime.now(UTC),
            read_seconds=max(0.0, done_reading - began),
            answer_seconds=time.perf_counter() - done_reading,
            candidates=given.candidates,
            enrolled=given.enrolled,
            limit=limit,
            failure=given.failure,
            face=given.face,
            request_ids=given.request_ids,
            session=self.session,
        )


def _failed(stage: Stage, error: Exception) -> Given:
    logger.info("a question failed: %s", type(error).__name__)
    return Given(failure=StoredFailure(stage, type(error).__name__))


def acquire_failure(cause: str) -> StoredFailure:
    """A picture that gave nothing to search or compare with."""
    return StoredFailure(Stage.ACQUIRE, cause)


def searched_face(seen: DetectedFace) -> SearchedFace:
    """What the system said of the face it searched, as it is stored."""
    return SearchedFace(
        eye_distance_px=seen.eye_distance_px,
        sharpness=seen.quality.sharpness if seen.quality else None,
        brightness=seen.quality.brightness if seen.quality else None,
        yaw=seen.pose.yaw if seen.pose else None,
        pitch=seen.pose.pitch if seen.pose else None,
    )


def request_ids(original: Iterable[VendorAnswer]) -> tuple[str, ...]:
    """The vendor's own ids of the requests behind an answer."""
    return tuple(one.request_id for one in original if one.request_id)
