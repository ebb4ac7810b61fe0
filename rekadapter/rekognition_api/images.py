"""The image of a request: exactly one source, JPEG or PNG, within Rekognition's limits."""

from __future__ import annotations

from rekadapter.imaging import Image
from rekadapter.rekognition_api.context import (
    MAX_S3_IMAGE_BYTES,
    Context,
    S3Location,
    S3ObjectError,
)
from rekadapter.rekognition_api.faults import (
    image_too_large,
    invalid_image_format,
    invalid_parameter,
    invalid_s3_object,
)
from rekadapter.rekognition_api.request import Request


def read_image(context: Context, given: Request) -> Image:
    """The image behind an ``Image`` structure (``Bytes`` or ``S3Object``).

    Raises:
        FaultError: neither or both given, an S3 object nobody can read, or a side too short.
        InvalidImageError, ImageTooLargeError: see ``Image.from_bytes``.
    """
    image = Image.from_bytes(_bytes_of(context, given))
    if image.format not in {"JPEG", "PNG"}:
        raise invalid_image_format()
    shortest = context.settings.min_image_side_px
    if min(image.size.width, image.size.height) < shortest:
        raise invalid_parameter(
            f"Request has invalid parameters: an image needs {shortest} pixels on each side, "
            f"this one has {image.size}."
        )
    return image


def _bytes_of(context: Context, given: Request) -> bytes:
    data = given.optional_bytes("Bytes")
    if (data is None) == (not given.has("S3Object")):
        raise invalid_parameter(
            "Request has invalid parameters: an image is given by Bytes or by S3Object, "
            "not by both and not by neither."
        )
    return _from_s3(context, given.part("S3Object")) if data is None else data


def _from_s3(context: Context, named: Request) -> bytes:
    bucket, key = named.optional_text("Bucket"), named.optional_text("Name")
    if context.s3 is None or bucket is None or key is None:
        raise invalid_s3_object()
    version = named.optional_text("Version")
    location = S3Location(bucket, key, version, context.account, context.region)
    try:
        data = context.s3.read(location, max_bytes=MAX_S3_IMAGE_BYTES)
    except S3ObjectError as error:
        raise invalid_s3_object() from error
    if len(data) > MAX_S3_IMAGE_BYTES:
        raise image_too_large()
    return data
