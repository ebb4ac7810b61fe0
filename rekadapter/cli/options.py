"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=4096, help="Candidates a face.")]
INTERRUPTED = 130
"""128 + SIGINT, what shells expect of a command ended by Ctrl-C."""

ImagePath = Annotated[Path, typer.Argument(help="An image file.", show_default=False)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file instead of ./rekadapter.toml.")
]
