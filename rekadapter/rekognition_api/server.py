"""Serving the app: in a thread, or from the command line; over TLS or not; and to whom.

Without keys no signature is verified, so only loopback is served unless the caller insists; a page
in a browser cannot reach it either, because the ``Host`` of such a server has to be a loopback
name. Other addresses need keys and TLS.
"""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rekadapter.errors import BackendError, ConfigError
from rekadapter.rekognition_api.faults import Fault
from rekadapter.rekognition_api.http_app import ServerSettings, ServiceApp, create_app
from rekadapter.rekognition_api.listening import ACCEPTED_AT_ONCE, BoundedListener

__all__ = [
    "ServerSettings",
    "ServiceApp",
    "ServiceServer",
    "TlsFiles",
    "create_app",
    "is_loopback",
    "serve_forever",
]

logger = logging.getLogger(__name__)

_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 10
_KEEP_ALIVE_SECONDS: Final = 75
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2, the oldest that Python offers by itself: with forward secrecy and authentication
only. Those of TLS 1.3 are always on."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate (with its chain) and its private key, both PEM, the key without a passphrase.

    Raises:
        ConfigError: they cannot be read, are not PEM, or do not belong together.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        pair = f"{self.certificate} and {self.key}"
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=self._refuse_passphrase)
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or "no PEM"
            raise ConfigError(f"{pair} cannot be served with over TLS: {reason}") from error

    def _refuse_passphrase(self) -> NoReturn:
        raise ConfigError(f"{self.key} has a passphrase: give a key without one")


# --- who may come in --------------------------------------------------------------------------


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


def _most_connections(app: ASGIApp) -> int | None:
    return app.max_connections if isinstance(app, ServiceApp) else None


def _is_signed(app: ASGIApp) -> bool:
    return isinstance(app, ServiceApp) and app.signed


def _check_exposure(app: ASGIApp, host: str, tls: TlsFiles | None) -> None:
    if is_loopback(host):
        return
    if not _is_signed(app):
        raise ConfigError(
            f"without keys no signatures are verified, so whoever reaches {host} can read and "
            "delete every gallery: give keys and a TLS certificate, serve on 127.0.0.1, or allow "
            "it explicitly as insecure"
        )
    if tls is None:
        raise ConfigError(
            f"without TLS everybody on the way to {host} sees the faces and can repeat signed "
            "requests: give a certificate and its key, serve on 127.0.0.1, or allow it explicitly "
            "as insecure"
        )


# --- running it -------------------------------------------------------------------------------


def serve_forever(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    tls: TlsFiles | None = None,
    insecure: bool = False,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; requests under way get ten seconds to finish.

    ``announce`` is told the URL once requests are answered, with the port there is where ``port``
    is 0.

    Raises:
        ConfigError: ``host`` is not loopback, signatures or TLS are missing, and ``insecure`` does
            not allow it; or the address cannot be served on.
        BackendError: the app did not start.
    """
    if not insecure:
        _check_exposure(app, host, tls)
    served = app if insecure or _is_signed(app) else _LoopbackNames(app)
    with BoundedListener(host, port, most=_most_connections(app)) as listener:
        url = _url(host, listener, tls)
        config = _config(listener.watched(served), tls)
        server = _SignalingServer(config, lambda: announce and announce(url))
        try:
            with _terminated_like_interrupted():
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn passes the signal on once it has stopped
            logger.info("stopped")
        except SystemExit as error:
            raise BackendError("the service did not start: the log says why") from error


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """uvicorn stops at SIGTERM and then sends it again; its default would end the process before
    whoever called could close what is open."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class ServiceServer:
    """An app in a thread while the ``with`` block runs, on a free port of 127.0.0.1 unless told
    otherwise; ``url`` reaches it.

    Raises (on entering):
        ConfigError: the address cannot be served on.
        BackendError: the server did not start.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tls: TlsFiles | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        insecure: bool = False,
    ) -> None:
        """``insecure`` and what is refused without it: see ``serve_forever``."""
        if not insecure:
            _check_exposure(app, host, tls)
        self._app = app if insecure or _is_signed(app) else _LoopbackNames(app)
        self._most = _most_connections(app)
        self._address = (host, port)
        self._tls = tls
        self._settled = threading.Event()
        self._server: _SignalingServer | None = None
        self._listener: BoundedListener | None = None
        self._thread: threading.Thread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where clients reach it, once the block is entered."""
        return self._url

    def __enter__(self) -> Self:
        listener = BoundedListener(*self._address, most=self._most)
        self._url = _url(self._address[0], listener, self._tls)
        server = _SignalingServer(
            _config(listener.watched(self._app), self._tls), self._settled.set
        )
        self._listener, self._server = listener, server
        self._thread = threading.Thread(
            target=self._run, args=(server, listener), name="rekognition-api", daemon=True
        )
        self._thread.start()
        if not self._settled.wait(_START_SECONDS) or not server.started:
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
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()

    def _run(self, server: _SignalingServer, listener: socket.socket) -> None:
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that the app did not start; it has logged why
            logger.debug("the server left before it served")
        finally:
            self._settled.set()


class _SignalingServer(uvicorn.Server):
    """Calls ``on_start`` once it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def _config(app: ASGIApp, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",  # another might not ask the listener, which bounds the connections
        backlog=ACCEPTED_AT_ONCE,
        http="h11",  # one parser wherever it runs: signatures depend on the path as it came
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ciphers=_CIPHERS,
    )


def _url(host: str, listener: socket.socket, tls: TlsFiles | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{listener.getsockname()[1]}"
