"""People for the demo, cut at run time out of photographs that installed packages carry.

No photograph is part of rekadapter. scikit-image ships one portrait, InsightFace one group photo
and one small portrait; outlines and eyes in them were marked by hand and are tied to the files by
hash. People are named by what they wear, so that a reader can check a label by eye.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rekadapter.errors import UsageError
from rekadapter.imaging import Image, Pixels
from rekadapter.types import PixelBox, Size, SubjectId

Outline = NDArray[np.int_]
Pairs = tuple[tuple[int, int], ...]

_CHIN_TO_FLOOR: Final = 21.5
"""an adult's chin is about 1.4 m above the floor, in eye distances of 63 mm"""
_INSTALL: Final = 'pip install "rekadapter[demo]"'


@dataclass(frozen=True, slots=True)
class _File:
    package: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Marks:
    """One person in one photograph, in its pixels: head outline, eyes, and what to photograph."""

    name: str
    file: _File
    outline: Pairs
    eyes: tuple[tuple[int, int], tuple[int, int]]
    roster: PixelBox
    clothes_bgr: tuple[int, int, int]
    hair_bgr: tuple[int, int, int] | None = None
    """drawn behind a head whose hair the photograph cuts off"""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who can be put into a picture.

    ``head`` and ``body`` are BGRA, uint8, both of shape (height, width, 4), one over the other: the
    photographed head with a soft outline at the photograph's own resolution, and a drawn standing
    figure. ``eyes_center`` is the place between the eyes, ``eye_distance_px`` their distance: the
    largest that can be shown honestly. ``photo`` is the photograph around the head, for a roster.
    """

    name: SubjectId
    head: Pixels
    body: Pixels
    eyes_center: tuple[float, float]
    eye_distance_px: float
    photo: Pixels


_ASTRONAUT: Final = _File(
    "skimage",
    "data/astronaut.png",
    "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
)
_GROUP: Final = _File(
    "insightface",
    "data/images/t1.jpg",
    "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
)
_PORTRAIT: Final = _File(
    "insightface",
    "data/images/Tom_Hanks_54745.png",
    "8545da294e8c7c79911169c3915fed8528f1960cd0ed99b92453788ca4275083",
)

_MARKS: Final = (
    _Marks(
        name="astronaut",
        file=_ASTRONAUT,
        outline=(
            (192, 34), (210, 22), (232, 16), (258, 21), (278, 38), (292, 58), (300, 84), (296, 108),
            (284, 124), (270, 132), (266, 154), (258, 172), (252, 196), (190, 196), (188, 176),
            (183, 158), (178, 134), (164, 118), (154, 98), (154, 70), (166, 50),
        ),
        eyes=((203, 102), (247, 105)),
        roster=PixelBox(110, 0, 350, 260),
        clothes_bgr=(38, 84, 214),
    ),
    _Marks(
        name="black-shirt",
        file=_GROUP,
        outline=(
            (474, 240), (492, 228), (520, 220), (560, 222), (588, 236), (606, 262), (606, 288),
            (596, 318), (590, 340), (576, 362), (566, 368), (556, 384), (548, 410), (540, 440),
            (500, 430), (482, 410), (470, 382), (464, 350), (466, 318), (464, 290), (466, 262),
        ),
        eyes=((494, 323), (545, 336)),
        roster=PixelBox(440, 200, 636, 450),
        clothes_bgr=(70, 64, 62),
    ),
    _Marks(
        name="red-shirt",
        file=_GROUP,
        outline=(
            (745, 318), (764, 302), (790, 294), (822, 292), (850, 302), (870, 322), (876, 346),
            (872, 372), (872, 400), (858, 422), (848, 426), (842, 458), (846, 490), (800, 500),
            (790, 478), (774, 474), (760, 452), (752, 424), (748, 396), (750, 366), (744, 340),
        ),
        eyes=((760, 402), (804, 400)),
        roster=PixelBox(722, 270, 896, 506),
        clothes_bgr=(40, 34, 128),
    ),
    _Marks(
        name="black-top",
        file=_GROUP,
        outline=(
            (1146, 258), (1166, 240), (1190, 236), (1218, 244), (1240, 264), (1254, 296),
            (1260, 340), (1262, 390), (1258, 424), (1234, 432), (1216, 420), (1212, 396),
            (1208, 428), (1148, 428), (1140, 432), (1124, 418), (1124, 380), (1124, 340),
            (1126, 300), (1134, 276),
        ),
        eyes=((1149, 324), (1195, 320)),
        roster=PixelBox(1096, 222, 1280, 452),
        clothes_bgr=(58, 52, 50),
    ),
    _Marks(
        name="long-hair",
        file=_GROUP,
        outline=(
            (34, 272), (52, 250), (76, 238), (104, 236), (134, 250), (158, 276), (174, 308),
            (186, 346), (188, 382), (170, 390), (150, 406), (136, 416), (130, 440), (84, 440),
            (40, 440), (26, 410), (22, 370), (22, 320), (26, 292),
        ),
        eyes=((89, 323), (127, 306)),
        roster=PixelBox(8, 222, 210, 440),
        clothes_bgr=(60, 50, 44),
    ),
    _Marks(
        name="dark-hair",
        file=_GROUP,
        outline=(
            (270, 140), (284, 120), (306, 106), (334, 102), (362, 108), (384, 122), (398, 142),
            (402, 170), (404, 206), (396, 214), (388, 200), (382, 216), (392, 246), (398, 276),
            (350, 290), (322, 278), (330, 264), (312, 254), (298, 234), (280, 208), (272, 176),
        ),
        eyes=((288, 204), (324, 194)),
        roster=PixelBox(250, 92, 430, 310),
        clothes_bgr=(44, 40, 52),
    ),
    _Marks(
        name="gray-portrait",
        file=_PORTRAIT,
        outline=(
            (6, 0), (76, 0), (81, 20), (84, 42), (82, 62), (76, 84), (70, 98), (62, 111), (22, 111),
            (12, 96), (6, 76), (2, 50), (2, 22),
        ),
        eyes=((36, 51), (73, 50)),
        roster=PixelBox(0, 0, 112, 112),
        clothes_bgr=(96, 92, 90),
        hair_bgr=(30, 30, 30),
    ),
)  # fmt: skip


def people() -> tuple[Person, ...]:
    """Everyone the installed packages can give, in a fixed order.

    Raises:
        UsageError: a package is missing, or its photograph is not the one that was marked.
    """
    photographs = {marks.file: _photograph(marks.file) for marks in _MARKS}
    return tuple(_person(marks, photographs[marks.file]) for marks in _MARKS)


def _photograph(file: _File) -> Pixels:
    spec = find_spec(file.package)
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(next(iter(folders))) / file.path if folders else None
    if path is None or not path.is_file():
        raise UsageError(
            f"the demo draws people from {file.path} of the package '{file.package}', which is "
            f"not installed: {_INSTALL}"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise UsageError(
            f"{file.path} of the package '{file.package}' is not the photograph the demo knows: "
            f"install the versions that rekadapter names, {_INSTALL}"
        )
    return Image.from_bytes(data).pixels


def _person(marks: _Marks, photograph: Pixels) -> Person:
    (left_x, left_y), (right_x, right_y) = marks.eyes
    distance = float(np.hypot(right_x - left_x, right_y - left_y))
    outline = np.array(marks.outline)
    margin = round(2.4 * distance)
    corner = outline.min(axis=0) - margin
    width = int(outline[:, 0].max() - corner[0]) + margin
    height = int(outline[:, 1].max() - corner[1]) + round(_CHIN_TO_FLOOR * distance)
    head = _cut_out(outline - corner, photograph, corner, Size(width, height))
    box = marks.roster
    return Person(
        name=SubjectId(marks.name),
        head=head,
        body=_figure(outline - corner, marks, distance, Size(width, height)),
        eyes_center=((left_x + right_x) / 2 - corner[0], (left_y + right_y) / 2 - corner[1]),
        eye_distance_px=distance,
        photo=photograph[box.top : box.bottom, box.left : box.right],
    )


def _cut_out(outline: Outline, photograph: Pixels, corner: Outline, canvas: Size) -> Pixels:
    """The head alone with a soft edge, on a clear canvas."""
    mask = np.zeros((canvas.height, canvas.width), np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
    soft = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.8)
    shift = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]], np.float64)
    head = cv2.warpAffine(
        photograph, shift, (canvas.width, canvas.height), borderMode=cv2.BORDER_REPLICATE
    )
    return np.dstack([head, soft]).astype(np.uint8)


def _figure(outline: Outline, marks: _Marks, distance: float, canvas: Size) -> Pixels:
    """A plain standing figure below the head, measured in eye distances (63 mm in an adult)."""
    middle, chin, crown = int(np.median(outline[:, 0])), outline[:, 1].max(), outline[:, 1].min()
    drawing = np.zeros((canvas.height, canvas.width, 4), np.uint8)
    clothes, dark = (*marks.clothes_bgr, 255), (46, 40, 38, 255)

    def at(x: float, y: float) -> tuple[int, int]:
        return middle + round(x * distance), int(chin) + round(y * distance)

    for side in (-1, 1):
        legs = [at(0, 9), at(side * 1.9, 9), at(side * 1.6, 21), at(side * 0.35, 21)]
        cv2.fillPoly(drawing, [np.array(legs, np.int32)], dark)
        arm = [at(side * 1.8, 0.8), at(side * 2.8, 1.4), at(side * 3.1, 10), at(side * 2.4, 10)]
        shade = tuple(round(0.82 * channel) for channel in marks.clothes_bgr)
        cv2.fillPoly(drawing, [np.array(arm, np.int32)], (*shade, 255))
    axes = (round(2.6 * distance), round(1.5 * distance))
    cv2.ellipse(drawing, at(0, 1.2), axes, 0, 180, 360, clothes, -1)
    torso = [at(-2.6, 1.2), at(2.6, 1.2), at(2.0, 10), at(-2.0, 10)]
    cv2.fillPoly(drawing, [np.array(torso, np.int32)], clothes)
    if marks.hair_bgr is not None:
        axes = (round(1.12 * distance), round(1.05 * distance))
        place = (middle, int(crown) + round(0.5 * distance))
        cv2.ellipse(drawing, place, axes, 0, 180, 360, (*marks.hair_bgr, 255), -1)
    return _soft_edged(drawing)


def _soft_edged(drawing: Pixels) -> Pixels:
    """The drawing with a soft outline: colors spread outwards, so that no dark seam is left."""
    spread = cv2.dilate(drawing[..., :3], np.ones((9, 9), np.uint8))
    inside = drawing[..., 3:] > 0
    color = np.where(inside, drawing[..., :3], spread)
    return np.dstack([color, cv2.GaussianBlur(drawing[..., 3], (0, 0), 2.0)]).astype(np.uint8)
