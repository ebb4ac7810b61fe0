"""Photographs as a feed: a folder of them, or one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rekadapter.errors import FeedError, ImageError
from rekadapter.feeds.frames import UNREADABLE, FeedSpec, Frame, LostFrame
from rekadapter.imaging import IMAGE_SUFFIXES, Image

SECONDS_APART = 1.0
"""Time between photographs of a folder when nobody says how often they were taken."""


def images_in(folder: Path) -> tuple[Path, ...]:
    """The image files of a folder by name, hidden ones and subfolders left out.

    Raises:
        FeedError: the folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise FeedError(f"the folder {folder} cannot be read: {error.strerror}") from error
    return tuple(
        entry
        for entry in entries
        if entry.suffix.lower() in IMAGE_SUFFIXES
        and not entry.name.startswith(".")
        and entry.is_file()
    )


class StillsFeed:
    """Image files in order, each a frame.

    Without ``fps`` they are single photographs, counted one second apart. With ``fps`` they are a
    sequence taken that often: none is left out, and a person may be followed from one to the next.
    """

    live = False

    def __init__(self, spec: FeedSpec, paths: tuple[Path, ...]) -> None:
        if not paths:
            raise FeedError(f"no image in the folder {spec.source}: give a folder that holds some")
        self.spec = spec
        self.continuous = spec.fps is not None and len(paths) > 1
        self._paths = paths
        self._seconds_apart = SECONDS_APART if spec.fps is None else 1.0 / spec.fps

    @property
    def expected_frames(self) -> int:
        return len(self._paths)

    def frames(self) -> Iterator[Frame | LostFrame]:
        """Every image, decoded; one that cannot be is a ``LostFrame``."""
        for index, path in enumerate(self._paths):
            yield self._frame(index, path)

    def _frame(self, index: int, path: Path) -> Frame | LostFrame:
        camera, seconds = self.spec.camera, index * self._seconds_apart
        try:
            image = Image.open(path)
            _ = image.pixels  # decoded here, once: a damaged body is this feed's news to tell
            taken = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (ImageError, OSError) as error:
            return LostFrame(camera, index, seconds, UNREADABLE, str(error))
        return Frame(camera, index, seconds, taken, image)
