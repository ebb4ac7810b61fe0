"""The words between a gate, the queue and the recorder.

Every frame comes out of a gate in exactly one of two ways, so that captured = processed + dropped
stays true in every mode: with probes (a lane then answers for the frame, once, whatever happens),
or without, and then with the one cause it is counted under.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Protocol, runtime_checkable

from rekadapter.feeds.frames import Feed, Frame
from rekadapter.imaging import Image
from rekadapter.tracking import Span
from rekadapter.types import BoundingBox, CameraId, DetectedFace, Reason

WHOLE: Final = BoundingBox(0.0, 0.0, 1.0, 1.0)

NOTHING_TO_ASK: Final = "nothing_to_ask"
"""a gate let nothing of the frame pass and gave no closer cause"""
BETWEEN_LOOKS: Final = "between_looks"
"""the gate looks at fewer frames a second than the camera gives"""
NO_MOTION: Final = "no_motion"
"""nothing moved since the last frame that was looked at"""
NO_FACE: Final = "no_face"
"""the local detector found no face"""
NOT_WORTH_SENDING: Final = "not_worth_sending"
"""every face was too small, too blurred, too dark or turned too far away"""
OVER_BUDGET: Final = "over_budget"
"""a face would not fit the bytes there are without falling below what is worth sending"""
NOT_A_BETTER_SHOT: Final = "not_a_better_shot"
"""everybody in it was asked about with as good a picture before, or a better one is waited for"""

GATED: Final = frozenset(
    {
        NOTHING_TO_ASK,
        BETWEEN_LOOKS,
        NO_MOTION,
        NO_FACE,
        NOT_WORTH_SENDING,
        OVER_BUDGET,
        NOT_A_BETTER_SHOT,
    }
)
"""causes of frames that were looked at and not sent, as opposed to frames that were lost"""


class Priority(IntEnum):
    """What goes first when the uplink is short; the smallest."""

    FIRST_SHOT = 0
    BETTER_SHOT = 1
    RECHECK = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """An image to ask about; ``region`` is where it stands in its frame.

    ``face`` is the one face meant, in the coordinates of the frame; None asks about every face of
    the image. ``track`` is the gate's number for the person, where it follows people. A probe older
    than ``max_age_seconds`` is not worth sending any more; None: it always is.
    """

    image: Image
    region: BoundingBox
    face: DetectedFace | None = None
    track: int | None = None
    priority: Priority = Priority.FIRST_SHOT
    max_age_seconds: float | None = None

    @property
    def size_bytes(self) -> int | None:
        """What its image takes as it is, without the transport's encoding; None: not encoded."""
        return None if self.image.encoded is None else len(self.image.encoded)


@dataclass(frozen=True, slots=True)
class Followed:
    """A face the gate saw in a frame, and the number it follows that person under."""

    track: int
    face: DetectedFace


@dataclass(frozen=True, slots=True)
class Look:
    """What a gate makes of a frame. Without ``probes``, ``cause`` is what it is counted under.

    ``followed`` is everybody in the frame, where the gate follows people; None where it does not,
    and whoever gets the answers has to. ``seen`` are the faces that it found before anything was
    sent; None where it did not look for any.
    """

    probes: tuple[Probe, ...] = ()
    cause: str = NOTHING_TO_ASK
    followed: tuple[Followed, ...] | None = None
    seen: tuple[DetectedFace, ...] | None = None


class Gate(Protocol):
    """Looks at every frame of each camera once, in order of time, in a thread per camera."""

    def look(self, frame: Frame) -> Look:
        """What to ask about ``frame``: nothing at all is an answer too.

        Raises:
            ImageError: the frame's image is damaged.
        """
        ...


class Fate(StrEnum):
    """What became of a probe. LOST: nobody answered (dropped, failed, or stopped on the way)."""

    CLEAR = "clear"
    """a candidate meets the threshold with room to spare"""
    NEAR = "near"
    """no clear match, but so near the threshold or above it that another picture may turn it"""
    NOBODY = "nobody"
    """no candidate near the threshold, or a face that could not be searched"""
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Settled:
    """A track that is over, nothing of it under way any more.

    ``unasked`` is why no picture of it was ever sent and answered; None: one was.
    """

    span: Span
    unasked: Reason | None


@runtime_checkable
class FollowsFaces(Protocol):
    """What a gate has besides ``look`` where it follows people: it is told what its probes came to,
    and tells when a person is gone. Every method may be called from another thread than ``look``.
    """

    def open(self, feed: Feed) -> None:
        """To be called before the camera's first frame."""
        ...

    def settle(self, camera: CameraId, track: int, frame: int, fate: Fate) -> None:
        """What became of the probe of ``track`` in ``frame``: once for every probe given."""
        ...

    def close(self, camera: CameraId) -> None:
        """The camera's feed is over: all its tracks are."""
        ...

    def settled(self, camera: CameraId) -> tuple[Settled, ...]:
        """Tracks of ``camera`` that are over and were not returned before, in order."""
        ...

    def under_way(self, camera: CameraId) -> int:
        """Probes of ``camera`` that are not settled yet."""
        ...


class FaceFinder(Protocol):
    """Finds faces on this machine, before anything is sent. Safe to call from several threads."""

    def find(self, image: Image) -> tuple[DetectedFace, ...]:
        """Every face of an image, largest first."""
        ...


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """Lets every frame pass whole."""

    def look(self, frame: Frame) -> Look:
        return Look((Probe(frame.image, WHOLE),))
