"""Opening a video for reading, whatever the release of PyAV."""

from __future__ import annotations

from typing import Any, Final

import av
from av.container import InputContainer

_TOLERANT_OF_ITSELF: Final = 19
"""The first major release of PyAV that keeps bytes it cannot decode by itself, and does not take
``metadata_errors`` any more."""


def open_container(
    source: str,
    *,
    options: dict[str, str] | None = None,
    timeout: tuple[float, float] | None = None,
) -> InputContainer:
    """A file or address to read pictures from. A title in an unknown encoding is no reason to
    refuse them. ``timeout``: seconds for opening, and for each read.

    Raises:
        FFmpegError, OSError: it cannot be opened.
    """
    how: dict[str, Any] = {"options": options, "timeout": timeout}
    if int(av.__version__.partition(".")[0]) < _TOLERANT_OF_ITSELF:
        how["metadata_errors"] = "replace"
    container: InputContainer = av.open(source, mode="r", **how)
    return container
