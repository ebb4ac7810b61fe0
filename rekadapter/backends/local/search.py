"""Exact search: every template is compared, the nearest are found in one matrix product.

A matrix product gives squared distances up to rounding; it only makes the short list, which is
then compared again difference by difference. So the answer is that of comparing all, face by face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rekadapter.backends.local.geometry import Floats, Indices
from rekadapter.backends.local.manifests import Metric
from rekadapter.backends.local.models import raw_scores

_ROUNDING: Final = 1e-4
"""More than float32 rounding adds to a squared distance, as a share of the squared lengths."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of a gallery's matrix and the model's own score against the probe."""

    row: int
    raw: float


@dataclass(frozen=True, slots=True)
class TemplateMatrix:
    """Templates of one gallery, float32 (n, d), and the square of each row's length (n,)."""

    templates: Floats
    squares: Floats

    @classmethod
    def of(cls, templates: Floats) -> TemplateMatrix:
        """A matrix ready to search."""
        squares = np.einsum("ij,ij->i", templates, templates, dtype=np.float32)
        return cls(templates, np.asarray(squares, dtype=np.float32))

    def nearest(self, probe: Floats, *, limit: int, worst: float, metric: Metric) -> list[Hit]:
        """At most ``limit`` rows whose raw score is ``worst`` or closer, best first.

        Rows of equal score keep the gallery's order.
        """
        if not len(self.templates) or limit < 1:
            return []
        rows = self._short_list(probe, limit)
        raw = raw_scores(self.templates[rows], probe, metric)
        closeness = raw if metric is Metric.EUCLIDEAN else -raw
        good = closeness <= (worst if metric is Metric.EUCLIDEAN else -worst)
        order = np.lexsort((rows, closeness))
        order = order[good[order]][:limit]
        return [Hit(int(rows[index]), float(raw[index])) for index in order]

    def _short_list(self, probe: Floats, limit: int) -> Indices:
        count = len(self.templates)
        if count <= limit:
            return np.arange(count)
        squared = self.squares - 2 * (self.templates @ probe) + float(probe @ probe)
        bound = np.partition(squared, limit - 1)[limit - 1]
        slack = _ROUNDING * float(self.squares.max() + probe @ probe)
        return np.flatnonzero(squared <= bound + slack)
