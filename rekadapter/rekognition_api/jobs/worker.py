"""Jobs on stored video: taken on at once, worked off by a few threads, told about when over."""

from __future__ import annotations

import logging
import secrets
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rekadapter.closing import Closing
from rekadapter.errors import (
    BackendClosedError,
    OutputError,
    RekadapterError,
    StoppedError,
)
from rekadapter.rekognition_api.context import S3ObjectError
from rekadapter.rekognition_api.faults import (
    INVALID_PARAMETER,
    Fault,
    FaultError,
    fault_of,
    idempotent_parameter_mismatch,
    internal,
)
from rekadapter.rekognition_api.jobs.lines import AskedLine, Line, ThreadLine
from rekadapter.rekognition_api.jobs.notices import Notifier, notice
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.spool import Spool
from rekadapter.rekognition_api.jobs.store import (
    INTERRUPTED,
    Job,
    JobOrder,
    JobState,
    JobStore,
    Place,
    Result,
    ResultPage,
    SortBy,
    VideoFacts,
)
from rekadapter.rekognition_api.jobs.video import Analysis, Sampled, VideoRefusedError, analyze
from rekadapter.rekognition_api.objects import ObjectStore

logger = logging.getLogger(__name__)

_BATCH: Final = 200
"""Results to a transaction: with one a frame, each frame would wait for the disk."""
_ACCOUNTS: Final = 10
"""So many accounts may have all their jobs open; the others then find the service full."""


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Since the start of the service; ``open`` is how many there are now."""

    open: int
    succeeded: int
    failed: int
    notices_sent: int
    notices_failed: int


@dataclass(frozen=True, slots=True)
class _Task:
    job: Job
    analysis: Analysis


class VideoJobs(Closing):
    """Takes on jobs, and answers about them. Safe to call from several threads.

    ``objects`` holds the videos; without ``notifier`` no topic can be told. ``clock`` gives seconds
    since 1970. Close it before the recognizer that its jobs use: that stops what is under way.

    With ``patience`` there are no threads: a job is done within the call that starts it, or, where
    ``patience()`` is above 0, within the first question after so many that find it under way.

    Raises:
        ConfigError: the settings' directory cannot be used, or another service uses it.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        settings: VideoSettings | None = None,
        notifier: Notifier | None = None,
        clock: Callable[[], float] = time.time,
        patience: Callable[[], int] | None = None,
    ) -> None:
        self._settings = settings or VideoSettings()
        self._objects = objects
        self._notifier = notifier
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._store = JobStore(
            self._settings.directory, retention=self._settings.retention, now=clock()
        )
        try:
            self._spool = self._opened_spool()
        except BaseException:
            self._store.close()
            raise
        self._tasks, self._notices = self._lines(patience)
        for job in self._store.notices_due():
            self._tell_later(job)

    @property
    def settings(self) -> VideoSettings:
        return self._settings

    @property
    def tells_topics(self) -> bool:
        """Whether a job may name a topic."""
        return self._notifier is not None

    def start(self, order: JobOrder, prepare: Callable[[], Analysis]) -> str:
        """Takes a job on and returns its id; the same token stands for the same job.

        ``prepare`` makes the analysis of a new job; what it raises is raised here.

        Raises:
            FaultError: the token came with another input before, the video is too large, or too
                many jobs are open.
            S3ObjectError: the video is missing, or not readable.
        """
        known = self._repeated(self._store.of_token(order, self._clock()), order)
        if known is not None:
            return known
        self._check_size(self._objects.size(order.video))
        analysis = prepare()
        with self._lock:
            self._check_open(order)
            job_id = secrets.token_hex(32)
            job = self._store.add(job_id, order, self._clock())
            if job.job_id != job_id:  # the same token, in another thread, meanwhile
                return self._repeated(job, order) or job.job_id
            self._open[order.video.account] += 1
            task = _Task(job, analysis)
            self._tasks.put(job_id, lambda: self._do(task))
        self._tasks.proceed()
        return job_id

    def find(self, job_id: str) -> Job | None:
        """The job, if it is still kept."""
        self._tasks.asked(job_id)
        return self._store.find(job_id, self._clock())

    def results(self, job: Job, sort: SortBy, after: Place | None, most: int) -> ResultPage:
        """See ``JobStore.results``."""
        return self._store.results(job, sort, after, most)

    def states(self) -> Mapping[JobState, int]:
        """How many jobs are kept, by state; those of an earlier service too."""
        return self._store.states()

    def counts(self) -> JobCounts:
        with self._lock:
            return JobCounts(
                open=self._open.total(),
                succeeded=self._counts["succeeded"],
                failed=self._counts["failed"],
                notices_sent=self._counts["notices_sent"],
                notices_failed=self._counts["notices_failed"],
            )

    def close(self) -> None:
        """Stops after the frame under way; jobs that are not over fail. May be called twice."""
        with self._lock:
            self._stop.set()
        self._spool.wake()
        self._tasks.close()
        self._notices.close()
        self._store.close()
        self._clean()

    # --- taking on ----------------------------------------------------------------------------

    def _opened_spool(self) -> Spool:
        settings = self._settings
        if settings.directory is None:
            scratch = tempfile.TemporaryDirectory(prefix="rekadapter-video-")
            self._clean = weakref.finalize(self, scratch.cleanup)
            folder = Path(scratch.name)
        else:
            self._clean = weakref.finalize(self, lambda: None)
            folder = settings.directory / "spool"
        return Spool(folder, quota_bytes=settings.spool_bytes, stop=self._stop)

    def _lines(self, patience: Callable[[], int] | None) -> tuple[Line, Line]:
        """For tasks and for notices. The second also lets old jobs go while nobody asks."""
        if patience is not None:
            return AskedLine(patience), AskedLine(lambda: 0)
        return (
            ThreadLine(self._settings.workers, "video-job"),
            ThreadLine(1, "video-notices", idle=self._tidy),
        )

    def _tidy(self) -> None:
        self._store.tidy(self._clock())

    def _repeated(self, known: Job | None, order: JobOrder) -> str | None:
        if known is None:
            return None
        if known.order.digest != order.digest:
            raise idempotent_parameter_mismatch(order.token or "")
        return known.job_id

    def _check_size(self, size: int) -> None:
        most = self._settings.max_video_bytes
        if size > most:
            message = (
                f"Video size in bytes: {size} is more than the maximum limit of: {most} bytes."
            )
            raise FaultError(Fault("VideoTooLargeException", message))

    def _check_open(self, order: JobOrder) -> None:
        if self._stop.is_set():
            raise BackendClosedError("the service takes on no more jobs: it was closed")
        account, most = order.video.account, self._settings.max_open_jobs
        if self._open[account] >= most or self._open.total() >= most * _ACCOUNTS:
            message = (
                f"{self._open[account]} open Jobs for User arn:aws:iam::{account}:root "
                f"Maximum limit: {most}"
            )
            raise FaultError(Fault("LimitExceededException", message))

    # --- working off --------------------------------------------------------------------------

    def _do(self, task: _Task) -> None:
        try:
            self._finish(task.job, self._outcome(task))
        except OutputError as error:
            logger.warning("job %s ended and could not be recorded: %s", task.job.job_id, error)
            self._give_up(task.job)
        except Exception:  # the thread serves other jobs, whatever becomes of this one
            logger.exception("job %s ended and could not be recorded", task.job.job_id)
            self._give_up(task.job)
        finally:
            with self._lock:
                self._open[task.job.order.video.account] -= 1

    def _give_up(self, job: Job) -> None:
        """A full disk has no room for a success; without results, a failure may still fit."""
        try:
            self._finish(job, _Outcome(JobState.FAILED, internal().message))
        except OutputError as error:  # it stays open until the next start, where it fails
            logger.warning("job %s stays open: %s", job.job_id, error)
        except Exception:  # likewise
            logger.exception("job %s stays open", job.job_id)

    def _finish(self, job: Job, outcome: _Outcome) -> None:
        self._store.end(job, outcome.state, outcome.message, self._clock())
        succeeded = outcome.state is JobState.SUCCEEDED
        self._count("succeeded" if succeeded else "failed")
        if job.order.topic is not None:
            ended = self._store.find(job.job_id, self._clock())
            self._tell_later(ended or job)

    def _outcome(self, task: _Task) -> _Outcome:
        try:
            return _Outcome(JobState.SUCCEEDED, self._analyzed(task))
        except StoppedError:
            return _Outcome(JobState.FAILED, INTERRUPTED)
        except S3ObjectError:
            return _Outcome(JobState.FAILED, "The video can no longer be read from S3.")
        except (VideoRefusedError, OutputError) as error:
            return _Outcome(JobState.FAILED, str(error))
        except RekadapterError as error:
            logger.warning("job %s failed: %s", task.job.job_id, error)
            fault = fault_of(
                error, collection=task.analysis.collection, violation_code=INVALID_PARAMETER
            )
            return _Outcome(JobState.FAILED, fault.message)
        except Exception:  # the client gets AWS's words, the log the cause
            logger.exception("job %s failed", task.job.job_id)
            return _Outcome(JobState.FAILED, internal().message)

    def _analyzed(self, task: _Task) -> str | None:
        """What has to be said of a job that succeeded, if anything."""
        if self._stop.is_set():
            raise StoppedError("the service stops")
        remark: str | None = None
        batch: list[Result] = []
        with self._spool.copy(self._objects, task.job.order.video) as path:
            for seen in analyze(path, task.analysis, self._settings, self._stop):
                match seen:
                    case VideoFacts():
                        self._store.set_facts(task.job, seen)
                    case Sampled():
                        remark = _remark(seen)
                    case _:
                        batch.extend(seen)
                if len(batch) >= _BATCH:
                    self._store.add_results(task.job, batch)
                    batch = []
            self._store.add_results(task.job, batch)
        return remark

    # --- telling ------------------------------------------------------------------------------

    def _tell_later(self, job: Job) -> None:
        self._notices.put(job.job_id, lambda: self._tell(job))
        self._notices.proceed()

    def _tell(self, job: Job) -> None:
        """What is not told before the end stays due, for the next start."""
        if self._stop.is_set():
            return
        try:
            told = self._told(job)
        except RekadapterError as error:
            logger.warning("the topic of job %s was not told: %s", job.job_id, error)
            told = False
        except Exception:  # a notice lost is logged and counted, the job stays as it is
            logger.exception("the topic of job %s was not told", job.job_id)
            told = False
        self._count("notices_sent" if told else "notices_failed")
        self._store.notice_done(job)

    def _told(self, job: Job) -> bool:
        if self._notifier is None or job.order.topic is None:
            logger.warning("job %s names a topic, and no service of topics is set up", job.job_id)
            return False
        self._notifier.tell(job.order.topic, notice(job))
        return True

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: JobState
    message: str | None


def _remark(sampled: Sampled) -> str | None:
    if not sampled.lost:
        return None
    return (
        f"{sampled.lost} frames of the video could not be decoded: "
        "the results lack what they showed."
    )
