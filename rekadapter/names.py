"""Gallery names and subject ids, and how any subject id travels through Rekognition.

Rekognition's ``ExternalImageId`` holds 1 to 255 of ``[a-zA-Z0-9_.\\-:]`` (service model
rekognition/2016-06-27); a person's name does not fit. Text that fits is sent as it is; any other
text, and text that would look encoded, is sent as ``rk:`` followed by its UTF-8 bytes, of which all
but letters, digits, ``_``, ``.`` and ``-`` are written ``:XX``. So a collection filled by other
tools keeps its ids, and every id comes back as it went in.
"""

from __future__ import annotations

import re
from typing import Final

from rekadapter.errors import SubjectIdError
from rekadapter.types import GalleryId, SubjectId, UserId

_MARK: Final = "rk:"
_GALLERY: Final = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")
_EXTERNAL: Final = re.compile(r"[a-zA-Z0-9_.\-:]{1,255}")
_USER: Final = re.compile(r"[a-zA-Z0-9_.\-:]{1,128}")
_ENCODED: Final = re.compile(r"rk:(?:[a-zA-Z0-9_.\-]|:[0-9A-F]{2})+")
_PLAIN_BYTES: Final = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
)


def gallery_id(text: str) -> GalleryId:
    """A gallery's name, the same rule on every backend so that a switch needs no renaming.

    Raises:
        SubjectIdError: not 1 to 255 letters, digits, ``_``, ``.`` or ``-``.
    """
    if not _GALLERY.fullmatch(text):
        raise SubjectIdError(
            f"{text!r} cannot name a gallery: use 1 to 255 letters, digits, '_', '.' or '-'"
        )
    return GalleryId(text)


def user_id(text: str) -> UserId:
    """The id of a gallery's user, by Rekognition's rule on every backend.

    Raises:
        SubjectIdError: not 1 to 128 letters, digits, ``_``, ``.``, ``-`` or ``:``.
    """
    if not _USER.fullmatch(text):
        raise SubjectIdError(
            f"{text!r} cannot name a user: use 1 to 128 letters, digits, '_', '.', '-' or ':'"
        )
    return UserId(text)


def to_external_image_id(subject: SubjectId) -> str:
    """The ``ExternalImageId`` that stands for ``subject``; ``from_external_image_id`` undoes it.

    Raises:
        SubjectIdError: empty, not encodable as UTF-8, or over 255 characters once encoded.
    """
    if _EXTERNAL.fullmatch(subject) and from_external_image_id(subject) == subject:
        return subject
    try:
        data = subject.encode()
    except UnicodeEncodeError as error:
        raise SubjectIdError(f"the subject id {subject!r} is not valid Unicode text") from error
    encoded = _MARK + "".join(chr(b) if b in _PLAIN_BYTES else f":{b:02X}" for b in data)
    if not data or len(encoded) > 255:
        raise SubjectIdError(
            f"the subject id {subject!r} takes {len(encoded)} of Rekognition's 255 characters: "
            "use a shorter one that is not empty"
        )
    return encoded


def from_external_image_id(text: str) -> SubjectId:
    """The subject id that an ``ExternalImageId`` stands for; text of other tools is taken as is."""
    if not _ENCODED.fullmatch(text):
        return SubjectId(text)
    body = text.removeprefix(_MARK)
    data = re.sub(rb":([0-9A-F]{2})", lambda m: bytes.fromhex(m[1].decode()), body.encode())
    try:
        subject = SubjectId(data.decode())
    except UnicodeDecodeError:
        return SubjectId(text)
    return subject if to_external_image_id(subject) == text else SubjectId(text)
