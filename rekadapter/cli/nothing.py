"""A run that ended in order and did nothing has failed: its exit code has to say so."""

from __future__ import annotations

from pathlib import Path

from rekadapter.errors import BackendError, FeedError, PriceCapError, RekadapterError
from rekadapter.evaluation.summary import BackendTotal, Summary
from rekadapter.feeds.frames import UNREADABLE
from rekadapter.gate import GATED
from rekadapter.sinks.run_directory import read_run
from rekadapter.uplink.spool import WAITED


def refuse_nothing(directory: Path, summary: Summary) -> None:
    """Frames in which a gate found nothing to ask about were looked at: such a run is fine.

    Raises:
        FeedError: no frame came, or none could be read.
        BackendError: a backend answered no frame, or could not be reached for any.
        PriceCapError: nothing could be sent within what may be spent.
    """
    if summary.state == "finished":
        for total in summary.totals:
            if (failure := _failure(directory, total)) is not None:
                raise failure


def _failure(directory: Path, total: BackendTotal) -> RekadapterError | None:
    frames, dropped = total.frames, dict(total.frames.dropped or {})
    if frames.answered or not GATED.isdisjoint(dropped):
        return None
    if frames.failed:
        return BackendError(
            f"{total.backend} answered none of {frames.failed} frames: "
            f"{_first_error(directory, total.backend)}"
        )
    unreadable = dropped.pop(UNREADABLE, 0)
    if not dropped:
        found = "no frame came" if not unreadable else f"none of {unreadable} frames can be read"
        return FeedError(f"{found}: nothing was done; check the feeds")
    causes = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in dropped.items())
    if not WAITED.isdisjoint(dropped):
        return BackendError(
            f"nobody could reach {total.backend}, so it was asked about no frame: {causes}"
        )
    return PriceCapError(f"{total.backend} was asked about no frame: {causes}")


def _first_error(directory: Path, backend: str) -> str:
    observations = read_run(directory).observations
    errors = (one.error for one in observations if one.backend == backend and one.error)
    return next(errors, "see observations.jsonl")
