"""The part of ``report.json`` about what it took to get it."""

from __future__ import annotations

from typing import Literal

from rekadapter.evaluation.result_base import Result


class EffortResult(Result):
    """Time to the first result, and what somebody had to set; None: not recorded.

    Seconds run from when the command began its work: of a run to the first decision on a track, to
    the first name said, and to its end; of an evaluation, from the first sitting, to the first and
    to the last answer. ``asking_seconds`` leaves out the time between sittings. ``gallery_seconds``
    is what enrolling took, as far as this directory knows. ``changed`` names the settings of a run
    that differ from their defaults, out of ``settings``; ``stated`` the keys of the rules that the
    user stated, out of ``rules``; ``truth_rows`` counts what somebody wrote down of who was there.
    """

    what: Literal["run", "evaluation"]
    sentence: str
    not_in_it: str
    first_result_seconds: float | None
    first_name_seconds: float | None
    whole_seconds: float | None
    asking_seconds: float | None
    gallery_seconds: float | None
    sittings: int | None
    systems: int
    cameras: int | None
    changed: tuple[str, ...]
    settings: int
    stated: tuple[str, ...]
    rules: int
    truth_rows: int | None
