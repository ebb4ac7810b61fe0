"""What a camera's stream is coded as, and how many bytes it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Coded:
    """A stream as it came: its codec by FFmpeg's name, bytes of pictures, and how many pictures."""

    codec: str
    payload_bytes: int
    pictures: int


class Meter:
    """Counts what comes. One thread writes, others may read."""

    def __init__(self) -> None:
        self._coded: Coded | None = None

    def add(self, codec: str, payload_bytes: int, pictures: int) -> None:
        """A packet came, with so many pictures in it."""
        before = self._coded or Coded(codec, 0, 0)
        self._coded = Coded(codec, before.payload_bytes + payload_bytes, before.pictures + pictures)

    @property
    def coded(self) -> Coded | None:
        """What came so far; None before the first packet."""
        return self._coded


@runtime_checkable
class Metered(Protocol):
    """What a feed has besides its frames where it is a coded stream."""

    @property
    def coded(self) -> Coded | None:
        """What its frames took so far, sampled or not; None where nobody knows."""
        ...
