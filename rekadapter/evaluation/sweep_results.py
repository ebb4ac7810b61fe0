"""The form of the resolution sweep of ``report.json``."""

from __future__ import annotations

from typing import Literal

from rekadapter.evaluation.result_base import EstimateResult, Result


class SweepPoint(Result):
    """One system at one size. ``eye_px`` None: the photographs as they are."""

    eye_px: float | None
    searches: int
    fnir: EstimateResult
    fpir: EstimateResult
    ftx: EstimateResult


class SweepSystemResult(Result):
    """One system's curve at one threshold, largest size first. ``stream``: the camera's stream
    that coded the pictures; None: JPEG alone.

    ``enough_px``: the smallest size at which, and at every larger one, the whole interval of the
    misses is within the limit. ``too_few_px``: the largest size at which, and at every smaller one,
    it is above. None where the data show no such size.
    """

    system: str
    stream: str | None = None
    label: str
    threshold: float
    points: tuple[SweepPoint, ...]
    enough_px: float | None
    too_few_px: float | None
    sentence: str


class SweepCamera(Result):
    """What a camera, of the protocol or of a survey, may expect: the misses at the size just below
    its median. ``eye_px_p10`` to ``eye_px_p90``: between these are 80 % of its faces."""

    id: str
    source: Literal["protocol", "survey"]
    system: str
    stream: str | None = None
    eye_px_p10: float | None = None
    eye_px_p50: float
    eye_px_p90: float | None = None
    level_px: float | None
    fnir: EstimateResult | None


class SweepResult(Result):
    """Searches made again at fewer pixels between the eyes, for every system the same pictures.

    ``missing`` searches were not made. ``left_out`` says in words which photographs took no part.
    """

    max_fnir: float
    limit_stated: bool
    quality: int
    finder: str
    photographs: int
    people: int
    missing: int
    left_out: tuple[str, ...]
    systems: tuple[SweepSystemResult, ...]
    cameras: tuple[SweepCamera, ...]
    notes: tuple[str, ...]
