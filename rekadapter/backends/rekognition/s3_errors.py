"""S3's errors as rekadapter's, for images on their way to Rekognition through a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rekadapter.backends.rekognition.errors import (
    CLOCK_RULE,
    CREDENTIALS_RULE,
    EXPIRED_RULE,
    Rule,
    Service,
)
from rekadapter.errors import (
    AccessDeniedError,
    ConfigError,
    ConnectionFailedError,
    ImageTooLargeError,
    InvalidRequestError,
    ServiceUnavailableError,
    ThrottledError,
)

_DENIED = Rule(
    AccessDeniedError,
    "this identity needs s3:PutObject, s3:GetObject and s3:DeleteObject on everything under "
    "s3_prefix (in a bucket with versions s3:DeleteObjectVersion too, and where a key of KMS "
    "encrypts, kms:GenerateDataKey and kms:Decrypt)",
)
_NO_BUCKET = Rule(
    ConfigError,
    "s3_bucket has to name a bucket in the region that Rekognition is asked in: create it there, "
    "or correct the name",
)
_OTHER_REGION = Rule(
    ConfigError,
    "the bucket is in another region, and Rekognition reads a bucket of its own region only: name "
    "a bucket there in s3_bucket, or set region to the bucket's",
)
_KEY = Rule(
    ConfigError,
    "the key of KMS that encrypts in this bucket cannot be used: correct s3_kms_key_id, or the "
    "bucket's default encryption",
)
_MALFORMED = Rule(InvalidRequestError, "compare s3_bucket, s3_prefix and s3_encryption with S3's")
_DAMAGED = Rule(ConnectionFailedError, "the image came damaged or not at all: check the network")
_SLOW_DOWN = Rule(ThrottledError, "S3 asks to slow down: try again later")
_UNAVAILABLE = Rule(ServiceUnavailableError, "try again; see AWS's health page if it lasts")

S3_ERROR_TABLE: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "NoSuchBucket": _NO_BUCKET,
        "InvalidBucketName": _NO_BUCKET,
        "AccessDenied": _DENIED,
        "AllAccessDisabled": _DENIED,
        "AccountProblem": _DENIED,
        "PermanentRedirect": _OTHER_REGION,
        "AuthorizationHeaderMalformed": _OTHER_REGION,
        "IllegalLocationConstraintException": _OTHER_REGION,
        "TemporaryRedirect": Rule(
            ServiceUnavailableError, "a new bucket needs some minutes to be found: try again"
        ),
        "KMS.DisabledException": _KEY,
        "KMS.InvalidKeyUsageException": _KEY,
        "KMS.KMSInvalidStateException": _KEY,
        "KMS.NotFoundException": _KEY,
        "EntityTooLarge": Rule(ImageTooLargeError, "max_image_bytes lowers the size sent"),
        "InvalidArgument": _MALFORMED,
        "InvalidRequest": _MALFORMED,
        "KeyTooLongError": _MALFORMED,
        "NotImplemented": _MALFORMED,
        "BadDigest": _DAMAGED,
        "IncompleteBody": _DAMAGED,
        "RequestTimeout": _DAMAGED,
        "XAmzContentSHA256Mismatch": _DAMAGED,
        "InvalidAccessKeyId": CREDENTIALS_RULE,
        "InvalidToken": CREDENTIALS_RULE,
        "ExpiredToken": EXPIRED_RULE,
        "TokenRefreshRequired": EXPIRED_RULE,
        "RequestTimeTooSkewed": CLOCK_RULE,
        "SignatureDoesNotMatch": CLOCK_RULE,
        "OperationAborted": _UNAVAILABLE,
        "InternalError": _UNAVAILABLE,
        "ServiceUnavailable": _UNAVAILABLE,
        "RequestLimitExceeded": _SLOW_DOWN,
        "SlowDown": _SLOW_DOWN,
        "Throttling": _SLOW_DOWN,
    }
)
"""S3 API reference, "Error responses", of PutObject and DeleteObject; what is not here is judged by
its HTTP status."""

S3: Final = Service("Amazon S3", "s3_endpoint_url", S3_ERROR_TABLE)
