"""What goes wrong, in Rekognition's words: one table from rekadapter's errors to AWS's.

Texts are those clients are known to match; where AWS documents none, they are ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from rekadapter import errors
from rekadapter.errors import RekadapterError
from rekadapter.rekognition_api.codec import ConstraintError, MalformedError, Rule

INVALID_PARAMETER: Final = "InvalidParameterException"
VALIDATION: Final = "ValidationException"
NO_FACES: Final = "There are no faces in the image. Should be at least 1."
TOO_LARGE: Final = "Image size is too large."
_INTERNAL: Final = "Internal server error"


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the client sees it. ``retry_after_ms`` is a hint botocore honors."""

    code: str
    message: str
    status: int = 400
    retry_after_ms: int | None = None

    def body(self, request_id: str) -> bytes:
        """The four keys of Rekognition's error body."""
        return json.dumps(
            {
                "__type": self.code,
                "Code": self.code,
                "Logref": request_id,
                "Message": self.message,
            }
        ).encode()


class FaultError(RekadapterError):
    """Raised by an operation that knows its answer already."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.code}: {fault.message}")
        self.fault = fault


# --- faults that operations raise themselves --------------------------------------------------


def invalid_parameter(message: str) -> FaultError:
    return FaultError(Fault(INVALID_PARAMETER, message))


def no_faces() -> FaultError:
    """Clients recognize a failure to acquire by this very text."""
    return invalid_parameter(NO_FACES)


def image_too_large() -> FaultError:
    return FaultError(Fault("ImageTooLargeException", TOO_LARGE))


def invalid_image_format() -> FaultError:
    return FaultError(Fault("InvalidImageFormatException", "Request has invalid image format."))


def invalid_s3_object() -> FaultError:
    return FaultError(
        Fault(
            "InvalidS3ObjectException",
            "Unable to get object metadata from S3. "
            "Check object key, region and/or access permissions.",
        )
    )


def invalid_page_token() -> FaultError:
    return FaultError(Fault("InvalidPaginationTokenException", "Invalid Pagination Token"))


def idempotent_parameter_mismatch(token: str) -> FaultError:
    return FaultError(
        Fault(
            "IdempotentParameterMismatchException",
            f"The ClientRequestToken: {token} you have supplied is already in use.",
        )
    )


def access_denied(message: str) -> FaultError:
    return FaultError(Fault("AccessDeniedException", message))


def not_found(message: str) -> FaultError:
    return FaultError(Fault("ResourceNotFoundException", message))


# --- faults of the protocol -------------------------------------------------------------------


def unknown_operation(message: str) -> Fault:
    return Fault("UnknownOperationException", message)


def malformed(message: str) -> Fault:
    return Fault("SerializationException", message)


def overloaded(retry_after_ms: int) -> Fault:
    return Fault(
        "ProvisionedThroughputExceededException",
        "Provisioned Rate exceeded.",
        retry_after_ms=retry_after_ms,
    )


def internal() -> Fault:
    return Fault("InternalServerError", _INTERNAL, status=500)


# --- the table --------------------------------------------------------------------------------

_TABLE: Final = MappingProxyType(
    {
        errors.InvalidImageError: Fault(
            "InvalidImageFormatException", "Request has invalid image format."
        ),
        errors.ImageTooLargeError: Fault("ImageTooLargeException", TOO_LARGE),
        errors.ImageTooSmallError: Fault(
            INVALID_PARAMETER, "Request has invalid parameters: the image is too small."
        ),
        errors.GalleryNotFoundError: Fault(
            "ResourceNotFoundException", "Collection:{collection} not found!"
        ),
        errors.GalleryExistsError: Fault(
            "ResourceAlreadyExistsException", "The collection id: {collection} already exists."
        ),
        errors.GalleryModelMismatchError: Fault(
            INVALID_PARAMETER,
            "Request has invalid parameters: collection {collection} belongs to another face "
            "model. Index its images into a new collection.",
        ),
        errors.FaceNotFoundError: Fault(
            INVALID_PARAMETER, "faceId was not found in the collection."
        ),
        errors.UserNotFoundError: Fault(
            "ResourceNotFoundException", "User not found in collection {collection}."
        ),
        errors.UserExistsError: Fault(
            "ConflictException", "A user of this id is in collection {collection} already."
        ),
        errors.SubjectIdError: Fault(INVALID_PARAMETER, "Request has invalid parameters"),
        errors.InvalidRequestError: Fault(INVALID_PARAMETER, "Request has invalid parameters"),
        errors.AccessDeniedError: Fault(
            "AccessDeniedException", "The service's backend refused access."
        ),
        errors.CredentialsError: Fault(
            "AccessDeniedException", "The service's backend has no valid credentials."
        ),
        errors.QuotaExceededError: Fault(
            "ServiceQuotaExceededException", "A quota of the backend is used up."
        ),
        errors.ThrottledError: Fault(
            "ProvisionedThroughputExceededException", "Provisioned Rate exceeded."
        ),
        errors.RekadapterError: Fault("InternalServerError", _INTERNAL, status=500),
    }
)
"""The nearest class in an error's ancestry counts, so no error of rekadapter's is without a row."""


def fault_of(error: RekadapterError, *, collection: str, violation_code: str) -> Fault:
    """What the client is told about ``error``; internals stay in the log."""
    match error:
        case FaultError():
            return error.fault
        case MalformedError():
            return malformed(str(error))
        case ConstraintError():
            return _of_constraint(error, violation_code)
        case _:
            return _of_table(error, collection)


def _of_constraint(error: ConstraintError, violation_code: str) -> Fault:
    if error.shape == "ImageBlob" and error.rule is Rule.MAXIMUM:
        return image_too_large().fault
    if violation_code == VALIDATION:
        return Fault(VALIDATION, f"1 validation error detected: {error}")
    return Fault(violation_code, f"Request has invalid parameters: {error}")


def _of_table(error: RekadapterError, collection: str) -> Fault:
    if isinstance(error, errors.DeadlineExceededError) and isinstance(
        error.__cause__, RekadapterError
    ):
        # in front of a remote backend: what the retries failed of is what the client can act on
        return _of_table(error.__cause__, collection)
    row = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    hint = error.retry_after_seconds if isinstance(error, errors.ThrottledError) else None
    return Fault(
        code=row.code,
        message=row.message.replace("{collection}", collection),
        status=row.status,
        retry_after_ms=None if hint is None else round(hint * 1000),
    )
