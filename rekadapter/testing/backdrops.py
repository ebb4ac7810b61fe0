"""Drawn places for the demo's clips: each function gives a BGR picture, uint8, of the size asked.

Shapes are plain on purpose: nothing in them resembles a face.
"""

from __future__ import annotations

import cv2
import numpy as np

from rekadapter.imaging import Pixels
from rekadapter.types import Size

Color = tuple[int, int, int]


class _Canvas:
    """Draws in fractions of the picture, so that one place fits every resolution."""

    def __init__(self, size: Size, top: Color, bottom: Color) -> None:
        share = np.linspace(0, 1, size.height, dtype=np.float32)[:, None, None]
        rows = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
        self.pixels: Pixels = np.ascontiguousarray(
            np.repeat(rows, size.width, axis=1).round().astype(np.uint8)
        )
        self._size = size

    def _at(self, x: float, y: float) -> tuple[int, int]:
        return round(x * self._size.width), round(y * self._size.height)

    def box(self, left: float, top: float, right: float, bottom: float, *, color: Color) -> None:
        cv2.rectangle(self.pixels, self._at(left, top), self._at(right, bottom), color, -1)

    def shape(self, *corners: tuple[float, float], color: Color) -> None:
        points = np.array([self._at(x, y) for x, y in corners], np.int32)
        cv2.fillPoly(self.pixels, [points], color, cv2.LINE_AA)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: Color) -> None:
        width = max(1, self._size.height // 360)
        cv2.line(self.pixels, self._at(*start), self._at(*end), color, width, cv2.LINE_AA)

    def floor(self, horizon: float, color: Color, seams: Color) -> None:
        """A tiled floor that runs to a vanishing point on the horizon."""
        self.box(0, horizon, 1, 1, color=color)
        for column in range(-12, 25):
            self.line((0.5, horizon - 0.12), (column / 6 - 0.5, 1.0), seams)
        self.box(0, horizon - 0.14, 1, horizon, color=self._color_above(horizon - 0.15))
        depth = 1 - horizon
        for row in range(1, 12):
            y = horizon + depth * (row / 11) ** 2
            self.line((0, y), (1, y), seams)

    def _color_above(self, y: float) -> Color:
        pixel = self.pixels[round(y * self._size.height), 0]
        return int(pixel[0]), int(pixel[1]), int(pixel[2])


def lobby(size: Size) -> Pixels:
    """A bright hall with a tiled floor, doors of glass and a desk."""
    canvas = _Canvas(size, (196, 202, 206), (150, 160, 168))
    canvas.floor(0.66, (138, 146, 152), (120, 128, 134))
    for left in (0.06, 0.20, 0.74, 0.88):
        canvas.box(left, 0.18, left + 0.10, 0.66, color=(150, 132, 112))
        canvas.box(left + 0.008, 0.20, left + 0.092, 0.66, color=(206, 192, 174))
        canvas.line((left + 0.05, 0.20), (left + 0.05, 0.66), (150, 132, 112))
    for left in (0.08, 0.30, 0.52, 0.74):
        canvas.box(left, 0.04, left + 0.16, 0.07, color=(240, 244, 246))
    canvas.box(0.40, 0.52, 0.60, 0.68, color=(92, 112, 134))
    canvas.box(0.39, 0.50, 0.61, 0.53, color=(72, 88, 108))
    return canvas.pixels


def street(size: Size) -> Pixels:
    """A pavement before a front with a door and two shop windows."""
    canvas = _Canvas(size, (170, 176, 178), (128, 136, 144))
    canvas.floor(0.72, (112, 116, 120), (98, 102, 106))
    for row in range(14):
        y = 0.05 * row
        canvas.line((0, y), (1, y), (150, 156, 160))
    canvas.box(0.04, 0.20, 0.30, 0.62, color=(70, 62, 54))
    canvas.box(0.055, 0.225, 0.285, 0.60, color=(140, 122, 104))
    canvas.box(0.72, 0.20, 0.97, 0.62, color=(70, 62, 54))
    canvas.box(0.735, 0.225, 0.955, 0.60, color=(132, 118, 104))
    canvas.box(0.42, 0.16, 0.58, 0.72, color=(52, 66, 84))
    canvas.box(0.435, 0.19, 0.565, 0.72, color=(76, 96, 120))
    canvas.box(0.55, 0.44, 0.557, 0.50, color=(40, 160, 190))
    return canvas.pixels


def corridor(size: Size) -> Pixels:
    """A dim corridor seen along its length."""
    canvas = _Canvas(size, (92, 96, 100), (58, 62, 66))
    far = (0.38, 0.24, 0.62, 0.60)
    canvas.shape((0, 0), (far[0], far[1]), (far[0], far[3]), (0, 1), color=(82, 90, 94))
    canvas.shape((1, 0), (far[2], far[1]), (far[2], far[3]), (1, 1), color=(74, 80, 84))
    canvas.shape((0, 1), (far[0], far[3]), (far[2], far[3]), (1, 1), color=(66, 70, 72))
    canvas.box(*far, color=(104, 110, 114))
    canvas.box(0.45, 0.32, 0.55, 0.60, color=(70, 84, 98))
    for share in (0.2, 0.45, 0.7):
        x, top = share * far[0], share * far[1]
        width = 0.10 * (1 - share)
        low = 1 - share * (1 - far[3])
        canvas.shape(
            (x, top + 0.16), (x + width, top + 0.17), (x + width, low - 0.07), (x, low - 0.03),
            color=(60, 72, 86),
        )  # fmt: skip
        canvas.box(0.5 - width, 0.02 + top, 0.5 + width, 0.03 + top, color=(178, 186, 190))
    return canvas.pixels


def parking(size: Size) -> Pixels:
    """A parking area from far above: a wide view, for people who are small in it."""
    canvas = _Canvas(size, (186, 178, 168), (150, 146, 142))
    canvas.box(0, 0.30, 1, 0.46, color=(122, 124, 126))
    for left in np.linspace(0.02, 0.9, 9).tolist():
        canvas.box(left, 0.33, left + 0.06, 0.41, color=(150, 140, 128))
    canvas.box(0, 0.46, 1, 1, color=(98, 100, 102))
    for column in range(13):
        x = column / 12
        canvas.line((x * 0.8 + 0.1, 0.48), (x * 1.4 - 0.2, 0.72), (168, 172, 174))
    for left, color in ((0.06, (120, 70, 50)), (0.40, (64, 64, 150)), (0.78, (140, 140, 136))):
        canvas.box(left, 0.80, left + 0.17, 0.93, color=color)
        canvas.box(left + 0.03, 0.76, left + 0.14, 0.82, color=(84, 80, 74))
    return canvas.pixels
