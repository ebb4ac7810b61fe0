"""The checked input of an operation, read by typed accessors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from rekadapter.rekognition_api.codec import WireObject, WireValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Members that the codec has checked; absent and null members are alike.

    An accessor of another type than the model's is a bug and raises ``TypeError``.
    """

    members: WireObject

    def has(self, name: str) -> bool:
        return name in self.members

    def text(self, name: str) -> str:
        """A member that the model requires."""
        return _of_type(str, self.members[name], name)

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if self.has(name) else None

    def number(self, name: str, default: float) -> float:
        return _of_type(float, self.members[name], name) if self.has(name) else default

    def integer(self, name: str, default: int) -> int:
        return _of_type(int, self.members[name], name) if self.has(name) else default

    def optional_bytes(self, name: str) -> bytes | None:
        return _of_type(bytes, self.members[name], name) if self.has(name) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Empty where the member is absent."""
        items = _of_type(list, self.members[name], name) if self.has(name) else []
        return tuple(_of_type(str, item, name) for item in items)

    def mapping(self, name: str) -> dict[str, str]:
        """Text by text; empty where the member is absent."""
        items = _of_type(dict, self.members[name], name) if self.has(name) else {}
        return {str(key): _of_type(str, item, name) for key, item in items.items()}

    def part(self, name: str) -> Request:
        """A structure within the request; without members where it is absent."""
        return Request(_of_type(dict, self.members[name], name) if self.has(name) else {})


def _of_type(kind: type[T], value: WireValue, name: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {type(value).__name__} by the model, not a {kind.__name__}")
    return value
