"""Images: read from a header first, decoded once and only when pixels are asked for, encoded on
purpose.

Pixels are BGR, uint8, shape (height, width, 3), upright, and read-only. The bytes of a file are
kept beside them, so that a photograph reaches a remote backend exactly as it came.
"""

from __future__ import annotations

import hashlib
import io
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from rekadapter.errors import ImageTooLargeError, InvalidImageError
from rekadapter.types import BoundingBox, Size

Pixels = NDArray[np.uint8]

MAX_PIXELS: Final = 89_478_485
"""Pillow's own bound against decompression bombs (1 GiB / 4 / 3 bytes), kept so that both agree."""

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""No photograph is larger; a larger file is refused before it is parsed."""

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
_EXIF_ORIENTATION: Final = 0x0112
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class _Header:
    size: Size
    format: str
    orientation: int


class Image:
    """One upright image; immutable, safe to share between threads.

    Make it with ``from_bytes``, ``from_pixels`` or ``open``. ``size`` is upright and known without
    decoding. ``encoded`` is the file it came from (JPEG or PNG as ``format`` says, possibly rotated
    by its EXIF tag), or what shall be sent for it, or None for an image made of pixels alone.
    """

    __slots__ = ("_header", "_lock", "_pixels", "encoded", "format", "size")

    def __init__(self, *, header: _Header, encoded: bytes | None, pixels: Pixels | None) -> None:
        self._header = header
        self._pixels = pixels
        self._lock = threading.Lock()
        self.encoded = encoded
        self.format = header.format
        self.size = header.size

    @classmethod
    def from_bytes(cls, data: bytes) -> Image:
        """An image file in memory.

        Raises:
            InvalidImageError: no image, truncated, or a format rekadapter does not read.
            ImageTooLargeError: over ``MAX_FILE_BYTES`` or ``MAX_PIXELS``, told from the header.
        """
        return cls(header=_read_header(data), encoded=data, pixels=None)

    @classmethod
    def from_pixels(cls, pixels: Pixels, *, jpeg: bytes | None = None) -> Self:
        """An image from BGR pixels, uint8, shape (height, width, 3). They are not copied.

        ``jpeg`` is what a remote backend shall be sent for the whole image (the pixels encoded, and
        possibly scaled down, to a byte budget); crops are still cut from the pixels.

        Raises:
            InvalidImageError: another shape or dtype, or no pixel at all.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise InvalidImageError(
                f"pixels have to be uint8 of shape (height, width, 3), not {pixels.dtype} "
                f"of shape {pixels.shape}"
            )
        view = pixels.view()
        view.flags.writeable = False
        size = Size(width=pixels.shape[1], height=pixels.shape[0])
        header = _Header(size, "" if jpeg is None else "JPEG", 1)
        return cls(header=header, encoded=jpeg, pixels=view)

    @classmethod
    def open(cls, path: Path) -> Image:
        """An image file on disk.

        Raises:
            InvalidImageError: missing, unreadable, or not an image.
            ImageTooLargeError: see ``from_bytes``.
        """
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                # a pipe or a device would be read for ever
                raise InvalidImageError(f"{path} is not a file: give an image file")
            if found.st_size > MAX_FILE_BYTES:
                raise ImageTooLargeError(
                    f"{path} has more than {MAX_FILE_BYTES // 2**20} MiB: save it smaller"
                )
            data = path.read_bytes()
        except OSError as error:
            raise InvalidImageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            return cls.from_bytes(data)
        except InvalidImageError as error:
            raise InvalidImageError(f"{path}: {error}") from error
        except ImageTooLargeError as error:
            raise ImageTooLargeError(f"{path}: {error}") from error

    @property
    def pixels(self) -> Pixels:
        """The upright pixels, decoded on first use.

        Raises:
            InvalidImageError: the file's header is right but its body is not.
        """
        if self._pixels is None:
            with self._lock:
                if self._pixels is None:
                    self._pixels = _decode(self.encoded or b"", self._header)
        return self._pixels

    def digest(self) -> str:
        """SHA-256 (hex) of the file, or of the pixels where there is no file."""
        if self.encoded is not None:
            return hashlib.sha256(self.encoded).hexdigest()
        shape = f"{self.size}:".encode()
        return hashlib.sha256(shape + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()

    def __repr__(self) -> str:
        return f"Image({self.size}, {self.format or 'pixels'})"


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image; ``region`` is where it stands in the image it was cut from."""

    image: Image
    region: BoundingBox


def crop(image: Image, region: BoundingBox, *, min_side_px: int = 1) -> Crop:
    """The part of ``image`` under ``region``, never scaled.

    A side shorter than ``min_side_px`` is widened about its center, as far as the image goes.
    """
    box = _widened(region, image.size, min_side_px).pixels(image.size)
    pixels = image.pixels[box.top : box.bottom, box.left : box.right]
    return Crop(Image.from_pixels(pixels), BoundingBox.from_pixels(box, image.size))


def encode_jpeg(image: Image, quality: int) -> bytes:
    """The image as a JPEG file; ``quality`` is libjpeg's 1 to 100."""
    done, data = cv2.imencode(".jpg", image.pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InvalidImageError(f"an image of {image.size} cannot be written as JPEG")
    return data.tobytes()


def encode_png(image: Image) -> bytes:
    """The image as a PNG file, without loss."""
    done, data = cv2.imencode(".png", image.pixels)
    if not done:
        raise InvalidImageError(f"an image of {image.size} cannot be written as PNG")
    return data.tobytes()


def scaled_down(image: Image, factor: float) -> Image:
    """The image with both sides multiplied by ``factor`` in (0, 1], averaged over areas.

    Never scales up: enlarging adds bytes and no information.
    """
    if not 0 < factor <= 1:
        raise ValueError(f"a factor in (0, 1] is needed, not {factor}")
    if factor == 1:
        return image
    width = max(1, round(image.size.width * factor))
    height = max(1, round(image.size.height * factor))
    small = cv2.resize(image.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return Image.from_pixels(np.asarray(small, dtype=np.uint8))


def encode_within(
    image: Image, max_bytes: int, *, quality: int = 90, min_quality: int = 60
) -> bytes:
    """A JPEG of at most ``max_bytes``: first the quality falls to ``min_quality``, then the size.

    Raises:
        ImageTooLargeError: not even a 16th of each side fits.
    """
    for factor in (1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0625):
        smaller = scaled_down(image, factor)
        for step in range(quality, min_quality - 1, -10):
            data = encode_jpeg(smaller, step)
            if len(data) <= max_bytes:
                return data
    raise ImageTooLargeError(f"an image of {image.size} does not fit in {max_bytes} bytes")


def _widened(region: BoundingBox, size: Size, min_side_px: int) -> BoundingBox:
    clipped = region.clipped()
    width = min(1.0, max(clipped.width, min_side_px / size.width))
    height = min(1.0, max(clipped.height, min_side_px / size.height))
    left = min(max(clipped.center.x - width / 2, 0.0), 1.0 - width)
    top = min(max(clipped.center.y - height / 2, 0.0), 1.0 - height)
    return BoundingBox(left, top, width, height)


def _read_header(data: bytes) -> _Header:
    if len(data) > MAX_FILE_BYTES:
        raise ImageTooLargeError(f"an image file may have {MAX_FILE_BYTES} bytes, not {len(data)}")
    try:
        with PillowImage.open(io.BytesIO(data), formats=_FORMATS) as parsed:
            width, height = parsed.size
            # several JPEGs in one file, as phones write them: the first is the photograph
            name = "JPEG" if parsed.format == "MPO" else str(parsed.format)
            # PNG: like Rekognition, only JPEG's orientation counts; reading PNG's would decode it.
            exif = parsed.getexif() if name != "PNG" else {}
            orientation = exif.get(_EXIF_ORIENTATION, 1)
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise ImageTooLargeError(
            f"the image declares more than {MAX_PIXELS} pixels: scale it down"
        ) from error
    except UnidentifiedImageError as error:
        raise InvalidImageError("not an image that can be read (JPEG, PNG, WebP or BMP)") from (
            error
        )
    except (OSError, ValueError, SyntaxError, TypeError, EOFError) as error:
        raise InvalidImageError(f"a damaged image: {error}") from error
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError(f"{width}x{height} is over {MAX_PIXELS} pixels: scale it down")
    _refuse_truncated(data, name)
    turned = orientation in {5, 6, 7, 8}
    size = Size(height, width) if turned else Size(width, height)
    return _Header(size, name, orientation if orientation in range(1, 9) else 1)


def _refuse_truncated(data: bytes, name: str) -> None:
    """Decoders fill the missing part of a cut file with gray; a face there would be a lie."""
    # JPEG (ITU T.81): the last scan (FFDA) has to be followed by the end of the image (FFD9).
    if name == "JPEG" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise InvalidImageError("a JPEG file that ends too early: copy it again")
    if name == "PNG" and b"IEND" not in data[-4096:]:
        raise InvalidImageError("a PNG file that ends too early: copy it again")


def _decode(data: bytes, header: _Header) -> Pixels:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        stored = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise InvalidImageError("the image's body cannot be decoded") from error
    if stored is None:
        raise InvalidImageError("the image's body cannot be decoded: the file is damaged")
    pixels = np.ascontiguousarray(upright(np.asarray(stored, dtype=np.uint8), header.orientation))
    pixels.flags.writeable = False
    return pixels


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels turned as EXIF orientation 1 to 8 says (TIFF 6.0, tag 274)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return pixels
