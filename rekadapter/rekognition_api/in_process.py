"""A mocked Rekognition without moto: botocore's own clients, answered before they send.

Signing, retries, timeouts' bookkeeping and parsing are botocore's, as against AWS; only the network
is left out.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

import boto3
import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.handlers import BUILTIN_HANDLERS, REGISTER_FIRST
from botocore.hooks import BaseEventHooks
from botocore.signers import RequestSigner

from rekadapter.errors import ConfigError, RekadapterError
from rekadapter.rekognition_api.mocking import DEFAULT_ACCOUNT, MockedRekognition

MockTarget = BaseClient | boto3.Session | botocore.session.Session
"""What a mock can be put before: a client, or a session with all clients it makes from then on."""

_SIGN_EVENT: Final = "before-sign.rekognition"
_EVENT: Final = "before-send.rekognition"
_SCOPE: Final = re.compile(r"Credential=[^/,]+/\d{8}/([a-z0-9-]{1,32})/")
_HOST_REGION: Final = re.compile(r"://rekognition(?:-fips)?\.([a-z0-9-]+)\.")
_DEFAULT_REGION: Final = "us-east-1"
_KEY_ID: Final = "AKIAMOCKEDREKADAPTER"
_SECRET: Final = "mocked"  # noqa: S105 - nothing checks it
_ANSWERED: Final = "x-rekadapter-answered"


class MockEndedError(RekadapterError):
    """A client outlived the mock it was made under."""


class MotoActiveError(RekadapterError):
    """moto answers this process's AWS requests already."""


@contextmanager
def answered_by(
    mock: MockedRekognition,
    target: MockTarget | None = None,
    *,
    account: str = DEFAULT_ACCOUNT,
) -> Iterator[None]:
    """Rekognition requests of ``target`` go to ``mock`` for the length of the block.

    Without a target it is every client made within the block; they get credentials and, where none
    is set, a region that only a mock would take, so that nothing of the machine's is used. Other
    clients sign with their own credentials, and with such ones where they have none. A client
    made within the block from a session refuses to work once it has ended; a client that was given
    as target is as it was.

    Raises:
        ConfigError: the target is another service's client, or nothing of the kind. A request
            raises it where an outer block mocks the same client.
        MotoActiveError: moto's mock is running; use its extension instead.
    """
    _refuse_beside_moto()
    interceptor = _Interceptor(mock, account)
    with ExitStack() as stack:
        stack.callback(interceptor.end)
        if target is None:
            stack.enter_context(_before_every_client(interceptor))
        else:
            stack.enter_context(_registered(_events_of(target), interceptor))
        yield


def moto_is_active() -> bool:
    """Whether moto's ``mock_aws`` is running in this process."""
    models = sys.modules.get("moto.core.models")
    return models is not None and bool(getattr(models.MockAWS, "_mocks_active", False))


class _Interceptor:
    """botocore's handler of the event before a request is sent."""

    def __init__(self, mock: MockedRekognition, account: str) -> None:
        self._mock = mock
        self._account = account
        self._ended = False
        self._since = time.monotonic_ns()

    def end(self) -> None:
        self._ended = True

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        if self._is_answered(request):
            return None
        if self._ended:
            raise MockEndedError(
                "this client was made under a mocked Rekognition that has ended: "
                "make clients within the block that uses them"
            )
        _refuse_beside_moto()
        request.headers[_ANSWERED] = str(self._since)
        region = _region_of(request)
        answer = self._mock.region(self._account, region).handle(
            _text(request.headers.get("X-Amz-Target")),
            _body_of(request),
            account=self._account,
            region=region,
        )
        headers = HTTPHeaders.from_dict(answer.headers)
        return AWSResponse(request.url, answer.status, headers, _Raw(answer.body))

    def _is_answered(self, request: AWSPreparedRequest) -> bool:
        """By a later mock: botocore asks every handler, and takes the first answer."""
        answered_by = request.headers.get(_ANSWERED)
        if answered_by is None:
            return False
        if int(answered_by) < self._since:
            raise ConfigError(
                "an outer block mocks this client already and has answered in place of the inner "
                "one: mock the client once, or make another within the inner block"
            )
        return True


class _Raw(io.BytesIO):
    """A body as botocore reads one from urllib3."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@contextmanager
def _registered(events: BaseEventHooks, interceptor: _Interceptor) -> Iterator[None]:
    handler: Callable[..., Any] = interceptor  # the stubs say None: this event takes an answer
    events.register_first(_EVENT, handler)
    events.register_first(_SIGN_EVENT, _lend_credentials)
    try:
        yield
    finally:
        events.unregister(_EVENT, handler)
        events.unregister(_SIGN_EVENT, _lend_credentials)


def _lend_credentials(request: AWSRequest, request_signer: RequestSigner, **_: object) -> None:
    """botocore signs with the request's own credentials before its client's."""
    if getattr(request_signer, "_credentials", None) is None:
        signing = request.context.setdefault("signing", {})
        signing["request_credentials"] = Credentials(_KEY_ID, _SECRET, _SECRET)


@contextmanager
def _before_every_client(interceptor: _Interceptor) -> Iterator[None]:
    """botocore hands its built-in handlers to each new session; boto3 keeps one session, which is
    set aside."""
    row = (_EVENT, interceptor, REGISTER_FIRST)
    with patch.dict(os.environ, _environment()), patch.object(boto3, "DEFAULT_SESSION", None):
        BUILTIN_HANDLERS.insert(0, row)  # before those of an outer block
        try:
            yield
        finally:
            BUILTIN_HANDLERS.remove(row)


def _environment() -> Mapping[str, str]:
    made = {
        "AWS_ACCESS_KEY_ID": _KEY_ID,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_SESSION_TOKEN": _SECRET,
    }
    if not {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys():
        made["AWS_DEFAULT_REGION"] = _DEFAULT_REGION
    return made


def _events_of(target: object) -> BaseEventHooks:
    match target:
        case BaseClient():
            service = target.meta.service_model.service_name
            if service != "rekognition":
                raise ConfigError(f"a Rekognition client can be mocked here, not one of {service}")
            return target.meta.events
        case boto3.Session():
            return target.events
        case botocore.session.Session():
            emitter: BaseEventHooks = target.get_component("event_emitter")
            return emitter
        case _:
            raise ConfigError(
                "a mock is put before a Rekognition client, a boto3 or botocore session, "
                f"or nothing for all new clients, not before a {type(target).__name__}"
            )


def _refuse_beside_moto() -> None:
    if moto_is_active():
        raise MotoActiveError(
            "moto's mock_aws is running and would answer too: call "
            "rekadapter.testing.rekognition.install() once, and moto itself has collections"
        )


def _region_of(request: AWSPreparedRequest) -> str:
    """Of the signature, else of the host, as AWS would see it."""
    signed = _SCOPE.search(_text(request.headers.get("Authorization")))
    named = signed or _HOST_REGION.search(request.url)
    return named[1] if named else _DEFAULT_REGION


def _body_of(request: AWSPreparedRequest) -> bytes:
    body = request.body
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    return body.encode() if isinstance(body, str) else b""


def _text(header: object) -> str:
    """botocore signs with text, and turns some headers into bytes."""
    return header.decode("latin-1") if isinstance(header, bytes) else str(header or "")
