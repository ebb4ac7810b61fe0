"""Which parts of which frames are worth asking about: a gate looks at every frame of a camera
once, before anything is queued, encoded, paid for or sent."""

from rekadapter.gate.asking import AskingRules
from rekadapter.gate.faces import (
    Budget,
    CropGate,
    DetectingFinder,
    GateRules,
    SharedFinder,
    TrackGate,
    no_budget,
)
from rekadapter.gate.motion import MotionGate, MotionRules
from rekadapter.gate.probe import (
    GATED,
    NOTHING_TO_ASK,
    WHOLE,
    FaceFinder,
    Fate,
    Followed,
    FollowsFaces,
    Gate,
    Look,
    Priority,
    Probe,
    Settled,
    WholeFrame,
)
from rekadapter.gate.shots import Shot, ShotRules, quality_of
from rekadapter.gate.verdict import Gathered, clear_score, gathered, identified, verdict_of

__all__ = [
    "GATED",
    "NOTHING_TO_ASK",
    "WHOLE",
    "AskingRules",
    "Budget",
    "CropGate",
    "DetectingFinder",
    "FaceFinder",
    "Fate",
    "Followed",
    "FollowsFaces",
    "Gate",
    "GateRules",
    "Gathered",
    "Look",
    "MotionGate",
    "MotionRules",
    "Priority",
    "Probe",
    "Settled",
    "SharedFinder",
    "Shot",
    "ShotRules",
    "TrackGate",
    "WholeFrame",
    "clear_score",
    "gathered",
    "identified",
    "no_budget",
    "quality_of",
    "verdict_of",
]
