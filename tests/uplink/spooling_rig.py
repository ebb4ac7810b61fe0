"""A lane with a spool behind a link that is cut and mended on command; no socket, no waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekadapter.errors import ConnectionFailedError
from rekadapter.imaging import Image
from rekadapter.observation import CameraRecord
from rekadapter.pipeline import Lane, RunOptions, RunOutcome, run_feeds
from rekadapter.testing.drawn import portrait
from rekadapter.types import GalleryId, Identification, SubjectId
from rekadapter.uplink.link_watch import LinkWatch, Standby
from rekadapter.uplink.spool import Spool
from tests.pipeline.conftest import GALLERY, Asked, FakeFeed, ListSink

LIMIT = 10_000_000
BLOCK = 4096


@dataclass
class Cloud(Asked):
    """A recognizer that nobody can reach while ``cut`` is set; it notes what it answered."""

    cut: threading.Event = field(default_factory=threading.Event)
    answered: list[Image] = field(default_factory=list)

    def identify(self, gallery: GalleryId, image: Image, **how: Any) -> Identification:
        if self.cut.is_set():
            raise ConnectionFailedError("the cable is out")
        answer = super().identify(gallery, image, **how)
        with self.lock:
            self.answered.append(image)
        return answer


@dataclass
class Rig:
    """The cloud, its spool, and runs through both."""

    spool: Spool
    watch: LinkWatch
    cloud: Cloud = field(default_factory=Cloud)
    stop: threading.Event = field(default_factory=threading.Event)
    sink: ListSink = field(default_factory=ListSink)

    def __post_init__(self) -> None:
        self.cloud.inner.create_gallery(GALLERY)
        self.cloud.inner.enroll(GALLERY, portrait("Ann"), subject=SubjectId("Ann"))

    def lane(self, workers: int = 1) -> Lane:
        threshold = self.cloud.capabilities.default_threshold
        standby = Standby(self.spool, self.watch)
        return Lane("cloud", self.cloud, GALLERY, threshold, workers, 50_000, standby)

    def run(
        self, *feeds: FakeFeed, workers: int = 1, more: tuple[Lane, ...] = (), **options: Any
    ) -> RunOutcome:
        lanes = [self.lane(workers), *more]
        outcome = run_feeds(feeds, lanes, self.sink, RunOptions(**options), stop=self.stop)
        assert all(closed(record) for record in outcome.cameras)
        return outcome

    def outage(self, first: int, last: int, *, spooled: int) -> Callable[[int], None]:
        """For ``FakeFeed.before_each``: the link is gone from frame ``first``, once those before it
        are answered, to ``last``, once ``spooled`` frames wait."""

        def before_each(index: int) -> None:
            if index == first:
                wait_until(lambda: len(self.sink.observations) >= first)
                self.cloud.cut.set()
            elif index == last:
                wait_until(lambda: self.spool.waiting == spooled)
                self.cloud.cut.clear()

        return before_each


def closed(record: CameraRecord) -> bool:
    return all(
        record.captured == record.processed[backend] + sum(record.dropped[backend].values())
        and all(count > 0 for count in record.dropped[backend].values())
        for backend in record.processed
    )


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(4000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


@contextmanager
def spooling_rig(
    folder: Path,
    *,
    limit: int = LIMIT,
    pause_seconds: float = 0.01,
    most: int = 1,
    reachable: Callable[[], bool] = lambda: True,
) -> Iterator[Rig]:
    watch = LinkWatch(reachable=reachable, most=most, pause_seconds=pause_seconds)
    with Spool(folder / "spool", limit) as spool:
        yield Rig(spool, watch)
