"""Asks about what a run has left in a spool: a run whose cameras give no more frames.

Every frame of the spool counts as captured; it is answered late, given up for a cause, or still
there. Its answers go where any run's go, to a directory of their own: the one of the run that left
them stays as it was.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rekadapter.errors import UsageError
from rekadapter.feeds.frames import Feed, FeedItem, FeedSpec, Frame
from rekadapter.gate import Fate, Gate, Look, Settled, WholeFrame
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.progress import ProgressListener
from rekadapter.sinks.sink import Sink
from rekadapter.tracking import Span
from rekadapter.types import CameraId
from rekadapter.uplink.spool import Spool
from rekadapter.uplink.spooled import Ticket


@dataclass(frozen=True, slots=True)
class SilentFeed:
    """A camera of which only what was spooled is there; see ``feeds.Feed``."""

    spec: FeedSpec
    expected_frames: int | None
    live: bool = False
    continuous: bool = True

    def frames(self) -> Iterator[FeedItem]:
        """None."""
        return iter(())


class SpooledPeople:
    """A gate that follows whom the spooled pictures are of, by the numbers they were given when
    they were taken; see ``gate.FollowsFaces``. Once nothing of a track is left to be asked it is
    decided by what was answered here. One about which nothing was is left to the run that followed
    it, which has said so."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self._lock = threading.Lock()
        self._left: Counter[tuple[CameraId, int]] = Counter()
        self._spans: dict[tuple[CameraId, int], Span] = {}
        self._heard: set[tuple[CameraId, int]] = set()
        for ticket in tickets:
            for track in ticket.tracks:
                key = (ticket.camera, track)
                self._left[key] += 1
                self._spans[key] = _joined(self._spans.get(key), track, ticket.seconds)

    def look(self, frame: Frame) -> Look:
        """No frame comes any more."""
        del frame
        return Look()

    def open(self, feed: Feed) -> None:
        """Everything is known already."""

    def close(self, camera: CameraId) -> None:
        """Everybody is gone already."""

    def settle(self, camera: CameraId, track: int, frame: int, fate: Fate) -> None:
        """See ``FollowsFaces``."""
        del frame
        with self._lock:
            self._left[camera, track] -= 1
            if fate is not Fate.LOST:
                self._heard.add((camera, track))

    def settled(self, camera: CameraId) -> tuple[Settled, ...]:
        """See ``FollowsFaces``."""
        with self._lock:
            done = sorted(key for key in self._heard if key[0] == camera and self._left[key] <= 0)
            self._heard.difference_update(done)
            return tuple(Settled(self._spans.pop(key), None) for key in done)

    def under_way(self, camera: CameraId) -> int:
        """See ``FollowsFaces``."""
        with self._lock:
            return sum(count for (of, _), count in self._left.items() if of == camera)


def feeds_of(spool: Spool) -> tuple[SilentFeed, ...]:
    """The cameras of which something waits, by name.

    Raises:
        OutputError: the spool cannot be read.
    """
    frames = Counter(ticket.camera for ticket in spool.survey())
    return tuple(
        SilentFeed(FeedSpec(camera, str(spool.folder)), count)
        for camera, count in sorted(frames.items())
    )


def drain(
    lane: Lane,
    sink: Sink,
    options: RunOptions,
    *,
    stop: threading.Event,
    progress: ProgressListener | None = None,
) -> RunOutcome:
    """Asks ``lane`` about every frame that waits in its standby, the newest first, and writes what
    comes out. It ends when nothing is left, or when what is left cannot be asked about now.

    Raises:
        UsageError: nothing waits.
        RekadapterError: see ``pipeline.run_feeds``.
    """
    spool = lane.standby.spool if lane.standby is not None else None
    feeds = feeds_of(spool) if spool is not None else ()
    if spool is None or not feeds:
        raise UsageError(f"nothing waits for '{lane.name}': there is nothing to drain")
    tickets = spool.survey()
    people = any(ticket.tracks for ticket in tickets)
    gate: Gate = SpooledPeople(tickets) if people else WholeFrame()
    options = replace(options, gates={lane.name: gate})
    return run_feeds(feeds, [lane], sink, options, stop=stop, progress=progress)


def _joined(span: Span | None, track: int, seconds: float) -> Span:
    if span is None:
        return Span(track, seconds, seconds, 1)
    first, last = min(span.first_seconds, seconds), max(span.last_seconds, seconds)
    return Span(track, first, last, span.sightings + 1)
