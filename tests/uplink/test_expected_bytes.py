"""What an upload will about come to is known before it is sent where its image is encoded."""

from __future__ import annotations

import numpy as np

from rekadapter.imaging import Image, encode_jpeg
from rekadapter.uplink.uploader import expected_bytes

PIXELS = np.zeros((100, 100, 3), dtype=np.uint8)
ENCODED = Image.from_bytes(encode_jpeg(Image.from_pixels(PIXELS), 90))


def test_it_grows_with_the_images_by_base64_and_a_head_for_each() -> None:
    assert ENCODED.encoded is not None
    one = expected_bytes([ENCODED], 100_000)
    assert one is not None
    assert len(ENCODED.encoded) * 4 / 3 <= one <= len(ENCODED.encoded) * 4 / 3 + 1_000
    assert expected_bytes([ENCODED, ENCODED], 100_000) == 2 * one


def test_an_image_larger_than_may_be_sent_is_squeezed_to_that() -> None:
    smaller = expected_bytes([ENCODED], 300)
    assert smaller is not None
    assert smaller < 300 * 4 / 3 + 1_000


def test_nobody_knows_before_encoding_nor_where_nothing_is_sent() -> None:
    assert expected_bytes([ENCODED, Image.from_pixels(PIXELS)], 100_000) is None
    assert expected_bytes([ENCODED], None) is None
