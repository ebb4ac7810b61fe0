"""The demo's roster and camera clips, drawn at run time; nothing about them measures accuracy.

Four short clips of drawn places, through which people cut out of package photographs move: towards
the camera, across, several at once, and, on one camera that is mounted too far away, too small to
be recognized. What is in each clip is known exactly, because it was put there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from rekadapter.errors import OutputError
from rekadapter.imaging import Image, Pixels, encode_jpeg
from rekadapter.testing.backdrops import corridor, lobby, parking, street
from rekadapter.testing.faces_from_packages import Person, people
from rekadapter.types import CameraId, Size, SubjectId

SceneProgress = Callable[[int, int], None]
"""Told ``(frames drawn, frames in all)`` after each frame."""

FRAMES_PER_SECOND: Final = 10

_SEED: Final = 2026
_NOISE_FIELDS: Final = 4
_FADE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class DemoClip:
    """One camera of the demo and its video file."""

    camera: CameraId
    path: Path


@dataclass(frozen=True, slots=True)
class Appearance:
    """Who is in a clip from when to when: both eyes inside the picture, seconds from its start.

    Eye distances are pixels between the eyes where the head was drawn, smallest and largest.
    """

    camera: CameraId
    person: SubjectId
    enrolled: bool
    first_seconds: float
    last_seconds: float
    min_eye_distance_px: float
    max_eye_distance_px: float


@dataclass(frozen=True, slots=True)
class DemoScene:
    """``roster`` holds one folder per subject with one photo; ``clips`` one video per camera.

    ``truth`` says who was put where; ``notes`` what a reader of any result has to know.
    """

    roster: Path
    clips: tuple[DemoClip, ...]
    truth: tuple[Appearance, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Eyes at ``(x, y)``, fractions of the picture, ``eyes_px`` apart."""

    x: float
    y: float
    eyes_px: float


@dataclass(frozen=True, slots=True)
class _Treatment:
    """What makes a person on camera differ from the photograph they were enrolled with."""

    gain: float = 1.0
    blur_px: float = 0.0
    tilt_degrees: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class _Walk:
    """One person from one place to another, at an even pace."""

    person: str
    first_seconds: float
    last_seconds: float
    start: _Place
    end: _Place
    look: _Treatment = _Treatment()


@dataclass(frozen=True, slots=True)
class _Clip:
    camera: str
    size: Size
    seconds: float
    backdrop: Callable[[Size], Pixels]
    noise: float
    walks: tuple[_Walk, ...]


_ENROLLED: Final = ("astronaut", "black-shirt", "red-shirt", "black-top")

# Nobody moves by more than about a face's width in half a second, so that trackers can follow them
# at two frames a second, as the demo samples them.
_CLIPS: Final = (
    _Clip(
        "lobby",
        Size(1920, 1080),
        14.0,
        lobby,
        2.0,
        (
            _Walk(
                "astronaut",
                1.2,
                7.5,
                _Place(0.30, 0.33, 17),
                _Place(0.36, 0.40, 43),
                _Treatment(gain=0.88, blur_px=0.5, tilt_degrees=3),
            ),
            _Walk(
                "long-hair",
                2.4,
                12.8,
                _Place(-0.04, 0.44, 34),
                _Place(0.54, 0.45, 37),
                _Treatment(gain=0.95, blur_px=0.4, tilt_degrees=-4),
            ),
            _Walk(
                "black-shirt",
                5.0,
                12.6,
                _Place(0.80, 0.34, 22),
                _Place(0.70, 0.42, 50),
                _Treatment(gain=1.06, blur_px=0.6, tilt_degrees=-5),
            ),
        ),
    ),
    _Clip(
        "entrance",
        Size(1280, 720),
        13.0,
        street,
        2.5,
        (
            _Walk(
                "red-shirt",
                0.6,
                6.2,
                _Place(0.56, 0.36, 12),
                _Place(0.44, 0.42, 42),
                _Treatment(gain=0.82, blur_px=0.5, tilt_degrees=4, mirrored=True),
            ),
            _Walk(
                "dark-hair",
                1.6,
                12.2,
                _Place(1.06, 0.42, 36),
                _Place(-0.02, 0.44, 37),
                _Treatment(gain=0.9, blur_px=0.4),
            ),
            _Walk(
                "black-top",
                7.0,
                12.4,
                _Place(0.74, 0.36, 18),
                _Place(0.66, 0.42, 44),
                _Treatment(gain=0.92, blur_px=0.5, tilt_degrees=-3),
            ),
        ),
    ),
    _Clip(
        "corridor",
        Size(1280, 720),
        12.0,
        corridor,
        3.5,
        (
            _Walk(
                "gray-portrait",
                1.0,
                6.0,
                _Place(0.48, 0.36, 10),
                _Place(0.54, 0.42, 36),
                _Treatment(gain=0.8, blur_px=0.4, tilt_degrees=-2),
            ),
            _Walk(
                "black-shirt",
                3.4,
                11.4,
                _Place(-0.06, 0.42, 32),
                _Place(0.60, 0.42, 36),
                _Treatment(gain=0.62, blur_px=0.8, tilt_degrees=4, mirrored=True),
            ),
        ),
    ),
    _Clip(
        "parking",
        Size(1280, 720),
        12.0,
        parking,
        2.0,
        (
            _Walk(
                "astronaut",
                0.0,
                11.9,
                _Place(0.22, 0.54, 7),
                _Place(0.30, 0.58, 9),
                _Treatment(gain=0.95, blur_px=0.3),
            ),
            _Walk(
                "red-shirt",
                1.5,
                10.5,
                _Place(0.84, 0.55, 7),
                _Place(0.70, 0.60, 9),
                _Treatment(gain=0.95, blur_px=0.3, mirrored=True),
            ),
            _Walk(
                "long-hair",
                3.0,
                11.0,
                _Place(0.50, 0.52, 6),
                _Place(0.56, 0.55, 7),
                _Treatment(blur_px=0.3),
            ),
        ),
    ),
)

_NOTES: Final = (
    "The camera clips are synthetic: people cut out of still photographs were moved over drawn "
    "places, with noise, blur, dimmer light and tilted heads added.",
    "The roster was made from the same few photographs as the clips (one photograph a person), so "
    "that every camera picture of an enrolled person resembles the enrolled one far more than a "
    "real camera's would. Nothing here says how accurate either system is.",
    "The camera 'parking' shows people with 6 to 9 pixels between the eyes on purpose: too few to "
    "recognize anybody.",
    "People are named by what they wear. The photographs ship inside the Python packages "
    "scikit-image and InsightFace; rekadapter itself carries none.",
)


def _ignore(done: int, total: int) -> None:
    del done, total


def make_demo_scene(directory: Path, *, progress: SceneProgress = _ignore) -> DemoScene:
    """Draws the demo's roster and clips into ``directory``: the same on every call.

    Raises:
        UsageError: a package with photographs is missing, or holds other photographs.
        OutputError: the files cannot be written.
    """
    cast = {str(person.name): person for person in people()}
    roster = directory / "roster"
    try:
        _write_roster(roster, (cast[name] for name in _ENROLLED))
        clips = _write_clips(directory / "clips", cast, progress)
    except (OSError, FFmpegError) as error:
        raise OutputError(f"the demo's media cannot be written to {directory}: {error}") from error
    truth = tuple(found for clip in _CLIPS for found in _appearances(clip))
    return DemoScene(roster, clips, truth, _NOTES)


def _write_roster(roster: Path, enrolled: Iterable[Person]) -> None:
    for person in enrolled:
        folder = roster / person.name
        folder.mkdir(parents=True, exist_ok=True)
        brighter = cv2.convertScaleAbs(person.photo, alpha=1.04, beta=4)
        photo = Image.from_pixels(np.asarray(brighter, np.uint8))
        (folder / "photo.jpg").write_bytes(encode_jpeg(photo, 92))


def _write_clips(
    folder: Path, cast: dict[str, Person], progress: SceneProgress
) -> tuple[DemoClip, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(_frame_count(clip) for clip in _CLIPS)
    done = 0
    clips = []
    for clip in _CLIPS:
        path = folder / f"{clip.camera}.mp4"
        with _ClipWriter(path, clip.size) as writer:
            for picture in _pictures(clip, cast):
                writer.write(picture)
                done += 1
                progress(done, total)
        clips.append(DemoClip(CameraId(clip.camera), path))
    return tuple(clips)


def _frame_count(clip: _Clip) -> int:
    return round(clip.seconds * FRAMES_PER_SECOND)


# --- what is in a picture ---------------------------------------------------------------------


def _place(walk: _Walk, seconds: float) -> _Place:
    """Where a walking person's eyes are, with the small rise and fall of steps."""
    share = (seconds - walk.first_seconds) / (walk.last_seconds - walk.first_seconds)
    step = 0.004 * math.sin(seconds * 2 * math.pi * 1.8)
    return _Place(
        walk.start.x + share * (walk.end.x - walk.start.x),
        walk.start.y + share * (walk.end.y - walk.start.y) + step,
        walk.start.eyes_px + share * (walk.end.eyes_px - walk.start.eyes_px),
    )


def _visibility(walk: _Walk, seconds: float) -> float:
    """Grows to 1 as somebody comes out of a door."""
    return min(1.0, 0.4 + (seconds - walk.first_seconds) / _FADE_SECONDS)


def _present(walk: _Walk, seconds: float) -> bool:
    return walk.first_seconds <= seconds <= walk.last_seconds


def _appearances(clip: _Clip) -> Iterator[Appearance]:
    times = [frame / FRAMES_PER_SECOND for frame in range(_frame_count(clip))]
    for walk in clip.walks:
        places = [(t, _place(walk, t)) for t in times if _present(walk, t)]
        seen = [(t, place) for t, place in places if _eyes_inside(place, clip.size)]
        distances = [place.eyes_px for _, place in seen]
        yield Appearance(
            camera=CameraId(clip.camera),
            person=SubjectId(walk.person),
            enrolled=walk.person in _ENROLLED,
            first_seconds=seen[0][0],
            last_seconds=seen[-1][0],
            min_eye_distance_px=min(distances),
            max_eye_distance_px=max(distances),
        )


def _eyes_inside(place: _Place, size: Size) -> bool:
    half = place.eyes_px / 2 / size.width
    return half <= place.x <= 1 - half and 0 <= place.y <= 1


def _pictures(clip: _Clip, cast: dict[str, Person]) -> Iterator[Pixels]:
    random = np.random.default_rng([_SEED, len(clip.camera), clip.size.width])
    backdrop = clip.backdrop(clip.size)
    fields = [_noise(random, clip) for _ in range(_NOISE_FIELDS)]
    sprites = {walk: _sprite(cast[walk.person], walk.look) for walk in clip.walks}
    for frame in range(_frame_count(clip)):
        seconds = frame / FRAMES_PER_SECOND
        picture = backdrop.copy()
        present = [walk for walk in clip.walks if _present(walk, seconds)]
        for walk in sorted(present, key=lambda walk: _place(walk, seconds).eyes_px):
            shown = _scaled(sprites[walk], _place(walk, seconds).eyes_px, walk.look.blur_px)
            _paste(picture, shown, _place(walk, seconds), _visibility(walk, seconds))
        noise = np.roll(fields[frame % _NOISE_FIELDS], int(random.integers(clip.size.height)), 0)
        yield np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)


def _noise(random: np.random.Generator, clip: _Clip) -> NDArray[np.int16]:
    shape = (clip.size.height, clip.size.width)
    gray = random.normal(0, clip.noise, shape).astype(np.int16)
    return np.repeat(gray[..., None], 3, axis=2)


@dataclass(frozen=True, slots=True)
class _Sprite:
    """BGRA, uint8, shape (height, width, 4), and where the eyes are in it."""

    pixels: Pixels
    eyes_center: tuple[float, float]
    eye_distance_px: float


def _sprite(person: Person, look: _Treatment) -> _Sprite:
    """The person as this camera's light gives them, at the photograph's resolution."""
    turn = cv2.getRotationMatrix2D(person.eyes_center, look.tilt_degrees, 1.0)
    turn[0] += 0.006 * look.tilt_degrees * np.array([0, 1, -person.eyes_center[1]])  # shear
    height, width = person.head.shape[:2]
    head = np.asarray(cv2.warpAffine(person.head, turn, (width, height)), np.float32)
    over = head[..., 3:] / 255
    under = person.body[..., 3:].astype(np.float32) / 255
    alpha = over + under * (1 - over)
    color = (head[..., :3] * over + person.body[..., :3] * under * (1 - over)) / (alpha + 1e-6)
    lit = np.clip(color * look.gain, 0, 255)
    pixels = np.dstack([lit, alpha * 255]).round().astype(np.uint8)
    x, y = person.eyes_center
    if look.mirrored:
        pixels, x = np.ascontiguousarray(pixels[:, ::-1]), width - 1 - x
    return _Sprite(pixels, (x, y), person.eye_distance_px)


def _paste(picture: Pixels, sprite: _Sprite, place: _Place, visibility: float) -> None:
    """Draws a person into ``picture``, in place."""
    height, width = sprite.pixels.shape[:2]
    left = round(place.x * picture.shape[1] - sprite.eyes_center[0])
    top = round(place.y * picture.shape[0] - sprite.eyes_center[1])
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, picture.shape[1]), min(top + height, picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = sprite.pixels[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
    alpha = part[..., 3:] * (visibility / 255)
    under = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = (part[..., :3] * alpha + under * (1 - alpha)).round().astype(np.uint8)


def _scaled(sprite: _Sprite, eyes_px: float, blur_px: float) -> _Sprite:
    """The sprite with its eyes ``eyes_px`` apart: never larger than photographed."""
    scale = eyes_px / sprite.eye_distance_px
    if scale > 1:
        raise ValueError(f"no more than {sprite.eye_distance_px:.0f} px between these eyes")
    height, width = sprite.pixels.shape[:2]
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    small = cv2.resize(sprite.pixels, size, interpolation=cv2.INTER_AREA)
    if blur_px:
        small = cv2.GaussianBlur(small, (0, 0), blur_px)
    x, y = sprite.eyes_center
    return _Sprite(np.asarray(small, np.uint8), (x * scale, y * scale), eyes_px)


# --- video ------------------------------------------------------------------------------------


class _ClipWriter:
    """Writes BGR pictures of one size as an MP4 with even time stamps."""

    def __init__(self, path: Path, size: Size) -> None:
        self._container = av.open(str(path), "w")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": "25", "preset": "veryfast", "threads": "2"} if codec == "libx264" else {}
        stream = self._container.add_stream(codec, rate=FRAMES_PER_SECOND, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size.width, size.height
        stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = 3 * size.width * size.height
        stream.time_base = Fraction(1, FRAMES_PER_SECOND)
        self._stream = stream
        self._written = 0

    def __enter__(self) -> _ClipWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, picture: Pixels) -> None:
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = self._written
        frame.time_base = Fraction(1, FRAMES_PER_SECOND)
        self._written += 1
        self._container.mux(self._stream.encode(frame))
