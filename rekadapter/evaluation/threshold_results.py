"""The form of what ``report.json`` says of a threshold in force: of runs, which have one."""

from __future__ import annotations

from rekadapter.evaluation.result_base import Result


class InForceResult(Result):
    """The threshold a system ran with, in words where it comes from, and what of its use was not
    measured. ``mode``: how much of a frame it was sent."""

    threshold: float
    origin: str
    mode: str | None
    warnings: tuple[str, ...]
