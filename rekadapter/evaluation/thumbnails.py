"""Pictures of faces, small and inside the page, within a budget."""

from __future__ import annotations

import base64
import logging
from pathlib import Path, PurePosixPath
from typing import Final

from rekadapter.errors import ImageError
from rekadapter.imaging import Image, encode_jpeg, scaled_down

MAX_SIDE_PX: Final = 112
_QUALITY: Final = 82
_BUDGET_CHARACTERS: Final = 500_000

logger = logging.getLogger(__name__)


class Thumbnails:
    """Gives the faces of a run directory as data URIs, until together they fill the budget.

    ``given`` counts the pictures given, ``left_out`` those for which there was no room.
    """

    def __init__(self, folder: Path, *, budget_characters: int = _BUDGET_CHARACTERS) -> None:
        self._folder = folder
        self._room = budget_characters
        self._known: dict[str, str | None] = {}
        self.given = 0
        self.left_out = 0

    def data_uri(self, name: str | None) -> str | None:
        """The picture under ``name``, at most ``MAX_SIDE_PX`` a side; None where there is none.

        A name that leaves the folder is no name of ours and gives None.
        """
        if name is None or not _is_file_name(name):
            return None
        if name not in self._known:
            self._known[name] = self._read(self._folder / name)
        uri = self._known[name]
        if uri is None:
            return None
        if len(uri) > self._room:
            self.left_out += 1
            return None
        self._room -= len(uri)
        self.given += 1
        return uri

    def _read(self, path: Path) -> str | None:
        if not path.is_file():
            return None
        try:
            image = Image.open(path)
            factor = min(1.0, MAX_SIDE_PX / max(image.size.width, image.size.height))
            jpeg = encode_jpeg(scaled_down(image, factor), _QUALITY)
        except ImageError as error:
            logger.warning("a face is left out of the report: %s", error)
            return None
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _is_file_name(name: str) -> bool:
    plain = PurePosixPath(name).name == name and "\\" not in name and "\0" not in name
    return plain and name not in {"", ".", ".."}
