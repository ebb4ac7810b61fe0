"""What the service counts, as Prometheus reads it.

Labels are operations of Rekognition's and error codes of ours: never a collection, a subject, a key
or anything else that a client chooses, so nobody can make them leak or grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rekadapter.rekognition_api.exposition import Exposition
from rekadapter.rekognition_api.jobs.background import Works
from rekadapter.rekognition_api.jobs.plans import ProcessorState
from rekadapter.rekognition_api.jobs.store import JobState
from rekadapter.rekognition_api.jobs.worker import JobCounts

OK: Final = "OK"
OTHER: Final = "other"
"""The operation of a request that names none of Rekognition's."""
_BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class Exchange:
    """One request and its answer, filled in on the way. ``operation`` is what the client asked
    for, whatever it may be; ``refused`` says that it never reached the service."""

    operation: str = OTHER
    code: str = OK
    refused: bool = False
    seconds: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class _Histogram:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(_BOUNDS_SECONDS, seconds)] += 1
        self.total += seconds


_TEXT: Final = Exposition("rekadapter_service_")


class Metrics:
    """Counters since the start. Belongs to one thread: the event loop's."""

    def __init__(self, operations: Collection[str]) -> None:
        self._operations = frozenset(operations)
        self._requests: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._latency: dict[str, _Histogram] = {}
        self._received = 0
        self._sent = 0

    def add(self, exchange: Exchange) -> None:
        """Counts a finished exchange."""
        operation = exchange.operation if exchange.operation in self._operations else OTHER
        self._requests[operation, exchange.code] += 1
        if exchange.refused:
            self._refused[exchange.code] += 1
        self._latency.setdefault(operation, _Histogram()).add(exchange.seconds)
        self._received += exchange.received_bytes
        self._sent += exchange.sent_bytes

    def text(self, *, in_flight: int) -> str:
        """Everything, for a scrape; ``in_flight`` requests are being worked on now."""
        lines = [
            *_TEXT.header("requests_total", "counter", "Requests, by operation and code."),
            *self._request_lines(),
            *_TEXT.header("request_seconds", "histogram", "From a request's head to its answer."),
            *self._latency_lines(),
            *_TEXT.header("refused_total", "counter", "Requests turned away before the service."),
            *(
                _TEXT.sample("refused_total", {"code": code}, count)
                for code, count in sorted(self._refused.items())
            ),
            *_TEXT.header("in_flight", "gauge", "Requests being worked on."),
            _TEXT.sample("in_flight", {}, in_flight),
            *_TEXT.header("received_bytes_total", "counter", "Bytes of request bodies."),
            _TEXT.sample("received_bytes_total", {}, self._received),
            *_TEXT.header("sent_bytes_total", "counter", "Bytes of answers' bodies."),
            _TEXT.sample("sent_bytes_total", {}, self._sent),
        ]
        return "\n".join(lines) + "\n"

    def _request_lines(self) -> Iterator[str]:
        for (operation, code), count in sorted(self._requests.items()):
            yield _TEXT.sample("requests_total", {"operation": operation, "code": code}, count)

    def _latency_lines(self) -> Iterator[str]:
        for operation, histogram in sorted(self._latency.items()):
            seen = 0
            labels = {"operation": operation}
            bounds = [*map(str, _BOUNDS_SECONDS), "+Inf"]
            for bound, count in zip(bounds, histogram.buckets, strict=True):
                seen += count
                yield _TEXT.sample("request_seconds_bucket", {**labels, "le": bound}, seen)
            yield _TEXT.sample("request_seconds_sum", labels, histogram.total)
            yield _TEXT.sample("request_seconds_count", labels, seen)


def works_text(works: Works) -> str:
    """Stored video and stream processors as they are now, for the same scrape."""
    lines: list[str] = []
    if works.video is not None:
        lines += _jobs_lines(works.video.states())
        lines += _ended_lines(works.video.counts())
    elif works.remote is not None:
        lines += _jobs_lines(works.remote.states())
    if works.streams is not None:
        states = Counter(processor.state for processor in works.streams.every())
        lines += _TEXT.header("stream_processors", "gauge", "Stream processors, by state.")
        lines += (
            _TEXT.sample("stream_processors", {"state": state}, states[state])
            for state in ProcessorState
        )
    return "".join(f"{line}\n" for line in lines)


def _jobs_lines(states: Mapping[JobState, int]) -> Iterator[str]:
    yield from _TEXT.header("video_jobs", "gauge", "Jobs on stored video that are kept, by state.")
    for state, count in states.items():
        yield _TEXT.sample("video_jobs", {"state": state}, count)


def _ended_lines(counts: JobCounts) -> Iterator[str]:
    yield from _TEXT.header(
        "video_jobs_ended_total", "counter", "Jobs that ended, by how they did."
    )
    for end, count in (("SUCCEEDED", counts.succeeded), ("FAILED", counts.failed)):
        yield _TEXT.sample("video_jobs_ended_total", {"state": end}, count)
    yield from _TEXT.header("video_notices_total", "counter", "Topics told of a job's end, or not.")
    for outcome, count in (("sent", counts.notices_sent), ("failed", counts.notices_failed)):
        yield _TEXT.sample("video_notices_total", {"outcome": outcome}, count)
