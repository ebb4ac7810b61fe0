"""Images: upright whatever their tag says, and nothing damaged passes for a picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from rekadapter.errors import ImageTooLargeError, InvalidImageError
from rekadapter.imaging import (
    Image,
    crop,
    encode_jpeg,
    encode_png,
    encode_within,
    scaled_down,
    upright,
)
from rekadapter.testing.drawn import DrawnFace, picture
from rekadapter.types import BoundingBox, Size

SCENE = picture(DrawnFace("ann", 40, 30, 120), size=Size(320, 200))


def _with_orientation(image: Image, orientation: int) -> bytes:
    """The image stored so that a viewer honoring ``orientation`` sees it upright."""
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = np.ascontiguousarray(upright(image.pixels, undo)[..., ::-1])
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    PillowImage.fromarray(stored).save(buffer, "JPEG", quality=98, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_upright_picture(orientation: int) -> None:
    image = Image.from_bytes(_with_orientation(SCENE, orientation))
    assert image.size == SCENE.size
    assert image.pixels.shape == SCENE.pixels.shape
    difference = np.abs(image.pixels.astype(int) - SCENE.pixels.astype(int)).mean()
    assert difference < 6.0


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("encode", [lambda i: encode_jpeg(i, 90), encode_png])
def test_a_file_that_ends_too_early_is_refused(encode, cut: float) -> None:  # type: ignore[no-untyped-def]
    data = encode(SCENE)
    with pytest.raises(InvalidImageError):
        _ = Image.from_bytes(data[: int(len(data) * cut)]).pixels


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]))
def test_random_bytes_are_refused_never_a_crash(data: bytes, start: bytes) -> None:
    with pytest.raises(InvalidImageError):
        _ = Image.from_bytes(start + data).pixels


def test_a_declared_bomb_is_refused_from_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", len(header))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + b"\x00\x00\x00\x00IEND\xaeB`\x82"
    )
    with pytest.raises(ImageTooLargeError):
        Image.from_bytes(bomb)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match=r"gone\.jpg"):
        Image.open(tmp_path / "gone.jpg")


def test_pixels_cannot_be_changed_through_the_image() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SCENE.pixels[0, 0, 0] = 1


@given(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.5), st.integers(1, 100))
def test_a_crop_lies_where_it_says(left: float, top: float, size: float, least: int) -> None:
    cut = crop(SCENE, BoundingBox(left, top, size, size), min_side_px=least)
    box = cut.region.pixels(SCENE.size)
    assert min(cut.image.size.width, cut.image.size.height) >= least
    assert np.array_equal(
        cut.image.pixels[:1, :1], SCENE.pixels[box.top : box.top + 1, box.left : box.left + 1]
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(2_000, 60_000))
def test_an_encoded_image_keeps_its_byte_budget(budget: int) -> None:
    rng = np.random.default_rng(7)
    noisy = Image.from_pixels(rng.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    assert len(encode_within(noisy, budget)) <= budget


def test_a_budget_nothing_fits_in_is_said() -> None:
    with pytest.raises(ImageTooLargeError):
        encode_within(SCENE, 50)


def test_scaling_up_is_refused() -> None:
    with pytest.raises(ValueError, match="factor"):
        scaled_down(SCENE, 1.5)


def test_the_digest_tells_pictures_apart() -> None:
    other = picture(DrawnFace("bob", 40, 30, 120), size=Size(320, 200))
    assert SCENE.digest() == Image.from_pixels(SCENE.pixels.copy()).digest()
    assert SCENE.digest() != other.digest()
