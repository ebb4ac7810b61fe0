"""One backend answers, another one is asked the same in the background: before a switch.

``ShadowRecognizer`` is a ``Recognizer`` like any other. Its caller is answered by the primary
backend alone, at the primary's speed and with the primary's errors; what the shadow would have said
goes into a log with whether the two agree. The shadow is asked within a ``ShadowBudget``.
"""

from rekadapter.shadow.agreement import Agreement, Answered, FaceDecision, FacePair
from rekadapter.shadow.budget import BudgetLimits, ShadowBudget, ShadowBudgetError
from rekadapter.shadow.log import (
    ShadowCounts,
    ShadowEnd,
    ShadowLog,
    ShadowPair,
    ShadowStart,
    ShadowWrite,
)
from rekadapter.shadow.recognizer import ShadowRecognizer, ShadowSettings

__all__ = [
    "Agreement",
    "Answered",
    "BudgetLimits",
    "FaceDecision",
    "FacePair",
    "ShadowBudget",
    "ShadowBudgetError",
    "ShadowCounts",
    "ShadowEnd",
    "ShadowLog",
    "ShadowPair",
    "ShadowRecognizer",
    "ShadowSettings",
    "ShadowStart",
    "ShadowWrite",
]
