"""AWS Rekognition's face collections for your tests: no account, no network, no model.

With moto, call ``install()`` once and ``mock_aws`` has collections; without moto, ``with
mocked_rekognition(client)``. Who is on which picture is drawn (``picture_of``) or declared
(``RekognitionMock.declare``).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.errors import ConfigError
from rekadapter.imaging import Image, encode_png
from rekadapter.recognizer import Recognizer
from rekadapter.rekognition_api import in_process
from rekadapter.rekognition_api.context import S3Location, ServiceSettings
from rekadapter.rekognition_api.in_process import MockEndedError, MockTarget, MotoActiveError
from rekadapter.rekognition_api.injections import Injection, fail, slow, throttle
from rekadapter.rekognition_api.jobs.settings import VideoSettings
from rekadapter.rekognition_api.jobs.video import Analysis
from rekadapter.rekognition_api.mock_works import Notice, Surroundings
from rekadapter.rekognition_api.mocking import DEFAULT_ACCOUNT, MockedRegion, MockedRekognition
from rekadapter.rekognition_api.objects import ObjectStore
from rekadapter.testing.clips import even, write_clip
from rekadapter.testing.declared import (
    Declarations,
    DeclaredFace,
    DeclaredFinder,
    DeclaredVideo,
    Faces,
    KeyMarkingReader,
    Named,
    Objects,
    declare,
    shown_on_video,
)
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import AgeRange, FaceAttribute, Gender, PerceivedGender, Size

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient

__all__ = [
    "EVERY_ANSWER",
    "AgeRange",
    "DeclaredFace",
    "Gender",
    "Injection",
    "MockEndedError",
    "MotoActiveError",
    "Notice",
    "PerceivedGender",
    "RekognitionMock",
    "fail",
    "install",
    "installed",
    "mocked_rekognition",
    "picture_of",
    "slow",
    "throttle",
    "uninstall",
    "video_of",
]

EVERY_ANSWER: Final = ("CompareFaces", "StartFaceSearch", "GetFaceSearch")
"""Those of moto's canned operations that the mock can answer for real."""
_SIDES_PX: Final = range(120, 10, -10)
"""At multiples of ten a drawn face's fields have whole pixels, so that all sizes look alike."""
_MARGIN_PX: Final = 20
_PITCH_PX: Final = _SIDES_PX[0] + _MARGIN_PX
_FRAMES_A_SECOND: Final = 5
"""As many as a job looks at."""


class RekognitionMock(MockedRekognition):
    """A Rekognition to set up in a test: pictures, faults, delays.

    Under moto, what is set up while ``mock_aws`` runs ends with it, and what is set up outside
    stays. ``recognizer`` puts another recognizer in the place of the model-free one, for instance
    a real model's; it is called for each account and region, and nothing can be declared then.
    """

    def __init__(
        self,
        *,
        recognizer: Callable[[], Recognizer] | None = None,
        settings: ServiceSettings | None = None,
        seed: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        video: VideoSettings | None = None,
    ) -> None:
        self._declared = Declarations()
        self._declared_for_now = Declarations()
        self._objects = Objects()
        self._takes_declarations = recognizer is None
        super().__init__(
            recognizer or self._without_model,
            settings=settings,
            seed=seed,
            sleep=sleep,
            video=video,
        )

    def declare(
        self,
        faces: Faces,
        *,
        image: bytes | Path | None = None,
        s3_key: str | None = None,
        external_image_id: str | None = None,
        from_seconds: float = 0.0,
    ) -> None:
        """Says who is on a picture: an identity, several (largest first), or ``()`` for nobody.

        The picture is named by one of: ``image``, its bytes or its file; ``s3_key``, the key of an
        ``S3Object`` or the part of it after the last slash; ``external_image_id``, for IndexFaces
        only. A picture known in several ways goes by its bytes, then by its key. Declaring again
        replaces. Bytes still have to be a JPEG or PNG that Rekognition would take.

        Stored videos are declared by ``image`` or ``s3_key`` too, and show these faces on every
        frame; ``from_seconds`` above 0 says who is seen from that moment on, after what was
        declared before.

        Raises:
            ConfigError: not exactly one way given, or the mock has a recognizer of its own.
        """
        if not self._takes_declarations:
            raise ConfigError("a mock with a recognizer of its own looks at the pictures itself")
        layer = self._declared_for_now if self.is_passing() else self._declared
        declare(layer, faces, Named(image, s3_key, external_image_id), from_seconds)

    def put_object(self, bucket: str, key: str, data: bytes) -> None:
        """An object for ``S3Object`` where there is no moto: under moto its S3 is read instead."""
        self._objects.put(bucket, key, data)

    def client(self, region: str = "us-east-1") -> RekognitionClient:
        """A boto3 client for ``region``; it reaches the mock while that is in place."""
        return boto3.client("rekognition", region_name=region)

    def open_region(self, around: Surroundings | None = None) -> MockedRegion:
        around = around or Surroundings()
        objects = KeyMarkingReader(around.objects or self._objects, self._layers)
        return super().open_region(replace(around, objects=objects))

    def reset(self) -> None:
        self._declared_for_now.clear()
        super().reset()

    @property
    def _layers(self) -> tuple[Declarations, Declarations]:
        return (self._declared, self._declared_for_now)

    def _watched(self, video: S3Location, objects: ObjectStore, analysis: Analysis) -> Analysis:
        shown = shown_on_video(self._layers, objects, video)
        return analysis if shown is None else DeclaredVideo(analysis, shown)

    def _without_model(self) -> Recognizer:
        return MemoryRecognizer(DeclaredFinder(self._layers), attributes=frozenset(FaceAttribute))


def picture_of(*identities: str) -> bytes:
    """A small PNG with a drawn face for each identity, the first one largest; of nobody without.

    The mock recognizes drawn faces without a declaration, also scaled and as JPEG. No model takes
    them for a person.
    """
    return encode_png(_drawn(identities, room=len(identities)))


def video_of(*scenes: str | Iterable[str]) -> bytes:
    """A small MP4 of five frames a second, with a second for each scene: an identity, several, or
    ``()`` for nobody, drawn as on ``picture_of``. Write it to a file or put it into S3.

    Raises:
        ConfigError: no scene, or too many faces in one.
    """
    shown = [(scene,) if isinstance(scene, str) else tuple(scene) for scene in scenes]
    if not shown:
        raise ConfigError("a video needs at least one scene; () is one of nobody")
    room = max(map(len, shown))
    frames = [image for who in shown for image in [_drawn(who, room)] * _FRAMES_A_SECOND]
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder) / "clip.mp4", even(frames, fps=_FRAMES_A_SECOND))
        return clip.read_bytes()


def _drawn(identities: Sequence[str], room: int) -> Image:
    """All pictures with the same ``room`` have the same size."""
    if len(identities) > len(_SIDES_PX):
        raise ConfigError(f"a drawn picture has room for {len(_SIDES_PX)} faces")
    faces = [
        DrawnFace(identity, _MARGIN_PX + place * _PITCH_PX, _MARGIN_PX, side)
        for place, (identity, side) in enumerate(zip(identities, _SIDES_PX, strict=False))
    ]
    size = Size(_MARGIN_PX + max(1, room) * _PITCH_PX, 2 * _MARGIN_PX + _SIDES_PX[0])
    return picture(*faces, size=size)


def install(
    mock: RekognitionMock | None = None, *, own_answers: Iterable[str] | None = None
) -> RekognitionMock:
    """Gives moto's ``mock_aws`` (and its server, in this process) stateful face collections.

    Call it once, for instance in ``conftest.py``; ``install()`` again changes nothing. moto's own
    eight operations keep their canned answers except those in ``own_answers``: ``EVERY_ANSWER``
    has the mock compare faces and search stored videos. Returns the mock that is installed.

    Raises:
        ConfigError: moto is missing, or is not as the extension knows it.
    """
    from rekadapter.rekognition_api.moto_ext import install as moto_install  # noqa: PLC0415 - moto is optional

    current = moto_install.installed_mock()
    if isinstance(current, RekognitionMock) and mock is None:
        if own_answers is None:
            return current
        mock = current
    mock = mock or RekognitionMock()
    moto_install.install(mock, own_answers=own_answers or ())
    return mock


def uninstall() -> None:
    """moto's Rekognition as it was. Without an installation nothing happens."""
    from rekadapter.rekognition_api.moto_ext import install as moto_install  # noqa: PLC0415 - moto is optional

    moto_install.uninstall()


@contextmanager
def installed(
    mock: RekognitionMock | None = None, *, own_answers: Iterable[str] = ()
) -> Iterator[RekognitionMock]:
    """``install()`` for the length of a block; afterwards moto is as it was before."""
    from rekadapter.rekognition_api.moto_ext import install as moto_install  # noqa: PLC0415 - moto is optional

    mock = mock or RekognitionMock()
    with moto_install.installed(mock, own_answers=own_answers):
        yield mock


@contextmanager
def mocked_rekognition(
    target: MockTarget | None = None,
    *,
    mock: RekognitionMock | None = None,
    account: str = DEFAULT_ACCOUNT,
) -> Iterator[RekognitionMock]:
    """Rekognition without moto, for a client, a boto3 or botocore session, or all new clients.

    Two blocks with the same ``mock`` share its collections; a mock made here ends with the block.
    See ``rekadapter.rekognition_api.in_process.answered_by`` for what each target means.

    Raises:
        MotoActiveError: moto's ``mock_aws`` is running: use ``install()``.
    """
    made = mock or RekognitionMock()
    try:
        with in_process.answered_by(made, target, account=account):
            yield made
    finally:
        if mock is None:
            made.close()
