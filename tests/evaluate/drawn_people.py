"""Drawn people as files, for data sets without a photograph."""

from __future__ import annotations

from pathlib import Path

from rekadapter.imaging import encode_png
from rekadapter.testing.drawn import portrait


def drawn(path: Path, identity: str, gray: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(portrait(identity, side=64, gray=gray)))
    return path


def people_folders(root: Path, people: int, photos: int = 3) -> Path:
    for person in range(people):
        for photo in range(photos):
            drawn(root / f"p{person:02d}" / f"{photo}.png", f"p{person}", gray=100 + 20 * photo)
    return root
