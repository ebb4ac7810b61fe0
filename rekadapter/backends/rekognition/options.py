"""What a ``[backends.NAME]`` table of type rekognition may say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.errors import ConfigError

MAX_IMAGE_BYTES: Final = 5 * 1024 * 1024
"""An image sent as bytes (service model rekognition/2016-06-27, ``ImageBlob``)."""

MAX_S3_IMAGE_BYTES: Final = 15 * 1024 * 1024
"""An image read from S3 (developer guide, "Guidelines and quotas")."""

MIN_IMAGE_SIDE_PX: Final = 80
"""Both sides of an image (developer guide, "Guidelines and quotas")."""

MIN_FACE_PX: Final = 40
"""A face is found from 40x40 px on in an image of 1920x1080 (same page)."""

ADVISED_FACE_PX: Final = 50
"""What the same guide recommends for recognizing somebody; advice here, not a limit."""

S3_FROM_BYTES: Final = 10_000
"""Below this an image takes more bytes through a bucket than as base64, or hardly fewer: measured,
see docs/uplink.md."""

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
PerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RekognitionOptions(BaseModel):
    """Options of the backend. There is none for credentials: AWS's own settings hold them.

    ``region``, ``profile`` and ``endpoint_url`` override AWS's settings. ``unsigned`` sends no
    signature and needs no credentials, for a compatible service at ``endpoint_url`` that asks for
    none. ``deadline_seconds``
    bounds the time spent on one call with its retries, not counting waits for the uplink or for the
    request rate; ``read_timeout`` bounds one attempt. ``requests_per_second`` overrides AWS's
    default quotas by operation name. ``min_face_px`` is the shorter side of a face, in pixels of
    the image given, below which ``identify`` does not search it.

    With ``s3_bucket`` images of ``s3_from_bytes`` and more are put there under ``s3_prefix``, named
    in the request and deleted after it. ``max_image_bytes`` may be 15 MB then, which is also its
    default; without a bucket 5 MB. ``s3_encryption`` and ``s3_kms_key_id`` override the bucket's
    own default encryption, ``s3_endpoint_url`` AWS's own endpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    unsigned: bool = False
    connect_timeout: Seconds = 5.0
    read_timeout: Seconds = 30.0
    deadline_seconds: Seconds = 60.0
    max_connections: Annotated[int, Field(ge=1, le=1000)] = 16
    requests_per_second: Mapping[str, PerSecond] = Field(default_factory=dict)
    max_image_bytes: Annotated[int, Field(ge=10_000, le=MAX_S3_IMAGE_BYTES)] | None = None
    jpeg_quality: Annotated[int, Field(ge=50, le=100)] = 92
    min_face_px: Annotated[int, Field(ge=1, le=1000)] = MIN_FACE_PX
    prices: Path | None = None
    s3_bucket: Annotated[str, Field(pattern=r"^[0-9A-Za-z.\-_]{3,255}$")] | None = None
    s3_prefix: Annotated[str, Field(pattern=r"^[0-9A-Za-z!_.*'()/-]{0,512}$")] = "rekadapter/"
    s3_from_bytes: Annotated[int, Field(ge=0, le=MAX_IMAGE_BYTES)] = S3_FROM_BYTES
    s3_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    s3_kms_key_id: str | None = None
    s3_endpoint_url: str | None = None

    @property
    def image_bytes_allowed(self) -> int:
        """The largest image sent, in bytes before base64."""
        if self.max_image_bytes is not None:
            return self.max_image_bytes
        return MAX_IMAGE_BYTES if self.s3_bucket is None else MAX_S3_IMAGE_BYTES

    @model_validator(mode="after")
    def _bucket_where_needed(self) -> RekognitionOptions:
        if self.s3_bucket is not None:
            return self
        idle = sorted(name for name in self.model_fields_set if name.startswith("s3_"))
        if idle:
            raise ValueError(f"{', '.join(idle)} without s3_bucket means nothing: name a bucket")
        if self.image_bytes_allowed > MAX_IMAGE_BYTES:
            raise ValueError(
                f"max_image_bytes over {MAX_IMAGE_BYTES} needs s3_bucket: Rekognition takes 5 MB "
                "in a request and 15 MB from a bucket"
            )
        return self

    @field_validator("endpoint_url", "s3_endpoint_url")
    @classmethod
    def _without_secrets(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("may not hold a user name or password")
        return url

    @field_validator("requests_per_second")
    @classmethod
    def _known_operations(cls, rates: Mapping[str, float]) -> Mapping[str, float]:
        unknown = sorted(set(rates) - OPERATIONS)
        if unknown:
            raise ValueError(
                f"unknown: {', '.join(unknown)}; one of {', '.join(sorted(OPERATIONS))}"
            )
        return rates

    @classmethod
    def read(cls, name: str, options: Mapping[str, object]) -> RekognitionOptions:
        """The options of the backend called ``name``.

        Raises:
            ConfigError: an option is unknown or has no meaning; its value is not repeated.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']) or ('options',))}: {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False)
            )
            # the cause would repeat the value, and somebody may have put a key there
            raise ConfigError(
                f"backend '{name}' (rekognition): {faults}. "
                f"It knows {', '.join(cls.model_fields)}; credentials belong in AWS's own settings"
            ) from None
