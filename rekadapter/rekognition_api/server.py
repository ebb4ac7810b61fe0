"""The service over HTTP: an ASGI app, a server in a thread, and a server for the command line.

Signatures are not verified yet, so only loopback is served unless the caller insists; a page in a
browser cannot reach it either, because the ``Host`` of a loopback server has to be a loopback name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import re
import socket
import threading
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rekadapter.errors import BackendError, ConfigError
from rekadapter.rekognition_api import faults
from rekadapter.rekognition_api.faults import Fault
from rekadapter.rekognition_api.service import RekognitionService, ServiceAnswer

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""CompareFaces with two images of 5 MiB is 14 MB of JSON."""
_DRAINED_BODIES: Final = 4
"""A body over the limit is read to its end and thrown away up to this many times the limit, so that
the client sees the answer instead of a broken connection."""
_SCOPE: Final = re.compile(r"Credential=[^/,]+/\d{8}/([a-z0-9-]{1,32})/rekognition/aws4_request")
_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 10
_KEEP_ALIVE_SECONDS: Final = 75


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How much a server takes on at once, and whom requests belong to.

    ``workers`` requests are handled at a time, up to ``max_in_flight`` are held (each may be
    ``max_body_bytes``); the next is told to come back after ``retry_after_ms``. ``region`` counts
    for requests without a signature.
    """

    workers: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    max_in_flight: int = 64
    max_body_bytes: int = MAX_BODY_BYTES
    body_timeout_seconds: float = 60.0
    retry_after_ms: int = 500
    account: str = "123456789012"
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= self.max_in_flight or self.max_body_bytes < 1:
            raise ConfigError("a server needs 1 <= workers <= max_in_flight and a body limit")
        if self.retry_after_ms < 0 or self.body_timeout_seconds <= 0:
            raise ConfigError("retry_after_ms and body_timeout_seconds cannot be negative")
        if not re.fullmatch(r"\d{12}", self.account):
            raise ConfigError(f"an AWS account has twelve digits, not {self.account!r}")


def create_app(service: RekognitionService, settings: ServerSettings | None = None) -> Starlette:
    """An ASGI app: ``GET /healthz``, and the service at every other path (``X-Amz-Target`` routes).

    Its threads end with the app's lifespan.
    """
    endpoint = _Endpoint(service, settings or ServerSettings())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(endpoint.close)

    routes = [Route("/healthz", endpoint.health, methods=["GET"]), Route("/{path:path}", endpoint)]
    return Starlette(routes=routes, lifespan=lifespan)


class _TurnedAwayError(Exception):
    """A request that does not reach the service."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault


class _Endpoint:
    """An ASGI app of one route. Its counter is only touched in the event loop: no lock."""

    def __init__(self, service: RekognitionService, settings: ServerSettings) -> None:
        self._service = service
        self._settings = settings
        self._in_flight = 0
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="rekognition-api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            logger.debug("a client left before its request had arrived")
            return
        await Response(answer.body, answer.status, dict(answer.headers))(scope, receive, send)

    async def health(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "in_flight": self._in_flight})

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    async def _answer(self, request: Request) -> ServiceAnswer:
        try:
            return await self._admitted(request)
        except _TurnedAwayError as error:
            return self._service.refuse(error.fault)
        except ClientDisconnect:
            raise
        except Exception:  # the border of the server: a client gets AWS's error, the log the cause
            logger.exception("a request failed before it reached the service")
            return self._service.refuse(faults.internal())

    async def _admitted(self, request: Request) -> ServiceAnswer:
        if self._in_flight >= self._settings.max_in_flight:
            await self._read(request, limit=0)
            raise _TurnedAwayError(faults.overloaded(self._settings.retry_after_ms))
        self._in_flight += 1
        try:
            return await self._handled(request)
        finally:
            self._in_flight -= 1

    async def _handled(self, request: Request) -> ServiceAnswer:
        body = await self._read(request, limit=self._settings.max_body_bytes)
        if body is None:
            raise _TurnedAwayError(faults.image_too_large().fault)
        target = self._target(request)
        region = _region_of(request) or self._settings.region
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool,
            lambda: self._service.handle(
                target, body, account=self._settings.account, region=region
            ),
        )

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

    async def _read(self, request: Request, *, limit: int) -> bytes | None:
        """The body, or None where it is longer than ``limit`` bytes.

        Raises:
            _TurnedAwayError: the body took too long, or does not seem to end.
        """
        bound = _DRAINED_BODIES * self._settings.max_body_bytes
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > bound:
                        raise _TurnedAwayError(faults.image_too_large().fault)
                    if size <= limit:
                        chunks.append(chunk)
                    else:
                        chunks.clear()
        except TimeoutError as error:
            raise _TurnedAwayError(Fault("RequestTimeout", "The body came too slowly.")) from error
        return b"".join(chunks) if size <= limit else None


def _region_of(request: Request) -> str | None:
    """The region of the signature's scope; the signature itself is not verified."""
    found = _SCOPE.search(request.headers.get("authorization", ""))
    return found[1] if found else None


# --- running it -------------------------------------------------------------------------------


class _LoopbackNames:
    """Refuses a ``Host`` that is no loopback name: a page in a browser whose own name was pointed
    at 127.0.0.1 (DNS rebinding) does not get at the galleries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_loopback(_host_of(Request(scope))):
            fault = Fault("AccessDeniedException", "Only loopback host names are served.")
            request_id = str(uuid.uuid4())
            headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": request_id}
            await Response(fault.body(request_id), fault.status, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _host_of(request: Request) -> str:
    """The name in the ``Host`` header, without the port; empty where there is none that makes
    sense."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve_forever(app: ASGIApp, host: str, port: int, *, insecure: bool = False) -> None:
    """Serves until SIGINT or SIGTERM; requests under way get ten seconds to finish.

    Raises:
        ConfigError: ``host`` is not loopback and ``insecure`` does not allow it; or the address
            cannot be served on.
        BackendError: the app did not start.
    """
    if not insecure and not is_loopback(host):
        raise ConfigError(
            f"signatures are not verified, so whoever reaches {host} can read and delete every "
            "gallery: serve on 127.0.0.1, or allow it explicitly as insecure"
        )
    with _listening(host, port) as listener:
        served = app if insecure else _LoopbackNames(app)
        try:
            uvicorn.Server(_config(served)).run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn passes SIGINT on once it has stopped
            logger.info("stopped")
        except SystemExit as error:
            raise BackendError("the service did not start: the log says why") from error


class ServiceServer:
    """An app on a free port of 127.0.0.1 while the ``with`` block runs; ``url`` reaches it.

    Raises (on entering):
        BackendError: the server did not start.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._server = _SignalingServer(_config(_LoopbackNames(app)))
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where clients reach it, once the block is entered."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._listener = _listening("127.0.0.1", 0)
        self._port = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._run, args=(self._listener,), name="rekognition-api", daemon=True
        )
        self._thread.start()
        if not self._server.settled.wait(_START_SECONDS) or not self._server.started:
            self.stop()
            raise BackendError("the Rekognition-compatible service did not start: see the log")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Lets requests under way finish, then ends the thread. May be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that the app did not start; it has logged why
            logger.debug("the server left before it served")
        finally:
            self._server.settled.set()


class _SignalingServer(uvicorn.Server):
    """Tells another thread when it has started, or failed to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named: without it every answer
    # waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port} cannot be served on ({error.strerror}): choose another port or host"
        ) from error
    return listener
