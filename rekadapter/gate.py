"""Which parts of a frame are worth asking about. In this slice: all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from rekadapter.feeds.frames import Frame
from rekadapter.imaging import Image
from rekadapter.types import BoundingBox

WHOLE: Final = BoundingBox(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Probe:
    """An image to ask about; ``region`` is where it stands in its frame."""

    image: Image
    region: BoundingBox


class Gate(Protocol):
    """Looks at each frame of each camera once; every lane asks about the same probes."""

    def probes(self, frame: Frame) -> tuple[Probe, ...]:
        """What to ask about ``frame``: nothing at all is an answer too. Called from a thread per
        camera."""
        ...


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """Lets every frame pass whole."""

    def probes(self, frame: Frame) -> tuple[Probe, ...]:
        return (Probe(frame.image, WHOLE),)
