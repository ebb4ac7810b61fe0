"""Every error of AWS and botocore becomes one of rekadapter's, with AWS's as its cause."""

from __future__ import annotations

import boto3
import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import StringShape

from rekadapter.backends.rekognition.errors import (
    ERROR_TABLE,
    outcome_of,
    retry_hint_seconds,
    says_no_face,
    translate,
)
from rekadapter.backends.rekognition.limits import OPERATIONS
from rekadapter.errors import (
    AccessDeniedError,
    ConfigError,
    ConnectionFailedError,
    CredentialsError,
    GalleryExistsError,
    GalleryNotFoundError,
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    QuotaExceededError,
    RekadapterError,
    ServiceUnavailableError,
    ThrottledError,
    UnexpectedAnswerError,
)
from rekadapter.types import Reason


def client_error(
    code: str, message: str = "said AWS", status: int = 400, hint: str | None = None
) -> ClientError:
    headers = {} if hint is None else {"x-amz-retry-after": hint}
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "RequestId": "req-1",
                "HTTPStatusCode": status,
                "HTTPHeaders": headers,
                "RetryAttempts": 0,
                "HostId": "",
            },
        },
        "SearchFacesByImage",
    )


def model() -> boto3.session.Session:
    return boto3.Session(region_name="us-east-1")


def test_every_exception_in_botocores_model_of_the_operations_called_is_mapped() -> None:
    service = model().client("rekognition").meta.service_model
    shapes = {
        shape.metadata.get("error", {}).get("code", shape.name)
        for operation in OPERATIONS
        for shape in service.operation_model(operation).error_shapes
    }
    assert len(shapes) >= 12
    assert shapes - set(ERROR_TABLE) == set()


def test_every_reason_in_botocores_model_is_known() -> None:
    shape = model().client("rekognition").meta.service_model.shape_for("Reason")
    assert isinstance(shape, StringShape)
    assert shape.enum
    assert set(shape.enum) <= set(Reason)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ResourceNotFoundException", GalleryNotFoundError),
        ("ResourceAlreadyExistsException", GalleryExistsError),
        ("InvalidParameterException", InvalidRequestError),
        ("ValidationException", InvalidRequestError),
        ("InvalidImageFormatException", InvalidImageError),
        ("ImageTooLargeException", ImageTooLargeError),
        ("ProvisionedThroughputExceededException", ThrottledError),
        ("ThrottlingException", ThrottledError),
        ("InternalServerError", ServiceUnavailableError),
        ("LimitExceededException", QuotaExceededError),
        ("ServiceQuotaExceededException", QuotaExceededError),
        ("AccessDeniedException", AccessDeniedError),
        ("UnrecognizedClientException", CredentialsError),
        ("ExpiredTokenException", CredentialsError),
        ("InvalidSignatureException", CredentialsError),
        ("MissingAuthenticationTokenException", CredentialsError),
        ("UnknownOperationException", InvalidRequestError),
        ("SerializationException", InvalidRequestError),
    ],
)
def test_each_code_has_its_class_names_the_thing_and_keeps_awss_words(
    code: str, expected: type[RekadapterError]
) -> None:
    error = translate(client_error(code), "SearchFacesByImage", "gallery 'lobby'")
    assert type(error) is expected
    for part in ("gallery 'lobby'", "SearchFacesByImage", code, "said AWS", "req-1"):
        assert part in str(error)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, ThrottledError),
        ("ThrottlingException", 500, ServiceUnavailableError),
        ("503", 503, ServiceUnavailableError),
        ("", 502, ServiceUnavailableError),
        ("NewThrottle", 429, ThrottledError),
        ("Forbidden", 403, AccessDeniedError),
        ("ANewException", 400, UnexpectedAnswerError),
        ("404", 404, UnexpectedAnswerError),
    ],
)
def test_codes_not_in_the_table_are_judged_by_status(
    code: str, status: int, expected: type[RekadapterError]
) -> None:
    assert type(translate(client_error(code, status=status), "X", "y")) is expected


def test_quota_is_not_retried_but_throttling_and_failures_are() -> None:
    def retryable(code: str) -> bool:
        return translate(client_error(code), "X", "y").retryable

    assert [retryable(code) for code in ("LimitExceededException", "ThrottlingException")] == [
        False,
        True,
    ]
    assert {code for code in ERROR_TABLE if retryable(code)} == {
        "InternalFailure",
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (
            "InvalidParameterException",
            "There are no faces in the image. Should be at least 1.",
            True,
        ),
        ("InvalidParameterException", "Request has invalid parameters", False),
        ("InvalidParameterException", "", False),
        ("ValidationException", "There are no faces in the image.", False),
        ("InvalidParameterException", "no facesheet named", False),
    ],
)
def test_only_the_recorded_message_means_no_face(
    code: str, message: str, *, expected: bool
) -> None:
    assert says_no_face(client_error(code, message)) is expected


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [("1500", 1.5), ("0", 0.0), ("-5", None), ("soon", None), (None, None), ("", None)],
)
def test_the_servers_hint_is_in_milliseconds(hint: str | None, seconds: float | None) -> None:
    cause = client_error("ThrottlingException", hint=hint)
    error = translate(cause, "X", "y")
    assert isinstance(error, ThrottledError)
    assert error.retry_after_seconds == seconds
    error.__cause__ = cause
    assert retry_hint_seconds(error) == seconds


URL = "https://rekognition.us-east-1.amazonaws.com/"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (botocore_errors.NoCredentialsError(), CredentialsError),
        (
            botocore_errors.PartialCredentialsError(provider="env", cred_var="SECRET"),
            CredentialsError,
        ),
        (
            botocore_errors.CredentialRetrievalError(provider="process", error_msg="no"),
            CredentialsError,
        ),
        (botocore_errors.UnauthorizedSSOTokenError(), CredentialsError),
        (botocore_errors.SSOTokenLoadError(error_msg="gone"), CredentialsError),
        (botocore_errors.EndpointConnectionError(endpoint_url=URL), ConnectionFailedError),
        (botocore_errors.ConnectTimeoutError(endpoint_url=URL), ConnectionFailedError),
        (botocore_errors.ReadTimeoutError(endpoint_url=URL), ConnectionFailedError),
        (botocore_errors.ConnectionClosedError(endpoint_url=URL), ConnectionFailedError),
        (botocore_errors.ProxyConnectionError(proxy_url="http://p"), ConnectionFailedError),
        (botocore_errors.HTTPClientError(error="odd"), ConnectionFailedError),
        (botocore_errors.SSLError(endpoint_url=URL, error=OSError("EOF")), ConnectionFailedError),
        (
            botocore_errors.SSLError(
                endpoint_url=URL, error=OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
            ),
            ConfigError,
        ),
        (botocore_errors.NoRegionError(), ConfigError),
        (botocore_errors.ProfileNotFound(profile="p"), ConfigError),
        (botocore_errors.ParamValidationError(report="bad"), InvalidRequestError),
        (botocore_errors.InvalidRegionError(region_name="a b"), ConfigError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_failures_before_an_answer_have_their_class(
    raised: BotoCoreError, expected: type[RekadapterError]
) -> None:
    error = translate(raised, "DetectFaces", "an image")
    assert type(error) is expected
    assert "an image" in str(error)


def test_the_outcome_is_awss_code_or_the_class() -> None:
    denied = client_error("AccessDeniedException")
    error = translate(denied, "X", "y")
    error.__cause__ = denied
    assert outcome_of(error) == "AccessDeniedException"
    assert outcome_of(CredentialsError("none")) == "CredentialsError"
