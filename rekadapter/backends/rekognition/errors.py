"""AWS's errors as rekadapter's: one table for answers, one for failures before an answer.

An answer that is not in the table is judged by its HTTP status, and named. "No face" is not an
error at all: ``says_no_face`` alone decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from rekadapter.errors import (
    AccessDeniedError,
    BackendError,
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


@dataclass(frozen=True, slots=True)
class Rule:
    """Which error a failure becomes, and what its reader may do next."""

    error: type[RekadapterError]
    advice: str


@dataclass(frozen=True, slots=True)
class Service:
    """Who answers: its name and the option with its endpoint, for messages, and its errors.

    ``rules`` has an entry for ``AccessDenied``, which stands for every refusal it does not name.
    """

    name: str
    endpoint_option: str
    rules: Mapping[str, Rule]

    @property
    def doubt(self) -> str:
        """What to ask where an answer makes no sense."""
        return f"is {self.endpoint_option} {self.name}'s?"


CREDENTIALS_RULE = Rule(
    CredentialsError, "check AWS's credentials: run `aws sts get-caller-identity` as this user"
)
EXPIRED_RULE = Rule(CredentialsError, "the session is over: sign in again, then repeat")
CLOCK_RULE = Rule(
    CredentialsError, "the secret key is wrong or this machine's clock is: check both"
)
_DENIED = Rule(
    AccessDeniedError, "ask for this action in the identity's policy (rekognition:<operation>)"
)
_MALFORMED = Rule(InvalidRequestError, "compare the values given with Rekognition's limits")
_PROTOCOL = Rule(
    InvalidRequestError, "the endpoint does not take this request: is endpoint_url Rekognition's?"
)
_QUOTA = Rule(QuotaExceededError, "free some, or ask AWS for a higher quota; waiting does not help")
_SLOW_DOWN = Rule(ThrottledError, "lower requests_per_second, or ask AWS for a higher quota")
_UNAVAILABLE = Rule(ServiceUnavailableError, "try again; see AWS's health page if it lasts")

ERROR_TABLE: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        # in Rekognition's service model, for the operations called here
        "AccessDeniedException": _DENIED,
        "ImageTooLargeException": Rule(
            ImageTooLargeError, "send at most 5 MB; max_image_bytes lowers the size sent"
        ),
        "IdempotentParameterMismatchException": _MALFORMED,
        "InternalServerError": _UNAVAILABLE,
        "InvalidImageFormatException": Rule(
            InvalidImageError, "Rekognition reads JPEG and PNG: save the image again as one"
        ),
        "InvalidPaginationTokenException": Rule(
            InvalidRequestError, "the listing changed on the way: list again"
        ),
        "InvalidParameterException": _MALFORMED,
        "InvalidS3ObjectException": Rule(
            InvalidRequestError,
            "Rekognition reads a bucket of its own region only, by the caller's own right "
            "s3:GetObject: check the bucket, its region and that right",
        ),
        "LimitExceededException": Rule(
            QuotaExceededError,
            "jobs under way have to end first (20 at once), or ask AWS for a higher quota",
        ),
        "ProvisionedThroughputExceededException": _SLOW_DOWN,
        "ResourceAlreadyExistsException": Rule(GalleryExistsError, "choose another name"),
        "ResourceNotFoundException": Rule(
            GalleryNotFoundError,
            "create it first, or list the galleries of this account and region",
        ),
        "ServiceQuotaExceededException": _QUOTA,
        "ThrottlingException": _SLOW_DOWN,
        "VideoTooLargeException": Rule(
            InvalidRequestError, "a stored video may have 10 GB and 6 hours: cut it"
        ),
        # in its documentation for other operations, kept so that none surprises
        "ConflictException": _MALFORMED,
        "ResourceInUseException": _MALFORMED,
        # of the protocol and of signing, common to AWS's JSON services
        "ValidationException": _MALFORMED,
        "SerializationException": _PROTOCOL,
        "UnknownOperationException": _PROTOCOL,
        "UnrecognizedClientException": CREDENTIALS_RULE,
        "InvalidClientTokenId": CREDENTIALS_RULE,
        "MissingAuthenticationToken": CREDENTIALS_RULE,
        "MissingAuthenticationTokenException": CREDENTIALS_RULE,
        "IncompleteSignature": CREDENTIALS_RULE,
        "IncompleteSignatureException": CREDENTIALS_RULE,
        "InvalidSignatureException": CLOCK_RULE,
        "SignatureDoesNotMatch": CLOCK_RULE,
        "RequestExpired": CLOCK_RULE,
        "RequestExpiredException": CLOCK_RULE,
        "ExpiredToken": EXPIRED_RULE,
        "ExpiredTokenException": EXPIRED_RULE,
        "AccessDenied": _DENIED,
        "NotAuthorized": _DENIED,
        "OptInRequired": _DENIED,
        "OptInRequiredException": _DENIED,
        "SubscriptionRequiredException": _DENIED,
        "Throttling": _SLOW_DOWN,
        "RequestLimitExceeded": _SLOW_DOWN,
        "TooManyRequestsException": _SLOW_DOWN,
        "SlowDown": _SLOW_DOWN,
        "InternalFailure": _UNAVAILABLE,
        "ServiceUnavailable": _UNAVAILABLE,
        "ServiceUnavailableException": _UNAVAILABLE,
    }
)

REKOGNITION: Final = Service("AWS Rekognition", "endpoint_url", ERROR_TABLE)

_NETWORK = Rule(
    ConnectionFailedError, "check the region, the endpoint, the proxy and this site's network"
)
_TRUST = Rule(
    ConfigError,
    "the endpoint's certificate is not trusted here: AWS_CA_BUNDLE names the authorities to trust",
)
_SETTINGS = Rule(ConfigError, "correct AWS's settings or the backend's options")

_BEFORE_AN_ANSWER: Final[tuple[tuple[type[BotoCoreError], Rule], ...]] = (
    # the first that fits counts, so the special ones stand first
    (aws.NoCredentialsError, CREDENTIALS_RULE),
    (aws.PartialCredentialsError, CREDENTIALS_RULE),
    (aws.CredentialRetrievalError, CREDENTIALS_RULE),
    (aws.RefreshWithMFAUnsupportedError, CREDENTIALS_RULE),
    (aws.NoAuthTokenError, CREDENTIALS_RULE),
    (aws.TokenRetrievalError, EXPIRED_RULE),
    (aws.SSOError, EXPIRED_RULE),
    (aws.MetadataRetrievalError, CREDENTIALS_RULE),
    (aws.NoRegionError, Rule(ConfigError, "name one in region, AWS_REGION or the AWS profile")),
    (aws.ProfileNotFound, Rule(ConfigError, "`aws configure list-profiles` names those there are")),
    (aws.ParamValidationError, _MALFORMED),
    (aws.ConnectionError, _NETWORK),
    (aws.HTTPClientError, _NETWORK),
    (aws.IncompleteReadError, _NETWORK),
)


def says_no_face(error: ClientError) -> bool:
    """Whether an answer says that an image has no face: the one place that reads AWS's prose.

    Recorded from SearchFacesByImage: InvalidParameterException, "There are no faces in the image.
    Should be at least 1." Any other text stays an error.
    """
    return (
        code_of(error) == "InvalidParameterException"
        and "no faces in the image" in message_of(error).lower()
    )


def says_unknown_face(error: ClientError) -> bool:
    """Whether SearchFaces says that the face is not in the collection.

    Recorded: InvalidParameterException, "faceId was not found in the collection."
    """
    return (
        code_of(error) == "InvalidParameterException"
        and "faceid was not found" in message_of(error).lower()
    )


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def message_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def request_id_of(error: ClientError) -> str | None:
    return error.response.get("ResponseMetadata", {}).get("RequestId")


def translate(
    error: ClientError | BotoCoreError, operation: str, about: str, service: Service = REKOGNITION
) -> RekadapterError:
    """The rekadapter error for a failed ``operation`` of ``service`` on ``about`` ("gallery
    'lobby'").

    The caller raises it from ``error``.
    """
    if isinstance(error, ClientError):
        return _from_answer(error, operation, about, service)
    rule = _rule_without_answer(error)
    failed = f"{operation} failed before {service.name} answered"
    return rule.error(f"{about}: {failed}: {str(error).rstrip('.')}. {rule.advice}")


def retry_hint_seconds(error: BaseException) -> float | None:
    """The server's wish from ``x-amz-retry-after`` (milliseconds), where it has a meaning."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return None
    headers = cause.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        milliseconds = int(headers.get("x-amz-retry-after", ""))
    except ValueError:
        return None
    return milliseconds / 1000 if milliseconds >= 0 else None


def outcome_of(error: BaseException) -> str:
    """One word for the ledger: AWS's code where there is one, else the error's class."""
    cause = error.__cause__
    if isinstance(cause, ClientError) and code_of(cause):
        return code_of(cause)
    return type(error).__name__


def _from_answer(
    error: ClientError, operation: str, about: str, service: Service
) -> RekadapterError:
    code, status = code_of(error), status_of(error)
    rule = service.rules.get(code) or _rule_by_status(status, service)
    if code == "ThrottlingException" and status >= 500:
        rule = _UNAVAILABLE  # documented: the back end is scaling up, the caller is not too fast
    request_id = request_id_of(error)
    trace = f" (request {request_id})" if request_id else ""
    text = (
        f"{about}: {operation} was answered with {code or 'no code'}, HTTP {status}: "
        f"{message_of(error)[:500] or 'no message'}{trace}. {rule.advice}"
    )
    if issubclass(rule.error, ThrottledError):
        return rule.error(text, retry_after_seconds=_hint(error))
    return rule.error(text)


def _hint(error: ClientError) -> float | None:
    holder = BackendError()
    holder.__cause__ = error
    return retry_hint_seconds(holder)


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _rule_by_status(status: int, service: Service) -> Rule:
    if status == 429:
        return _SLOW_DOWN
    if status >= 500:
        return _UNAVAILABLE
    if status in {401, 403}:
        return service.rules["AccessDenied"]
    return Rule(
        UnexpectedAnswerError,
        f"rekadapter does not know this answer: {service.doubt} Else report it",
    )


def _rule_without_answer(error: BotoCoreError) -> Rule:
    # OpenSSL's own name of the failure; other TLS failures may be the network's
    if isinstance(error, aws.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _TRUST
    for kind, rule in _BEFORE_AN_ANSWER:
        if isinstance(error, kind):
            return rule
    return _SETTINGS
