"""Pages with opaque tokens, without a session to keep.

A token names the last key given and what was listed; it keeps working while items come and go, and
each item that stays is given exactly once. It fits Rekognition's 255 characters.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from rekadapter.rekognition_api.faults import invalid_page_token
from rekadapter.rekognition_api.request import Request

MAX_PAGE: Final = 4096
_TAG_BYTES: Final = 8
_KEY_CHARACTERS: Final = 140

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in the order of their keys, and the token of the rest, if any."""

    items: tuple[T, ...]
    next_token: str | None


def page_of(
    items: Iterable[T],
    *,
    key: Callable[[T], str],
    listing: Sequence[str],
    request: Request,
    most: int = MAX_PAGE,
) -> Page[T]:
    """The page that a request's ``NextToken`` and ``MaxResults`` ask for; 0 means ``most``.

    ``key`` is ASCII text, unique to an item; ``listing`` says what is listed (operation,
    collection, filters): a token of another listing is refused.

    Raises:
        FaultError: InvalidPaginationTokenException.
    """
    size = request.integer("MaxResults", most) or most
    tag = hashlib.sha256("\n".join(listing).encode()).digest()[:_TAG_BYTES]
    token = request.optional_text("NextToken")
    after = _read_token(token, tag) if token else ""
    rest = ((_ordered(key(item)), item) for item in items)
    found = heapq.nsmallest(size + 1, (pair for pair in rest if pair[0] > after), _key_of)
    more = len(found) > size
    return Page(
        items=tuple(item for _, item in found[:size]),
        next_token=_write_token(found[size - 1][0], tag) if more else None,
    )


def _key_of(pair: tuple[str, T]) -> str:
    return pair[0]


def _ordered(key: str) -> str:
    """A sort key of bounded length: the beginning, and a digest to tell long ones apart."""
    if len(key) <= _KEY_CHARACTERS:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[:_KEY_CHARACTERS]}\0{digest}"


def _write_token(key: str, tag: bytes) -> str:
    return base64.b64encode(tag + key.encode()).decode()


def _read_token(token: str, tag: bytes) -> str:
    try:
        data = base64.b64decode(token.encode("ascii"), validate=True)
        key = data[_TAG_BYTES:].decode("ascii")
    except ValueError as error:
        raise invalid_page_token() from error
    if data[:_TAG_BYTES] != tag or not key:
        raise invalid_page_token()
    return key
