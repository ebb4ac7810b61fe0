"""The service as an ASGI app: what a request passes before the service sees it.

In this order: the head's signature, room for one more, the body, the body's signature, the key's
grants; then ``RekognitionService.handle`` in a worker thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from rekadapter.errors import ConfigError
from rekadapter.rekognition_api import faults
from rekadapter.rekognition_api.exposition import CONTENT_TYPE
from rekadapter.rekognition_api.faults import Fault, FaultError
from rekadapter.rekognition_api.keys import KeyRing
from rekadapter.rekognition_api.metrics import Exchange, Metrics, works_text
from rekadapter.rekognition_api.model import load_model
from rekadapter.rekognition_api.policies import Authorizer
from rekadapter.rekognition_api.service import RekognitionService, ServiceAnswer
from rekadapter.rekognition_api.signatures import (
    Claim,
    Clock,
    ReceivedRequest,
    Verifier,
    system_clock,
)

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""CompareFaces with two images of 5 MiB is 14 MB of JSON."""
_DRAINED_BODIES: Final = 4
"""A body over the limit is read to its end and thrown away up to this many times the limit, so that
the client sees the answer instead of a broken connection."""
_SCOPE: Final = re.compile(r"Credential=[^/,]+/\d{8}/([a-z0-9-]{1,32})/rekognition/aws4_request")
_ORIGIN: Final = re.compile(
    r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]+)?"
)
_CORS_SENT: Final = (
    "Amz-Sdk-Invocation-Id",
    "Amz-Sdk-Request",
    "Authorization",
    "Content-Type",
    "X-Amz-Content-Sha256",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Target",
    "X-Amz-User-Agent",
)
_CORS_SHOWN: Final = ("Date", "X-Amz-Retry-After", "X-Amzn-RequestId")
"""Date lets an SDK put its clock right."""
_CORS_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How much a server takes on at once, and whom it serves.

    ``workers`` requests are handled at a time, up to ``max_in_flight`` are held (each may be
    ``max_body_bytes``, and has ``body_timeout_seconds`` to come, as its answer has to be read); the
    next is told to come back after ``retry_after_ms``. Of connections
    ``max_connections`` are held: 512 where it is None, or fewer where the process may not have that
    many files open.

    With ``keys`` every request has to be signed with one of them; without, no signature is looked
    at, requests belong to ``account``, and ``region`` counts where none is signed.
    ``cors_origins`` are the web pages' origins (``https://example.org``) whose scripts may call;
    ``metrics`` adds ``GET /metrics``.
    """

    workers: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    max_in_flight: int = 64
    max_body_bytes: int = MAX_BODY_BYTES
    max_connections: int | None = None
    body_timeout_seconds: float = 60.0
    retry_after_ms: int = 500
    account: str = "123456789012"
    region: str = "us-east-1"
    keys: KeyRing | None = None
    cors_origins: tuple[str, ...] = ()
    metrics: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= self.max_in_flight or self.max_body_bytes < 1:
            raise ConfigError("a server needs 1 <= workers <= max_in_flight and a body limit")
        if self.max_connections is not None and self.max_connections < 1:
            raise ConfigError("a server needs room for one connection at least")
        if self.retry_after_ms < 0 or self.body_timeout_seconds <= 0:
            raise ConfigError("retry_after_ms and body_timeout_seconds cannot be negative")
        if not re.fullmatch(r"\d{12}", self.account):
            raise ConfigError(f"an AWS account has twelve digits, not {self.account!r}")
        self._check_origins()

    def _check_origins(self) -> None:
        for origin in self.cors_origins:
            if origin == "*" and self.keys is None:
                raise ConfigError(
                    "without keys, origin * would open the galleries to every web page: "
                    "name the origins, or give keys"
                )
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ConfigError(f"{origin!r} is no origin: write https://HOST[:PORT] and no path")


class ServiceApp(Starlette):
    """The app. ``signed`` tells whether requests without a valid signature are refused,
    ``max_connections`` how many a server should hold."""

    signed: bool = False
    max_connections: int | None = None


def create_app(
    service: RekognitionService,
    settings: ServerSettings | None = None,
    *,
    clock: Clock = system_clock,
) -> ServiceApp:
    """An ASGI app: ``GET /healthz``, ``GET /metrics`` where asked for, and the service at every
    other path (``X-Amz-Target`` routes). ``clock`` judges the age of signatures.

    Its threads end with the app's lifespan.
    """
    given = settings or ServerSettings()
    endpoint = _Endpoint(service, given, clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(endpoint.close)

    routes: list[BaseRoute] = [Route("/healthz", endpoint.health, methods=["GET"])]
    if given.metrics:
        routes.append(Route("/metrics", endpoint.scrape, methods=["GET"]))
    routes.append(Route("/{path:path}", endpoint))
    app = ServiceApp(routes=routes, lifespan=lifespan, middleware=_cors(given))
    app.router.default = endpoint  # a request target without a path, such as that of OPTIONS *
    app.signed = given.keys is not None
    app.max_connections = given.max_connections
    return app


def _cors(settings: ServerSettings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["POST"],
            allow_headers=_CORS_SENT,
            expose_headers=_CORS_SHOWN,
            max_age=_CORS_SECONDS,
        )
    ]


class _TurnedAwayError(Exception):
    """A request that does not reach the service."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class _Work:
    """A request that has arrived whole. ``claim`` is there where signatures are checked."""

    head: ReceivedRequest
    claim: Claim | None
    target: str
    body: bytes


class _Endpoint:
    """An ASGI app of one route. Its counters are only touched in the event loop: no lock."""

    def __init__(self, service: RekognitionService, settings: ServerSettings, clock: Clock) -> None:
        self._service = service
        self._settings = settings
        self._verifier = None if settings.keys is None else Verifier(settings.keys, clock)
        self._authorizer = Authorizer()
        self._metrics = Metrics(load_model(()).names)
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="rekognition-api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange()
        started = time.perf_counter()
        try:
            answer = await self._answer(Request(scope, receive), exchange)
            exchange.sent_bytes = len(answer.body)
            async with asyncio.timeout(self._settings.body_timeout_seconds):
                await Response(answer.body, answer.status, dict(answer.headers))(
                    scope, receive, send
                )
        except TimeoutError:
            logger.debug("a client did not read its answer")
            exchange.code, exchange.refused = "ClientDisconnect", True
        except ClientDisconnect:
            logger.debug("a client left before its request had arrived")
            exchange.code, exchange.refused = "ClientDisconnect", True
        finally:
            exchange.seconds = time.perf_counter() - started
            self._metrics.add(exchange)

    async def health(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "in_flight": self._in_flight})

    async def scrape(self, _: Request) -> Response:
        text = self._metrics.text(in_flight=self._in_flight)
        if self._service.works is not None:  # may wait for a disk
            text += await asyncio.to_thread(works_text, self._service.works)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    async def _answer(self, request: Request, exchange: Exchange) -> ServiceAnswer:
        exchange.operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            answer = await self._admitted(request, exchange)
        except (_TurnedAwayError, FaultError) as error:
            exchange.refused = True
            answer = self._service.refuse(error.fault)
        except ClientDisconnect:
            raise
        except asyncio.CancelledError:  # the server stops and has waited long enough
            exchange.refused = True
            answer = self._service.refuse(faults.internal())
        except Exception:  # the border of the server: a client gets AWS's error, the log the cause
            logger.exception("a request failed before it reached the service")
            answer = self._service.refuse(faults.internal())
        if answer.status != 200:
            exchange.code = str(json.loads(answer.body)["__type"])
        return answer

    async def _admitted(self, request: Request, exchange: Exchange) -> ServiceAnswer:
        head = _received(request)
        claim = await self._claim(head, request, exchange)  # who may not come in takes no room
        if self._in_flight >= self._settings.max_in_flight:
            await self._read(request, exchange, limit=0)
            raise _TurnedAwayError(faults.overloaded(self._settings.retry_after_ms))
        self._in_flight += 1
        try:
            return await self._handled(head, claim, request, exchange)
        finally:
            self._in_flight -= 1

    async def _handled(
        self, head: ReceivedRequest, claim: Claim | None, request: Request, exchange: Exchange
    ) -> ServiceAnswer:
        body = await self._read(request, exchange, limit=self._settings.max_body_bytes)
        if body is None:
            raise _TurnedAwayError(faults.image_too_large().fault)
        work = _Work(head, claim, self._target(request), body)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    async def _claim(
        self, head: ReceivedRequest, request: Request, exchange: Exchange
    ) -> Claim | None:
        """Whose request it says it is; one without hope is not kept in memory."""
        if self._verifier is None:
            return None
        try:
            return self._verifier.claim(head)
        except FaultError:
            await self._read(request, exchange, limit=0)
            raise

    def _work(self, work: _Work) -> ServiceAnswer:
        """In a worker thread: hashing a large body takes its time."""
        if self._verifier is None or work.claim is None:
            account, region = self._settings.account, _region_of(work.head) or self._settings.region
        else:
            self._verifier.verify(work.head, work.claim, work.body)
            caller, region = work.claim.key.caller, work.claim.region
            account = caller.account
            operation = work.target.rpartition(".")[2]
            self._authorizer.check(caller, operation, work.body, region)
        return self._service.handle(work.target, work.body, account=account, region=region)

    def _target(self, request: Request) -> str:
        """The operation asked for.

        Raises:
            _TurnedAwayError: not a request of the AWS JSON protocol.
        """
        if request.method != "POST":
            raise _TurnedAwayError(faults.unknown_operation("Rekognition takes POST requests."))
        target = request.headers.get("x-amz-target")
        if target is None:
            raise _TurnedAwayError(faults.unknown_operation("The X-Amz-Target header is missing."))
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != self._service.content_type:
            text = f"The Content-Type has to be {self._service.content_type}."
            raise _TurnedAwayError(faults.malformed(text))
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _TurnedAwayError(faults.malformed("The body may not have a Content-Encoding."))
        return target

    async def _read(self, request: Request, exchange: Exchange, *, limit: int) -> bytes | None:
        """The body, or None where it is longer than ``limit`` bytes.

        Raises:
            _TurnedAwayError: the body took too long, or does not seem to end.
        """
        bound = _DRAINED_BODIES * self._settings.max_body_bytes
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_timeout_seconds):
                async for chunk in request.stream():
                    exchange.received_bytes += len(chunk)
                    if exchange.received_bytes > bound:
                        raise _TurnedAwayError(faults.image_too_large().fault)
                    if exchange.received_bytes <= limit:
                        chunks.append(chunk)
                    else:
                        chunks.clear()
        except TimeoutError as error:
            raise _TurnedAwayError(Fault("RequestTimeout", "The body came too slowly.")) from error
        return b"".join(chunks) if exchange.received_bytes <= limit else None


def _received(request: Request) -> ReceivedRequest:
    scope = request.scope
    return ReceivedRequest(
        method=request.method,
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=tuple((name.lower(), value) for name, value in request.headers.items()),
    )


def _region_of(head: ReceivedRequest) -> str | None:
    """The region of a signature's scope; for when signatures are not verified."""
    found = _SCOPE.search("".join(head.values("authorization")[:1]))
    return found[1] if found else None
