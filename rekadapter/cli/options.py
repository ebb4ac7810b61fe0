"""Options that several commands share, each written once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final

import typer

MOST_USD: Final = 1e9
"""Beyond it a price is a slip of the finger."""


def number(*names: str, low: float, high: float, about: str) -> Any:  # noqa: ANN401 - as typer.Option
    """A numeric option within bounds: what lies outside, and what is no number, is refused.

    Every numeric option has both bounds, so that no arithmetic meets an infinity.
    """
    return typer.Option(*names, min=low, max=high, callback=_refuse_nan, help=about)


def _refuse_nan(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number")  # every comparison with a bound lets it pass
    return value


BackendName = Annotated[
    str | None,
    typer.Option("--backend", "-b", help="local, rekognition, memory, or a name in the settings."),
]
BackendNames = Annotated[
    list[str] | None,
    typer.Option("--backend", "-b", help="A backend; give it again for more than one."),
]
GalleryName = Annotated[str | None, typer.Option("--gallery", "-g", help="The gallery's name.")]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        "-t",
        help="Least score that counts as a match, on the backend's own scale: 90 or cloud=99.",
    ),
]
ThresholdsFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold-from",
        help="The threshold that a report measured: what `evaluate` wrote, or cloud=PATH for one "
        "backend.",
    ),
]
ThresholdTarget = Annotated[
    float | None,
    number("--target-fpir", low=1e-9, high=0.5, about="Another row of that report than its first."),
]
AcceptLargerGallery = Annotated[
    bool,
    typer.Option(
        "--accept-larger-gallery",
        help="Take that threshold for a gallery of more than twice the size it was measured at.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, number("--limit", low=1, high=4096, about="Candidates a face.")]
INTERRUPTED = 130
"""128 + SIGINT, what shells expect of a command ended by Ctrl-C."""

ImagePath = Annotated[Path, typer.Argument(help="An image file.", show_default=False)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file instead of ./rekadapter.toml.")
]
