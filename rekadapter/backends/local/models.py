"""A pack in memory: one detector, one embedder, and how its templates compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from rekadapter.backends.local.align import ChipTemplate, cut_chips
from rekadapter.backends.local.gender_age import GenderAgeModel
from rekadapter.backends.local.geometry import FaceArrays, Floats
from rekadapter.backends.local.manifests import Metric
from rekadapter.backends.local.scores import ScoreMap
from rekadapter.backends.local.sessions import Session
from rekadapter.imaging import Pixels

_BATCH: Final = 32
"""Faces embedded in one run; larger batches take memory and no less time."""


class Detector(Protocol):
    """Finds faces with their five landmarks."""

    def detect(self, pixels: Pixels) -> FaceArrays:
        """Faces of an upright BGR image, in its pixels."""
        ...


class ChipEmbedder(Protocol):
    """Turns aligned chips into templates."""

    def embed(self, chips: Pixels) -> Floats:
        """``chips`` uint8 BGR (n, side, side, 3) to templates float32 (n, length)."""
        ...


class OnnxEmbedder:
    """An embedder whose graph takes chips as they are."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def embed(self, chips: Pixels) -> Floats:
        """Templates, one row per chip."""
        return self._session.run(chips)[0]


@dataclass(frozen=True, slots=True)
class FaceModels:
    """Everything a recognizer needs of a pack.

    ``model`` is what galleries are pinned to. ``license`` and ``threshold_origin`` go into reports.
    ``gender_age`` is None for a pack that has no such graph; templates do not depend on it.
    """

    model: str
    detector: Detector
    embedder: ChipEmbedder
    template: ChipTemplate
    template_length: int
    metric: Metric
    scores: ScoreMap
    license: str
    threshold_origin: str
    gender_age: GenderAgeModel | None = None

    def embed(self, pixels: Pixels, points: Floats) -> Floats:
        """Templates of faces with landmarks ``points`` (n, 5, 2), float32 (n, template_length).

        Cosine packs' templates have length 1.
        """
        parts = [
            self.embedder.embed(cut_chips(pixels, points[start : start + _BATCH], self.template))
            for start in range(0, len(points), _BATCH)
        ]
        if not parts:
            return np.empty((0, self.template_length), np.float32)
        templates = np.concatenate(parts).astype(np.float32, copy=False)
        return unit_length(templates) if self.metric is Metric.COSINE else templates


def unit_length(templates: Floats) -> Floats:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(templates, axis=1, keepdims=True)
    scaled: Floats = (templates / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return scaled


def raw_scores(templates: Floats, probe: Floats, metric: Metric) -> Floats:
    """The model's own score of ``probe`` (d,) against each row of ``templates`` (n, d).

    Euclidean distances or cosines, computed from differences so that identical templates give
    exactly 0 or 1.
    """
    difference = templates - probe
    squared = np.einsum("ij,ij->i", difference, difference, dtype=np.float64)
    raw = np.sqrt(squared) if metric is Metric.EUCLIDEAN else 1 - squared / 2
    return np.asarray(raw, dtype=np.float32)
