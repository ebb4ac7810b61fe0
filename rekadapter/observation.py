"""What a run writes down, one frozen record a line: flat, so that a file can be read years later.

``seconds`` is media time: seconds since the first frame of the feed by the feed's own timestamps.
Scores carry the name of their scale; the scales themselves stand in ``run.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rekadapter.recognizer import RequestRecord
from rekadapter.types import (
    BoundingBox,
    CameraId,
    Candidate,
    FaceId,
    FaceQuality,
    Pose,
    Reason,
    ScoreScale,
    SubjectId,
)


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """A candidate as stored: the score on the backend's scale, and the model's own beside it."""

    face_id: FaceId
    subject: SubjectId | None
    score: float
    scale: str
    raw_score: float | None = None
    raw_scale: str | None = None

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateRecord:
        raw = candidate.raw_score
        return cls(
            face_id=candidate.face.face_id,
            subject=candidate.subject,
            score=candidate.score.value,
            scale=candidate.score.scale.name,
            raw_score=raw.value if raw else None,
            raw_scale=raw.scale.name if raw else None,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """Who it is, or unknown with the reason; exactly one of ``subject`` and ``reason`` is set.

    ``best`` is the candidate that decided; for an unknown it is the runner-up: whom it resembled
    most, without being enough. ``sightings`` counts the searched faces the decision rests on,
    ``supporting`` those that met the threshold for ``best``.
    """

    subject: SubjectId | None
    reason: Reason | None
    best: CandidateRecord | None
    sightings: int = 1
    supporting: int = 0

    def __post_init__(self) -> None:
        if (self.subject is None) == (self.reason is None):
            raise ValueError("a decision names a subject or the reason for unknown, not both")


@dataclass(frozen=True, slots=True)
class Observation:
    """One face in one frame as one backend saw it.

    A frame without a face, or whose request failed, is one observation with ``box`` None and the
    reason in ``decision``; ``error`` then holds the failure's text. ``age_seconds`` is how long
    before the answer the frame came, queueing included; None where it was not measured. ``late``
    says that the frame waited on disk because the uplink was gone; ``captured_at`` is then the
    frame's own time.
    """

    backend: str
    camera: CameraId
    frame: int
    seconds: float
    decision: Decision
    latency_seconds: float
    box: BoundingBox | None = None
    confidence: float | None = None
    eye_distance_px: float | None = None
    pose: Pose | None = None
    quality: FaceQuality | None = None
    track: int | None = None
    candidates: tuple[CandidateRecord, ...] = ()
    error: str | None = None
    thumbnail: str | None = None
    """file name under ``faces/`` in the run directory, where faces are kept"""
    age_seconds: float | None = None
    late: bool = False
    captured_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """One person crossing one view, as one backend followed it, and the decision over it all."""

    backend: str
    camera: CameraId
    track: int
    first_seconds: float
    last_seconds: float
    sightings: int
    decision: Decision
    median_eye_distance_px: float | None = None
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A request, and the frame it was made for (None: enrollment and other housekeeping); ``late``
    if the frame had waited for the uplink."""

    request: RequestRecord
    camera: CameraId | None = None
    frame: int | None = None
    late: bool = False


@dataclass(slots=True)
class Spent:
    """What the requests for one frame have come to so far; one thread adds to it."""

    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EyeCount:
    """So many faces had ``px`` pixels between the eyes, to the next half pixel below."""

    px: float
    faces: int


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """One feed of a run and what became of its frames.

    For each backend: ``captured == processed[b] + sum(dropped[b].values())``, with no remainder.
    A live camera was away ``interruptions`` times, ``away_seconds`` together (to the second): what
    happened then nobody saw.
    ``seconds`` is how long it was watched by its own clock: from the first frame to the last
    without the time away, None where that was not recorded.
    ``eyes_seen``: for each backend for which pictures were chosen here, the eyes of every face that
    was found in choosing, sent or not, smallest first. A backend that is sent every picture is
    absent: its observations have them all.
    """

    camera: CameraId
    source: str
    width: int
    height: int
    captured: int
    processed: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    error: str | None = None
    interruptions: int = 0
    away_seconds: float = 0.0
    seconds: float | None = None
    eyes_seen: Mapping[str, tuple[EyeCount, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasuredThreshold:
    """What an evaluation says of a threshold that it chose: ``rate`` is what was measured of
    ``metric`` on people it was not chosen on, between ``low`` and ``high`` (95 %); None where none
    of them gave an error, and ``high`` is the bound. ``report`` is the report's id, ``sha256`` that
    of its bytes, ``measured_on`` the day of its last answer. ``gallery_size``: people enrolled;
    None of comparisons (1:1)."""

    metric: Literal["FPIR", "FMR"]
    target: float
    rate: float | None
    low: float
    high: float
    people: int
    gallery_size: int | None
    report: str
    sha256: str
    measured_on: str | None


@dataclass(frozen=True, slots=True)
class ThresholdOrigin:
    """Where a threshold in force comes from. ``words`` say it to people, after the number;
    ``warnings`` what of its use was not measured, a sentence each."""

    source: Literal["shipped default", "given by hand", "measured"]
    words: str
    measured: MeasuredThreshold | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendRecord:
    """One backend of a run: what it was, exactly, and the threshold in force. ``threshold_origin``
    is None in runs of before it was recorded."""

    name: str
    kind: str
    model: str
    threshold: float
    scale: ScoreScale
    remote: bool
    details: Mapping[str, str] = field(default_factory=dict)
    threshold_origin: ThresholdOrigin | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``run.json``: everything needed to say what was run, on what, and how it ended.

    ``state`` is ``running``, ``finished``, ``interrupted`` or ``failed`` (then ``error`` says why).
    """

    schema_version: int
    run_id: str
    tool_version: str
    command: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    gallery: str
    backends: tuple[BackendRecord, ...]
    cameras: tuple[CameraRecord, ...]
    settings: Mapping[str, str | int | float | bool | None]
    host: Mapping[str, str]
    versions: Mapping[str, str]
    input_hashes: Mapping[str, str]
    price_sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """plain sentences that a reader of the report has to know, e.g. that the media is synthetic"""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory read back; ``damage`` says in sentences what of it is not as it was left."""

    record: RunRecord
    observations: tuple[Observation, ...]
    tracks: tuple[TrackRecord, ...]
    ledger: tuple[LedgerEntry, ...]
    damage: tuple[str, ...] = ()
