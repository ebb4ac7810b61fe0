"""Signatures: what is signed is what is served, and nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from botocore.utils import normalize_url_path
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rekadapter.backends.memory import MemoryRecognizer
from rekadapter.rekognition_api.faults import FaultError
from rekadapter.rekognition_api.server import ServerSettings, ServiceServer, create_app
from rekadapter.rekognition_api.service import RekognitionService
from rekadapter.rekognition_api.signatures import ReceivedRequest, Verifier
from tests.rekognition_api.signing import (
    EXPIRES,
    NOW,
    SECRET,
    TEMPORARY,
    TOKEN,
    Signed,
    exchanged,
    keyring,
    sent,
)

BODY = b'{"MaxResults": 7}'
MISMATCH = "The request signature we calculated does not match the signature you provided."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service with keys whose clock stands still."""
    given_settings = ServerSettings(keys=keyring(), body_timeout_seconds=0.2)
    app = create_app(RekognitionService(MemoryRecognizer()), given_settings, clock=lambda: NOW)
    with ServiceServer(app) as server:
        yield server.url


def _received(request: Signed) -> ReceivedRequest:
    headers = tuple(request.headers().items())
    return ReceivedRequest(request.method, request.path, request.query, headers)


# --- what passes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        Signed(),
        Signed(key=TEMPORARY, token=TOKEN),
        Signed(at=NOW - timedelta(minutes=5)),
        Signed(at=NOW + timedelta(minutes=5)),
        Signed(region="il-central-1"),
        Signed(path="/base/path"),
        Signed(path="/a%20b"),
        Signed(query="a=1&b=2"),
        Signed(body=b""),
        Signed(extra=(("user-agent", "Java/21"), ("amz-sdk-request", "attempt=1; max=3"))),
        Signed(
            extra=(
                (
                    "x-amz-content-sha256",
                    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                ),
            )
        ),
    ],
    ids=repr,
)
def test_a_signed_request_is_served(url: str, request_: Signed) -> None:
    assert sent(url, request_).code == "OK"


def test_headers_that_are_not_amazons_need_no_signature(url: str) -> None:
    request = Signed(extra=(("user-agent", "x"), ("x-forwarded-for", "10.0.0.1")))
    assert sent(url, replace(request, unsigned=("user-agent", "x-forwarded-for"))).code == "OK"


def test_account_and_region_are_those_of_key_and_scope(url: str) -> None:
    answer = sent(url, Signed("CreateCollection", b'{"CollectionId": "here"}', region="sa-east-1"))
    assert b"arn:aws:rekognition:sa-east-1:111122223333:collection/here" in answer.body


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (Signed(secret="another"), "InvalidSignatureException", MISMATCH),
        (Signed(service="s3"), "InvalidSignatureException", "correct service: 'rekognition'"),
        (Signed(region="Mars!"), "InvalidSignatureException", "valid region"),
        (
            Signed(at=NOW - timedelta(minutes=5, seconds=1)),
            "InvalidSignatureException",
            "Signature expired: 20261123T115459Z is now earlier than 20261123T115500Z "
            "(20261123T120000Z - 5 min.)",
        ),
        (
            Signed(at=NOW + timedelta(minutes=5, seconds=1)),
            "InvalidSignatureException",
            "Signature not yet current: 20261123T120501Z is still later than 20261123T120500Z "
            "(20261123T120000Z + 5 min.)",
        ),
        (Signed(unsigned=("host",)), "InvalidSignatureException", "'Host' or ':authority' must be"),
        (Signed(unsigned=("x-amz-date",)), "InvalidSignatureException", "not signed"),
        (Signed(unsigned=("x-amz-target",)), "InvalidSignatureException", "not signed"),
        (
            Signed(key=TEMPORARY, token=TOKEN, unsigned=("x-amz-security-token",)),
            "InvalidSignatureException",
            "not signed",
        ),
        (
            Signed(extra=(("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),)),
            "InvalidSignatureException",
            "SHA-256",
        ),
        (
            Signed(extra=(("x-amz-content-sha256", "0" * 64),)),
            "InvalidSignatureException",
            "SHA-256",
        ),
        (Signed(extra=(("x-note", "caf\xe9"),)), "InvalidSignatureException", "ASCII"),
        (Signed(key="AKIDNOBODY"), "UnrecognizedClientException", "security token"),
        (Signed(token=TOKEN), "UnrecognizedClientException", "security token"),
        (Signed(key=TEMPORARY), "UnrecognizedClientException", "security token"),
        (Signed(key=TEMPORARY, token="wrong"), "UnrecognizedClientException", "security token"),
        (
            Signed(query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
            "InvalidSignatureException",
            "",
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_wrong_is_said(url: str, request_: Signed, code: str, text: str) -> None:
    if request_.query:  # signed rightly by a header, it is the query that is tampered with
        wire = replace(request_, query="", host=urlsplit(url).netloc).wire()
        answer = exchanged(url, wire.replace(b"POST / ", f"POST /?{request_.query} ".encode()))
    else:
        answer = sent(url, request_)
    assert (answer.status, answer.code) == (400, code)
    assert text in answer.message


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        ("", "IncompleteSignatureException"),
        ("Basic YTpi", "IncompleteSignatureException"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=a, Signature=b", "IncompleteSignatureException"),
        (
            f"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={'0' * 64}",
            "IncompleteSignatureException",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/rekognition/aws4_request, "
            "SignedHeaders=host, Signature=XYZ",
            "IncompleteSignatureException",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/rekognition/aws4, "
            f"SignedHeaders=host, Signature={'0' * 64}",
            "InvalidSignatureException",
        ),
    ],
)
def test_a_header_that_is_no_signature_is_refused(
    url: str, authorization: str | None, code: str
) -> None:
    lines = ["POST / HTTP/1.1", "host: 127.0.0.1", "content-length: 2"]
    if authorization is not None:
        lines.append(f"authorization: {authorization}")
    answer = exchanged(url, "\r\n".join([*lines, "", "{}"]).encode())
    assert (answer.status, answer.code) == (400, code)


def test_a_signature_in_the_query_is_refused_by_name(url: str) -> None:
    target = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
    head = f"POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    answer = exchanged(url, head.encode())
    assert answer.code == "IncompleteSignatureException"
    assert "query" in answer.message


def test_the_scopes_date_is_the_requests(url: str) -> None:
    wire = replace(Signed(), host=urlsplit(url).netloc).wire()
    answer = exchanged(url, wire.replace(b"/20261123/", b"/20261122/"))
    assert answer.code == "InvalidSignatureException"
    assert "'20261122' != '20261123', from '20261123T120000Z'" in answer.message


def test_signed_headers_out_of_order_are_refused(url: str) -> None:
    wire = replace(Signed(), host=urlsplit(url).netloc).wire()
    changed = wire.replace(b"=content-type;host;", b"=host;content-type;")
    assert exchanged(url, changed).code == "InvalidSignatureException"


def test_a_second_header_of_a_signed_name_does_not_pass(url: str) -> None:
    wire = replace(Signed(), host=urlsplit(url).netloc).wire()
    for extra in (
        b"x-amz-target: RekognitionService.DeleteCollection",
        b"x-amz-date: 20261123T120000Z",
    ):
        for at in (wire.index(b"\r\n") + 2, wire.index(b"content-length")):
            changed = wire[:at] + extra + b"\r\n" + wire[at:]
            assert exchanged(url, changed).status == 400


def test_a_header_of_amazons_that_was_added_is_refused(url: str) -> None:
    wire = replace(Signed(), host=urlsplit(url).netloc).wire()
    changed = wire.replace(b"content-length", b"x-amz-added: 1\r\ncontent-length")
    assert "not signed" in exchanged(url, changed).message


def test_a_fragment_does_not_hide_a_path(url: str) -> None:
    wire = replace(Signed(), host=urlsplit(url).netloc).wire()
    assert exchanged(url, wire.replace(b"POST / ", b"POST /#x ")).status == 400


def test_a_request_with_an_expired_token_is_refused() -> None:
    request = Signed(key=TEMPORARY, token=TOKEN, at=EXPIRES)
    with pytest.raises(FaultError, match="ExpiredTokenException: The security token included"):
        Verifier(keyring(), lambda: EXPIRES).claim(_received(request))


def test_a_signature_can_be_repeated_for_five_minutes_and_no_longer() -> None:
    request = _received(Signed())
    for now in (NOW, NOW + timedelta(minutes=5)):
        verifier = Verifier(keyring(), lambda now=now: now)  # type: ignore[misc]
        verifier.verify(request, verifier.claim(request), b"{}")
    with pytest.raises(FaultError, match="Signature expired"):
        Verifier(keyring(), lambda: NOW + timedelta(minutes=5, seconds=1)).claim(request)


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for request in (Signed(key=TEMPORARY, token=TOKEN), Signed(secret="another")):
            received, verifier = _received(request), Verifier(keyring(), lambda: NOW)
            claim = verifier.claim(received)
            if request.secret == SECRET:
                verifier.verify(received, claim, b"{}")
            else:
                with pytest.raises(FaultError):
                    verifier.verify(received, claim, b"{}")
            assert TOKEN not in repr(claim)
            assert SECRET not in repr(claim)
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


# --- any change -----------------------------------------------------------------------------------


@given(
    position=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    kind=st.sampled_from(["replace", "insert", "delete"]),
    temporary=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_change_of_one_byte_is_refused(
    url: str, position: float, byte: int, kind: str, *, temporary: bool
) -> None:
    request = Signed(body=BODY, host=urlsplit(url).netloc, path="/base")
    if temporary:
        request = replace(request, key=TEMPORARY, token=TOKEN)
    wire = request.wire()
    at = int(position * len(wire))
    put = b"" if kind == "delete" else bytes([byte])
    changed = wire[:at] + put + wire[at + (kind != "insert") :]
    assume(_meaning(changed) != _meaning(wire))
    assert exchanged(url, changed, patience=0.5).status != 200


def _meaning(wire: bytes) -> object:
    """What a request asks for, as far as HTTP and SigV4 tell requests apart: not the protocol's
    version, the case of header names, white space around values
    and the parameters of ``Authorization``, or ``//`` in a path."""
    head, _, body = re.sub(rb"\r?\n", b"\n", wire.lstrip(b"\r\n")).partition(b"\n\n")
    first, *lines = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")  # a folded header is one line
    method, _, rest = first.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    path, _, query = target.partition(b"?")
    pairs = [line.partition(b":") for line in lines]
    headers = {(name.lower(), _canonical(name, value)) for name, _, value in pairs}
    normal = normalize_url_path(path.decode("latin-1"))
    # what follows a body of the stated length belongs to the next request
    return method, normal, query, version[:5], frozenset(headers), body[: len(BODY)]


def _canonical(name: bytes, value: bytes) -> bytes:
    joined = b" ".join(value.split())
    if name.lower() == b"authorization":
        return re.sub(rb" ?, ?", b",", joined)
    return joined.lstrip(b"0") if name.lower() == b"content-length" else joined


def test_the_untouched_request_is_served(url: str) -> None:
    request = Signed(body=BODY, path="/base")
    assert sent(url, request).code == "OK"
    assert sent(url, replace(request, key=TEMPORARY, token=TOKEN)).code == "OK"
