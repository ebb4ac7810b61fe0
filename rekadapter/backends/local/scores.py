"""From a model's own score to a similarity of 0 to 100 and back.

Rekognition's callers think in a Similarity from 0 to 100 with a default threshold of 80. A local
model gives a distance or a cosine. The map between them is a logistic curve, strictly monotone and
invertible, fixed at two places: identical templates give 100, and the pack's default threshold
gives 80. So a client's default of 80 is the pack's default, whatever the pack. A similarity is NOT
a probability, and it is NOT Rekognition's: the same two photographs get another number there.

With ``x`` the model's distance from its best value (for a cosine: 1 - cosine), ``t`` the pack's
threshold on that axis and ``s`` its slope::

    similarity(x) = 100 (1 + a) / (1 + a exp(x / s)),   a = 0.2 / (0.8 exp(t / s) - 1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from rekadapter.types import ComparisonScore, ScoreScale

SIMILARITY: Final = ScoreScale("local/embedded similarity", 0, 100)
DISTANCE: Final = ScoreScale("local/embedded distance", 0, 2, higher_is_closer=False)

DEFAULT_SIMILARITY: Final = 80.0
"""Rekognition's own default for FaceMatchThreshold; here by construction the pack's default."""


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """The two scales of a pack and the way between them.

    ``threshold`` is the pack's default on the raw scale; ``best`` the raw score of two identical
    templates (0 for a distance, 1 for a cosine); ``slope`` how many raw units one logistic unit is.
    """

    raw: ScoreScale
    similarity: ScoreScale
    best: float
    threshold: float
    slope: float

    def similarity_of(self, raw: float) -> ComparisonScore:
        """The similarity that stands for a raw score; beyond ``best`` it stays 100."""
        offset = max(0.0, abs(self.best - raw) if self._behind(raw) else 0.0)
        exponent = min(offset / self.slope, 700.0)
        value = 100 * (1 + self._a) / (1 + self._a * math.exp(exponent))
        return ComparisonScore(value, self.similarity)

    def raw_of(self, similarity: float) -> float:
        """The raw score whose similarity is ``similarity``; infinitely far for 0 and below.

        Above 100 nothing matches: the answer is then beyond ``best``.
        """
        if similarity <= 0:
            offset = math.inf
        elif similarity > 100:
            offset = -math.inf
        else:
            offset = self.slope * math.log((100 * (1 + self._a) / similarity - 1) / self._a)
        return self.best + self.away * offset

    @property
    def away(self) -> float:
        """The direction in which raw scores get worse: 1 for a distance, -1 for a cosine."""
        return -1.0 if self.raw.higher_is_closer else 1.0

    def raw_score(self, value: float) -> ComparisonScore:
        """A raw score with its scale."""
        return ComparisonScore(value, self.raw)

    @property
    def _a(self) -> float:
        distance = abs(self.best - self.threshold)
        return 0.2 / (0.8 * math.exp(distance / self.slope) - 1)

    def _behind(self, raw: float) -> bool:
        return raw < self.best if self.raw.higher_is_closer else raw > self.best


EMBEDDED_SCORES: Final = ScoreMap(DISTANCE, SIMILARITY, best=0.0, threshold=0.6, slope=0.06)
"""Threshold 0.6: dlib's own for this network (``dnn_face_recognition_ex.cpp``: 99.38 % on LFW).
The slope is a choice of ours: distances of 0.5 and 0.7 become about 95 and 43."""

_COSINE_SLOPE: Final = 0.05
"""A choice of ours: with a threshold of 0.4 cosines of 0.5 and 0.3 become about 97 and 35."""


def cosine_scores(pack: str, threshold: float) -> ScoreMap:
    """The scales of a pack whose templates are compared by cosine."""
    return ScoreMap(
        ScoreScale(f"local/{pack} cosine", -1, 1),
        ScoreScale(f"local/{pack} similarity", 0, 100),
        best=1.0,
        threshold=threshold,
        slope=_COSINE_SLOPE,
    )
