"""What a camera is good for: figures of the faces it gives, against limits that name their source.

No limit here is a standard's own word, and none was measured on your cameras: each is a proposal
with its origin beside it. Eyes are 63 mm apart, a face is 160 mm wide (means of adults).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rekadapter.evaluation.summary import EYE_LINES_PX, percentile
from rekadapter.evaluation.survey_results import (
    ALERTS,
    DETECTION,
    INVESTIGATION,
    Fitness,
    SurveyCamera,
    SurveyCheck,
    SurveyStream,
    SurveyVerdict,
)
from rekadapter.evaluation.wording import EYES_APART_METERS, many
from rekadapter.feeds.frames import Frame
from rekadapter.gate import Look, ShotRules
from rekadapter.gate.shots import eye_px
from rekadapter.planning.surveying import SurveyedCamera
from rekadapter.types import CameraId, DetectedFace, Size

MIN_PEOPLE: Final = 10
"""Fewer passers-by say little about a camera (proposal)."""
_SHARES: Final = "3 in 4 faces for fit and 1 in 4 for marginal are a proposal"
_IEC: Final = (
    "proposal after IEC 62676-4: 250, 500 and about 950 px/m, eyes 63 mm apart (second hand)"
)
_AWS_FACE: Final = f"AWS developer guide: faces from 40 px at 1920x1080 are found; {_SHARES}"
_AWS_SEARCH: Final = (
    f"AWS developer guide: 50 px or more for a search at up to 1920x1080; {_SHARES}"
)
_AWS_POSE: Final = f"AWS developer guide: yaw below 45 degrees, pitch 30 down to 45 up; {_SHARES}"
_AWS_FPS: Final = "AWS developer guide: 5 frames a second (30 recommended); 1 is a proposal"
_GATE: Final = f"the limits of rekadapter's gate, measured on 10 people; {_SHARES}"
_MOST, _SOME = 0.75, 0.25
_LEAST_SECONDS_OF_STREAM: Final = 10.0
"""With a key frame every few seconds a shorter look says little about a bitrate."""
_4K_WIDTH: Final = 3840


@dataclass(frozen=True, slots=True)
class _Sighting:
    track: int
    eye_px: float
    side_px: float
    sharpness: float | None
    brightness: float | None
    yaw: float | None
    pitch: float | None


@dataclass(slots=True)
class FaceLog:
    """Takes down what a survey sees: hand its ``watch`` to ``survey``."""

    _seen: dict[CameraId, list[_Sighting]] = field(default_factory=lambda: defaultdict(list))
    _sizes: dict[CameraId, Size] = field(default_factory=dict)

    def watch(self, frame: Frame, look: Look) -> None:
        """A frame and what the gate made of it."""
        size = frame.image.size
        self._sizes.setdefault(frame.camera, size)
        self._seen[frame.camera] += [
            _sighting(one.track, one.face, size) for one in look.followed or ()
        ]

    def result(self, surveyed: SurveyedCamera) -> SurveyCamera:
        """The figures and verdicts of one camera that was surveyed."""
        seen, size = self._seen[surveyed.camera], self._sizes.get(surveyed.camera)
        fps = (surveyed.frames - 1) / surveyed.seconds if surveyed.seconds else None
        eyes = [one.eye_px for one in seen]
        median = percentile(eyes, 50)
        checks = tuple(_checks(seen, fps))
        return SurveyCamera(
            id=surveyed.camera,
            width=size.width if size else None,
            height=size.height if size else None,
            seconds=surveyed.seconds,
            frames=surveyed.frames,
            frames_per_second=fps,
            looks=surveyed.looks,
            people=surveyed.tracks,
            faces=len(seen),
            people_per_hour=_per_hour(surveyed.tracks, surveyed.seconds),
            faces_per_hour=_per_hour(len(seen), surveyed.seconds),
            eye_px_p10=percentile(eyes, 10),
            eye_px_p50=median,
            eye_px_p90=percentile(eyes, 90),
            best_eye_px_p50=percentile(_best(seen), 50),
            px_per_meter=None if median is None else median / EYES_APART_METERS,
            sharpness_p50=percentile([s for one in seen if (s := one.sharpness) is not None], 50),
            brightness_p50=percentile([b for one in seen if (b := one.brightness) is not None], 50),
            checks=checks,
            verdicts=tuple(
                _verdict(use, checks, size) for use in (ALERTS, INVESTIGATION, DETECTION)
            ),
            enough=surveyed.tracks >= MIN_PEOPLE,
            why_not_enough=""
            if surveyed.tracks >= MIN_PEOPLE
            else f"{many(surveyed.tracks, 'person', 'people')} passed; {MIN_PEOPLE} are needed",
            stream=_stream(surveyed),
        )


def _stream(surveyed: SurveyedCamera) -> SurveyStream | None:
    coded = surveyed.coded
    if coded is None or surveyed.seconds < _LEAST_SECONDS_OF_STREAM:
        return None
    return SurveyStream(
        codec=coded.codec,
        kbps=8 * coded.payload_bytes / 1000 / surveyed.seconds,
        frames_per_second=coded.pictures / surveyed.seconds,
    )


def _sighting(track: int, face: DetectedFace, size: Size) -> _Sighting:
    quality, pose = face.quality, face.pose
    return _Sighting(
        track=track,
        eye_px=eye_px(face, size),
        side_px=min(face.box.width * size.width, face.box.height * size.height),
        sharpness=quality.sharpness if quality else None,
        brightness=quality.brightness if quality else None,
        yaw=pose.yaw if pose else None,
        pitch=pose.pitch if pose else None,
    )


def _per_hour(count: int, seconds: float) -> float | None:
    """None where less than a minute was watched: that says nothing about an hour."""
    return 3600 * count / seconds if seconds >= 60 else None


def _best(seen: Sequence[_Sighting]) -> list[float]:
    """The most pixels between the eyes that each person ever had."""
    best: dict[int, float] = {}
    for one in seen:
        best[one.track] = max(one.eye_px, best.get(one.track, 0.0))
    return list(best.values())


# --- checks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Limits:
    what: str
    fit: float
    marginal: float
    source: str

    def check(self, use: str, value: float | None) -> SurveyCheck:
        return SurveyCheck(
            use=use,
            what=self.what,
            value=value,
            fit=self.fit,
            marginal=self.marginal,
            result=self._of(value),
            source=self.source,
        )

    def _of(self, value: float | None) -> Fitness:
        if value is None:
            return "not known"
        if value >= self.fit:
            return "fit"
        return "marginal" if value >= self.marginal else "unfit"


_EYES: Final = "median pixels between the eyes"
_EYE_LIMITS: Final = {
    ALERTS: _Limits(_EYES, EYE_LINES_PX[2], EYE_LINES_PX[1], _IEC),
    INVESTIGATION: _Limits(_EYES, EYE_LINES_PX[1], EYE_LINES_PX[0], _IEC),
}
_LARGE: Final = _Limits("share of faces of 50 px or more", _MOST, _SOME, _AWS_SEARCH)
_TURNED: Final = _Limits("share of faces turned little enough", _MOST, _SOME, _AWS_POSE)
_SHARP: Final = _Limits("share of faces sharp enough", _MOST, _SOME, _GATE)
_LIT: Final = _Limits("share of faces neither too dark nor too bright", _MOST, _SOME, _GATE)
_FPS: Final = _Limits("frames a second", 5.0, 1.0, _AWS_FPS)
_FOUND: Final = _Limits("share of faces of 40 px or more", _MOST, _SOME, _AWS_FACE)


def _checks(seen: Sequence[_Sighting], fps: float | None) -> Iterator[SurveyCheck]:
    median = percentile([one.eye_px for one in seen], 50)
    for use, limits in _EYE_LIMITS.items():
        yield limits.check(use, median)
        yield _LARGE.check(use, _share([one.side_px >= 50 for one in seen]))
        yield _TURNED.check(use, _share([t for one in seen if (t := _facing(one)) is not None]))
        yield _SHARP.check(use, _share([s for one in seen if (s := _sharp(one)) is not None]))
        yield _LIT.check(use, _share([b for one in seen if (b := _lit(one)) is not None]))
        yield _FPS.check(use, fps)
    yield _FOUND.check(DETECTION, _share([one.side_px >= 40 for one in seen]))


def _share(met: Sequence[bool]) -> float | None:
    return sum(met) / len(met) if met else None


def _facing(one: _Sighting) -> bool | None:
    if one.yaw is None or one.pitch is None:
        return None
    return abs(one.yaw) < 45 and -30 <= one.pitch <= 45


def _sharp(one: _Sighting) -> bool | None:
    return None if one.sharpness is None else one.sharpness >= ShotRules().min_sharpness


def _lit(one: _Sighting) -> bool | None:
    darkest, brightest = ShotRules().brightness
    return None if one.brightness is None else darkest <= one.brightness <= brightest


_WORST_FIRST: Final[tuple[Fitness, ...]] = ("unfit", "not known", "marginal", "fit")


def _verdict(use: str, checks: Sequence[SurveyCheck], size: Size | None) -> SurveyVerdict:
    """As good as the worst check. What this detector does not tell is not held against a camera,
    but for the size of faces, without which nothing can be said."""
    own = [one for one in checks if one.use == use]
    known = [own[0], *(one for one in own[1:] if one.result != "not known")]
    worst = min(known, key=lambda one: _WORST_FIRST.index(one.result))
    if worst.value is None:
        return SurveyVerdict(use=use, result="not known", why="no face was seen")
    below = worst.fit if worst.result == "marginal" else worst.marginal
    why = "" if worst.result == "fit" else f"{worst.what}: {worst.value:.2g}, below {below:g}"
    advice = _advice(own[0], size) if own[0].what == _EYES and size else ""
    return SurveyVerdict(use=use, result=worst.result, why=why, advice=advice)


def _advice(eyes: SurveyCheck, size: Size) -> str:
    """What would give a camera the pixels between the eyes that its use takes."""
    if not eyes.value or eyes.value >= eyes.fit:
        return ""
    gives, share = eyes.value / EYES_APART_METERS, eyes.value / eyes.fit
    scene = size.width / gives
    words = (
        f"where people pass it gives {gives:.0f} px/m and {eyes.fit / EYES_APART_METERS:.0f} are "
        f"needed: bring it to {share:.0%} of the distance, or narrow the view there from "
        f"{scene:.1f} m to {scene * share:.1f} m"
    )
    if size.width >= _4K_WIDTH:
        return words
    wider = eyes.value * _4K_WIDTH / size.width
    alone = "would do" if wider >= eyes.fit else f"alone gives {wider / EYES_APART_METERS:.0f} px/m"
    return f"{words}; a 4K picture {alone}"
