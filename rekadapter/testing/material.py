"""Pictures for the contract suite: drawn for the memory backend, photographs for real models.

Photographs are read from installed packages (scikit-image's astronaut, InsightFace's sample group
photo) at run time; none stands in this repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cv2
import numpy as np

from rekadapter.errors import UsageError
from rekadapter.imaging import Image, Pixels, encode_jpeg
from rekadapter.testing.drawn import DrawnFace, picture, portrait
from rekadapter.types import Size


@dataclass(frozen=True, slots=True)
class ContractMaterial:
    """What the contract suite shows a backend.

    ``ann`` and ``ann_again`` are two pictures of one person, ``bob`` is another, ``group`` has at
    least both, ann's face the largest, and ``nobody`` has no face.
    """

    ann: Image
    ann_again: Image
    bob: Image
    group: Image
    nobody: Image


def drawn_material() -> ContractMaterial:
    """Drawn faces, as JPEG files like everything a remote backend is sent."""
    group = picture(
        DrawnFace("ann", 60, 120, 200), DrawnFace("bob", 380, 200, 140), size=Size(640, 480)
    )
    return ContractMaterial(
        ann=_as_jpeg(portrait("ann", side=200)),
        ann_again=_as_jpeg(portrait("ann", side=120, gray=120)),
        bob=_as_jpeg(portrait("bob")),
        group=_as_jpeg(group),
        nobody=_as_jpeg(picture()),
    )


def photo_material() -> ContractMaterial:
    """Photographs of two people from installed packages.

    Raises:
        UsageError: scikit-image or InsightFace is not installed.
    """
    ann = _read(packaged_file("scikit-image", "skimage/data/astronaut.png"))[0:330, 90:360]
    friends = _read(packaged_file("insightface", "insightface/data/images/t1.jpg"))
    bob = friends[190:470, 400:660]
    canvas: Pixels = np.full((520, 760, 3), 128, dtype=np.uint8)
    canvas[80:410, 40:310] = ann
    canvas[200:410, 470:665] = cv2.resize(bob, (195, 210), interpolation=cv2.INTER_AREA)
    again = cv2.convertScaleAbs(cv2.flip(ann, 1), alpha=0.8, beta=20)
    return ContractMaterial(
        ann=_jpeg_of(ann),
        ann_again=_jpeg_of(np.asarray(again, dtype=np.uint8)),
        bob=_jpeg_of(bob),
        group=_jpeg_of(canvas),
        nobody=_as_jpeg(picture()),
    )


def packaged_file(package: str, path: str) -> Path:
    """A file of an installed package, found without importing the package.

    Raises:
        UsageError: the package, or the file in it, is not there.
    """
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError as error:
        raise UsageError(
            f'{package} is not installed: pip install "rekadapter[demo]" brings it'
        ) from error
    if not found.is_file():
        raise UsageError(f"{package} holds no {path}: install another version of it")
    return found


def _read(path: Path) -> Pixels:
    return Image.open(path).pixels


def _jpeg_of(pixels: Pixels) -> Image:
    return _as_jpeg(Image.from_pixels(np.ascontiguousarray(pixels)))


def _as_jpeg(image: Image) -> Image:
    return Image.from_bytes(encode_jpeg(image, 92))
