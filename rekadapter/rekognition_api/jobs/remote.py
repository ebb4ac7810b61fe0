"""Jobs that the backend's own service does on videos: started there, asked for when a client asks,
and their results kept here once they are over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rekadapter.rekognition_api.faults import idempotent_parameter_mismatch
from rekadapter.rekognition_api.jobs.store import (
    Job,
    JobOrder,
    JobState,
    JobStore,
    Place,
    Result,
    ResultPage,
    Retention,
    SortBy,
    VideoFacts,
)
from rekadapter.types import VideoJobId

FOLDER: Final = "backend"
"""Below the directory of jobs: these are not this service's own to fail."""


@dataclass(frozen=True, slots=True)
class RemoteResult:
    """A job as the backend's service has it. ``results`` come in order of time."""

    state: JobState
    message: str | None = None
    facts: VideoFacts | None = None
    results: Sequence[Result] = ()


class RemoteJobs:
    """Who started which job, and what came of it. Safe to call from several threads; no thread.

    With a ``directory`` jobs outlive this service, those under way too: they go on elsewhere.
    ``clock`` gives seconds since 1970.

    Raises:
        ConfigError: the directory cannot be used, or another service uses it.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._settling = threading.Lock()
        self._store = JobStore(
            None if directory is None else directory / FOLDER,
            retention=retention or Retention(),
            now=clock(),
            interrupted=False,
        )

    def start(self, order: JobOrder, begin: Callable[[], VideoJobId]) -> str:
        """Begins a job, or returns the one that the order's token stands for; what ``begin`` raises
        is raised here.

        Raises:
            FaultError: the token came with another input before.
        """
        known = self._store.of_token(order, self._clock())
        if known is None:
            known = self._store.add(begin(), order, self._clock())
        if known.order.digest != order.digest:
            raise idempotent_parameter_mismatch(order.token or "")
        return known.job_id

    def find(self, job_id: str) -> Job | None:
        """The job as it was last seen, if it is still kept."""
        return self._store.find(job_id, self._clock())

    def settle(self, job: Job, found: RemoteResult) -> Job:
        """Keeps what came of a job, once. It may be under way still."""
        with self._settling:
            now = self.find(job.job_id)
            if now is None or now.state is not JobState.IN_PROGRESS:
                return now or job
            if found.state is JobState.IN_PROGRESS:
                return now
            if found.facts is not None:
                self._store.set_facts(job, found.facts)
            self._store.add_results(job, found.results)
            self._store.end(job, found.state, found.message, self._clock())
            return self.find(job.job_id) or job

    def results(self, job: Job, sort: SortBy, after: Place | None, most: int) -> ResultPage:
        """See ``JobStore.results``."""
        return self._store.results(job, sort, after, most)

    def states(self) -> Mapping[JobState, int]:
        """How many jobs are kept, by the state they were last seen in."""
        return self._store.states()

    def close(self) -> None:
        """Lets the file go; the jobs go on. May be called twice."""
        self._store.close()
