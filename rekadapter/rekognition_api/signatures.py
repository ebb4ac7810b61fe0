"""AWS Signature Version 4, verified: botocore's own signer computes the signature that the request
should have, and it is compared with the one it has.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv4.html. A signature is good for five
minutes before and after its date, and within them any number of times, as in AWS: over a network
only TLS keeps a request from being copied.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from typing import Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rekadapter.rekognition_api.faults import Fault, FaultError
from rekadapter.rekognition_api.keys import AccessKey, KeyRing

SERVICE: Final = "rekognition"
SKEW: Final = timedelta(minutes=5)
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TERMINATOR: Final = "aws4_request"
_DATE_FORM: Final = "%Y%m%dT%H%M%SZ"
_DATE: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_REGION: Final = re.compile(r"[a-z0-9-]{1,32}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_TARGET: Final = re.compile(r"/[!-~]*")
_VALUE: Final = re.compile(r"[\t -~]*")
_PARAMETERS: Final = ("Credential", "SignedHeaders", "Signature")
_QUERY_SIGNED: Final = re.compile(r"(?:^|&)X-Amz-(?:Signature|Algorithm)=", re.IGNORECASE)

Clock = Callable[[], datetime]
"""The time now, with its zone."""


def system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """The head of a request as it came over the wire: ``path`` and ``query`` still encoded, header
    names in lower case, headers in order, repeated ones repeated."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request's head says of itself: nothing of it is proven before ``Verifier.verify``."""

    key: AccessKey
    region: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str


class Verifier:
    """Checks requests against keys. Safe to call from several threads."""

    def __init__(self, keys: KeyRing, clock: Clock = system_clock) -> None:
        self._keys = keys
        self._clock = clock

    def claim(self, request: ReceivedRequest) -> Claim:
        """Everything that can be told before the body has come.

        Raises:
            FaultError: the request is not signed, not completely, too long ago, or with a key or
                token that is not known or not valid any more.
        """
        parts = _authorization(request)
        key_id, date, region = _scope(parts["Credential"])
        signed = tuple(parts["SignedHeaders"].split(";"))
        _check_signed_headers(request, signed)
        timestamp = _timestamp(request)
        self._check_date(timestamp, date)
        key = self._key(key_id, request)
        return Claim(key, region, timestamp, signed, parts["Signature"])

    def verify(self, request: ReceivedRequest, claim: Claim, body: bytes) -> None:
        """Passes if the key's owner signed this very request.

        Raises:
            FaultError: InvalidSignatureException.
        """
        _check_payload(request, body)
        expected = _signature(request, claim, body)
        if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
            raise _invalid(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. "
                "Consult the service documentation for details."
            )

    def _check_date(self, timestamp: str, scope_date: str) -> None:
        if timestamp[:8] != scope_date:
            raise _invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
                f"from HTTP: '{scope_date}' != '{timestamp[:8]}', from '{timestamp}'."
            )
        signed_at, now = _moment(timestamp), self._clock()
        if signed_at < now - SKEW:
            raise _invalid(
                f"Signature expired: {timestamp} is now earlier than {_text(now - SKEW)} "
                f"({_text(now)} - 5 min.)"
            )
        if signed_at > now + SKEW:
            raise _invalid(
                f"Signature not yet current: {timestamp} is still later than {_text(now + SKEW)} "
                f"({_text(now)} + 5 min.)"
            )

    def _key(self, key_id: str, request: ReceivedRequest) -> AccessKey:
        """The key, with the session token that belongs to it and to no other."""
        key = self._keys.find(key_id)
        tokens = request.values("x-amz-security-token")
        if key is None or len(tokens) != (key.token is not None):
            raise _unrecognized()
        if key.token is None:
            return key
        if not hmac.compare_digest(key.token.encode(), tokens[0].encode()):
            raise _unrecognized()
        if key.expires is not None and key.expires <= self._clock():
            text = "The security token included in the request is expired"
            raise FaultError(Fault("ExpiredTokenException", text))
        return key


class _SignerOfReceived(SigV4Auth):
    """botocore's signer over the headers that the client says it signed, and no others."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        return request.headers


def _signature(request: ReceivedRequest, claim: Claim, body: bytes) -> str:
    # A fixed authority: the Host that counts is the header. http: over https botocore's signer may
    # leave the body out.
    url = f"http://localhost{request.path}" + (f"?{request.query}" if request.query else "")
    made = AWSRequest(method=request.method, url=url, data=body)
    for name, value in request.headers:
        if name in claim.signed_headers:
            made.headers[name] = value  # appends: a header sent twice is signed twice
    made.context["timestamp"] = claim.timestamp
    credentials = Credentials(claim.key.key_id, claim.key.secret)
    signer = _SignerOfReceived(credentials, SERVICE, claim.region)
    text = signer.string_to_sign(made, signer.canonical_request(made))
    return str(signer.signature(text, made))


# --- what a head has to have ------------------------------------------------------------------


def _authorization(request: ReceivedRequest) -> Mapping[str, str]:
    """The parameters of the ``Authorization`` header."""
    values = request.values("authorization")
    if not values:
        raise _not_signed(request)
    algorithm, _, rest = values[0].strip(" ").partition(" ")
    if len(values) > 1 or algorithm != _ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm' (only {_ALGORITHM} for now).")
    pairs = [part.strip(" ").partition("=") for part in rest.split(",")]
    parts = {name: value for name, _, value in pairs}
    missing = [name for name in _PARAMETERS if not parts.get(name)]
    if missing:
        texts = (f"Authorization header requires '{name}' parameter." for name in missing)
        raise _incomplete(" ".join(texts))
    if len(pairs) != len(_PARAMETERS) or not _HEX.fullmatch(parts["Signature"]):
        raise _incomplete("Authorization header is not a signature of version 4.")
    return parts


def _not_signed(request: ReceivedRequest) -> FaultError:
    if _QUERY_SIGNED.search(request.query):
        return _incomplete("Signatures in the query are not taken: sign with a header.")
    return FaultError(Fault("MissingAuthenticationTokenException", "Missing Authentication Token"))


def _scope(credential: str) -> tuple[str, str, str]:
    """Key id, date and region."""
    parts = credential.split("/")
    if len(parts) != len(("key", "date", "region", "service", "terminator")):
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, "
            "e.g. keyid/date/region/service/term."
        )
    key_id, date, region, service, terminator = parts
    if service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'. ")
    if terminator != _TERMINATOR:
        raise _invalid(f"Credential should be scoped with a valid terminator: '{_TERMINATOR}'. ")
    if not _REGION.fullmatch(region):
        raise _invalid("Credential should be scoped to a valid region. ")
    if not re.fullmatch(r"[0-9]{8}", date):
        raise _incomplete("Date in Credential scope must be YYYYMMDD.")
    return key_id, date, region


def _check_signed_headers(request: ReceivedRequest, signed: tuple[str, ...]) -> None:
    """``Host`` and every ``X-Amz-`` header have to be signed: one of them names the operation."""
    if "host" not in signed:
        text = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        raise _invalid(text)
    if list(signed) != sorted(set(signed)):
        raise _invalid("SignedHeaders must be in order and without repetition.")
    names = {name for name, _ in request.headers}
    amazon = {name for name in names if name.startswith("x-amz-")} | {"x-amz-date"}
    if not set(signed) <= names or not amazon <= set(signed):
        raise _invalid(
            "There were headers present in the request which were not signed, "
            "or signed headers that are not in the request."
        )
    if not _TARGET.fullmatch(request.path) or "#" in request.path + request.query:
        raise _invalid("The request's path is not one that can be signed.")
    if not all(_VALUE.fullmatch(value) for name, value in request.headers if name in signed):
        raise _invalid("A signed header has characters other than ASCII.")


def _timestamp(request: ReceivedRequest) -> str:
    values = request.values("x-amz-date")
    if len(values) != 1 or not _DATE.fullmatch(values[0]):
        raise _incomplete("Date must be in ISO-8601 'basic format', in one X-Amz-Date header.")
    return values[0]


def _moment(timestamp: str) -> datetime:
    try:
        return datetime.strptime(timestamp, _DATE_FORM).replace(tzinfo=UTC)
    except ValueError as error:
        raise _incomplete("Date must be in ISO-8601 'basic format'.") from error


def _check_payload(request: ReceivedRequest, body: bytes) -> None:
    """The signer believes this header; so it has to be true. ``UNSIGNED-PAYLOAD`` never is."""
    stated = request.values("x-amz-content-sha256")
    if stated and stated != [hashlib.sha256(body).hexdigest()]:
        raise _invalid("The value of x-amz-content-sha256 is not the SHA-256 of the body.")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_DATE_FORM)


def _invalid(message: str) -> FaultError:
    return FaultError(Fault("InvalidSignatureException", message))


def _incomplete(message: str) -> FaultError:
    return FaultError(Fault("IncompleteSignatureException", message))


def _unrecognized() -> FaultError:
    text = "The security token included in the request is invalid."
    return FaultError(Fault("UnrecognizedClientException", text))
