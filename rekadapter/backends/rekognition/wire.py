"""Bytes on the wire, counted where they pass, and the wait for the uplink in each attempt.

A pacer that can is asked for every slice of a request as it is sent, and told what the kernel knows
of its arrival; any other holds each attempt back as a whole.

Three measures, best first; each record names the one it holds:

* ``tcp_info``: the kernel's own count for the connection (Linux, ``TCP_INFO``), so with TLS and its
  handshake, without TCP and IP headers and segments sent twice;
* ``socket``: HTTP as handed to and read from the connection, before TLS;
* ``computed``: the length of the request and of the answer as HTTP would write them.

The first two count inside connection classes given to botocore's session, which is not public API:
where it has changed, sizes are computed and nothing else differs. The wait and the sizes computed
hang on botocore's events, which are public.
"""

from __future__ import annotations

import io
import logging
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPResponse
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import awsrequest
from urllib3.util.wait import wait_for_read

from rekadapter.errors import ConnectionFailedError, StoppedError
from rekadapter.recognizer import BodyPacer, Pacer, Upload

logger = logging.getLogger(__name__)

SIGNATURE_SECONDS: Final = 240.0
"""AWS refuses a signature older than five minutes; after a longer wait it is made anew."""

_TLS_RECORD_BYTES: Final = 16_384
_TLS_OVERHEAD_BYTES: Final = 29
"""Header, explicit nonce and tag of an AES-GCM record (RFC 5288); TLS 1.3 adds 22 (RFC 8446)."""

STALL_SECONDS: Final = 10.0
"""A connection whose bytes nobody acknowledges for so long is given up (Linux, TCP_USER_TIMEOUT of
RFC 5482). The kernel itself would try for many minutes at ever longer intervals, also long after
the link is back."""

_LOOK_SECONDS: Final = 0.1
"""How often a request that is sent and not answered is looked after, while it waits."""

STOP_SECONDS: Final = 5.0
"""An answer that is on its way when a run is stopped has so long; it may well be billed."""

_TCP_INFO_BYTES: Final = 256
_IN_FLIGHT: Final = struct.Struct("=120xQ16xL52xQQ")
"""tcpi_bytes_acked at 120 and tcpi_notsent_bytes at 144, then sent and retransmitted as below."""
_COUNTERS: Final = struct.Struct("=128xQ64xQQ")
"""tcpi_bytes_received at 128, tcpi_bytes_sent at 200 and tcpi_bytes_retrans at 208 in struct
tcp_info (linux/tcp.h, since 4.19); an older kernel gives a shorter one."""


class SignatureTooOld(Exception):  # noqa: N818 - not an error: it asks for another signature
    """The wait for the uplink outlived the signature."""


@dataclass(frozen=True, slots=True)
class WireBytes:
    """Bytes of one attempt, and how they were counted."""

    sent: int
    received: int
    measure: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """How the end of a run is told, and how long an answer on its way may take after it."""

    event: threading.Event
    seconds: float = STOP_SECONDS


class Exchange:
    """One attempt on the wire, filled while it runs; used by one thread."""

    __slots__ = (
        "_before",
        "_counting",
        "_last",
        "_sock",
        "_stop_by",
        "_stopping",
        "_waited",
        "allowance",
        "body",
        "complete",
        "computed_sent",
        "granted",
        "headers",
        "received",
        "sent",
        "stopped",
        "upload",
    )

    def __init__(self, *, counting: bool, stopping: Stopping | None = None) -> None:
        self._counting = counting
        self._stopping = stopping or Stopping(threading.Event())
        self._stop_by = math.inf
        self._waited = 0.0
        self._sock: socket.socket | None = None
        self.granted = False
        self.upload: Upload | None = None
        self.allowance = 0
        self.stopped: StoppedError | None = None
        self.complete = False
        self.computed_sent = 0
        self.sent = 0
        self.received = 0
        self.headers: Mapping[str, str] = {}
        self.body: bytes | None = None
        self._before: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None

    @property
    def pacer_wait(self) -> float:
        """Seconds spent waiting for the uplink."""
        return self._waited + (self.upload.waited_seconds if self.upload else 0.0)

    def hold_back(self, pacer: Pacer, size: int) -> None:
        """Waits until the attempt, of ``size`` bytes, may be sent."""
        self._waited += pacer.wait_to_send(size)
        self.granted = True

    def begin_upload(self, pacer: BodyPacer, size: int) -> None:
        """Waits until the first slice of the attempt, of ``size`` bytes, may be sent."""
        self.upload = pacer.begin(self._unacknowledged)
        self.allowance = self.upload.turn(size)
        self.granted = True

    def slices(self, data: memoryview, sock: socket.socket | None) -> Iterator[memoryview]:
        """``data`` in the parts that may be sent one after another; waits before each.

        Raises:
            StoppedError: the run ended first.
        """
        self._sock = sock
        while data:
            part = data if self.upload is None else data[: self._allowed(self.upload, len(data))]
            yield part
            self.sent += len(part)
            data = data[len(part) :]

    def watch(self, sock: socket.socket) -> None:
        """Until the answer begins: until all is acknowledged, lets the pacer see how far it is.

        Raises:
            StoppedError: the run was stopped, and no answer came in ``STOP_SECONDS``.
            TimeoutError: none came in the connection's own time.
        """
        allowed = sock.gettimeout()
        if self.received or not allowed:
            return
        upload = self.upload
        ends = time.monotonic() + allowed
        while (left := ends - time.monotonic()) > 0:
            if upload is not None:
                upload.look()
                upload = upload if self._unacknowledged() else None
            if wait_for_read(sock, min(left, _LOOK_SECONDS)):
                return
            self._give_up_if_stopped()
        raise TimeoutError("timed out")

    def _give_up_if_stopped(self) -> None:
        if not self._stopping.event.is_set():
            return
        self._stop_by = min(self._stop_by, time.monotonic() + self._stopping.seconds)
        if time.monotonic() >= self._stop_by:
            self.stopped = StoppedError("the run was stopped before the answer came")
            raise self.stopped

    def answer_begins(self) -> None:
        if self.upload is not None:
            self.upload.answered()

    def end(self) -> None:
        """To be called once, when nothing more will be sent or received."""
        if self.upload is not None:
            self.upload.end(self.measured().sent)

    def _unacknowledged(self) -> int | None:
        return None if self._sock is None else unacknowledged(self._sock)

    def _allowed(self, upload: Upload, left: int) -> int:
        if not self.allowance:
            try:
                self.allowance = upload.turn(left)
            except StoppedError as error:
                # botocore would wrap it as a failure of the connection
                self.stopped = error
                raise
        allowed = min(self.allowance, left)
        self.allowance -= allowed
        return allowed

    def connected(self) -> None:
        """A new connection was opened for this attempt: all of it counts."""
        self._before = (0, 0)

    def begin(self, sock: socket.socket | None) -> None:
        """A request starts on a connection that may have carried others."""
        if self._before is None:
            self._before = (0, 0) if sock is None else tcp_counters(sock)

    def snapshot(self, sock: socket.socket | None) -> None:
        if sock is not None and self._before is not None:
            self._last = tcp_counters(sock) or self._last

    def measured(self) -> WireBytes:
        """The best figures there are for what has passed."""
        tcp = self._tcp()
        if tcp is not None:
            return tcp
        if self.sent or self.received or (self._counting and not self.answered):
            return WireBytes(self.sent, self.received, "socket")
        received = response_size(self.headers, self.body or b"") if self.answered else 0
        return WireBytes(self.computed_sent, received, "computed")

    @property
    def answered(self) -> bool:
        """Whether an answer came, of whatever form."""
        return self.body is not None

    def _tcp(self) -> WireBytes | None:
        if self._before is None or self._last is None:
            return None
        sent = self._last[0] - self._before[0]
        received = self._last[1] - self._before[1]
        # a kernel that does not count leaves zeros; a connection cut short may not have sent all
        if sent < self.sent or received < self.received:
            return None
        return WireBytes(sent, received, "tcp_info")


class Wire:
    """Watches every attempt of one client: paces it, counts it, keeps its answer's text."""

    def __init__(self, pacer: Pacer, stopping: Stopping | None = None) -> None:
        self._pacer = pacer
        self._stopping = stopping
        self._body_pacer = pacer if isinstance(pacer, BodyPacer) else None
        self._local = threading.local()
        self._counting = False

    def attach(self, client: Any) -> None:  # noqa: ANN401 - boto3 makes client classes at run time
        """Watch ``client`` from now on; where botocore's inside has changed, sizes are computed.

        Several clients may be watched, of several services.
        """
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"before-send.{service}", self._before_send)
        client.meta.events.register(f"before-parse.{service}", self._before_parse)
        try:
            pools = counting_pools(self.current)
            session = client._endpoint.http_session  # no public seam
            session._manager.pool_classes_by_scheme = pools
            # every proxy manager made later takes its classes from here
            session._pool_classes_by_scheme = pools
            self._counting = True
        except (AttributeError, TypeError):
            logger.warning("botocore cannot be watched at the socket: byte counts are computed")

    def current(self) -> Exchange | None:
        """The attempt this thread is making."""
        return getattr(self._local, "exchange", None)

    @contextmanager
    def exchange(self, *, paced: bool = True) -> Iterator[Exchange]:
        """Counts what this thread sends and receives inside the block; what is not ``paced`` does
        not wait for the uplink, and is not given up when the run is stopped."""
        stopping = self._stopping if paced else None
        exchange = Exchange(counting=self._counting, stopping=stopping)
        exchange.granted = not paced
        self._local.exchange = exchange
        try:
            yield exchange
        except Exception:
            if exchange.stopped is not None:
                raise exchange.stopped from None
            raise
        finally:
            self._local.exchange = None
            exchange.end()

    def _before_send(self, request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own type
        exchange = self.current()
        if exchange is None:
            return
        size = request_size(request)
        if not exchange.granted:
            if self._counting and self._body_pacer is not None:
                exchange.begin_upload(self._body_pacer, size)
            else:
                exchange.hold_back(self._pacer, size)
            if exchange.pacer_wait > SIGNATURE_SECONDS:
                raise SignatureTooOld
        exchange.computed_sent = size

    def _before_parse(self, response_dict: dict[str, Any], **_: object) -> None:
        exchange = self.current()
        body = response_dict.get("body")
        if exchange is None or not isinstance(body, bytes):
            return
        headers = response_dict.get("headers", {})
        exchange.headers, exchange.body = headers, body
        declared = str(headers.get("content-length", ""))
        if declared.isdigit() and len(body) < int(declared):
            raise ConnectionFailedError(
                f"the connection broke after {len(body)} of {declared} bytes of AWS's answer: "
                "check this site's network"
            )


def request_size(request: Any) -> int:  # noqa: ANN401 - botocore's AWSPreparedRequest
    """Bytes of a signed request as HTTP/1.1 writes it, with TLS records where it is encrypted."""
    url = urlsplit(request.url)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # http.client adds these two, and the blank line after the headers
    head = f"{request.method} {target} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    size = len(head.encode()) + len("Accept-Encoding: identity\r\n\r\n")
    size += sum(_header_size(name, value) for name, value in request.headers.items())
    size += len(request.body or b"")
    if url.scheme == "https":
        # head and body are written one after the other, so that they share no record
        size += (size // _TLS_RECORD_BYTES + 2) * _TLS_OVERHEAD_BYTES
    return size


def response_size(headers: Mapping[str, str], body: bytes) -> int:
    """Bytes of an answer as HTTP/1.1 writes it, its status text taken as "OK"."""
    return (
        len("HTTP/1.1 200 OK\r\n\r\n")
        + sum(_header_size(name, value) for name, value in headers.items())
        + len(body)
    )


def _header_size(name: str | bytes, value: str | bytes) -> int:
    return len(name) + len(value) + 4  # colon, space, carriage return, line feed


def tcp_counters(sock: socket.socket) -> tuple[int, int] | None:
    """Bytes sent and received on a connection by the kernel's count; None where it keeps none."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < _COUNTERS.size:
        return None
    received, sent, again = _COUNTERS.unpack_from(info)
    return sent - again, received


def unacknowledged(sock: socket.socket) -> int | None:
    """Bytes handed to the kernel that the other end has not acknowledged; None where it does not
    say."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < _IN_FLIGHT.size:
        return None
    acknowledged, not_sent, sent, again = _IN_FLIGHT.unpack_from(info)
    # the opening of the connection counts as an acknowledged byte
    return max(0, int(not_sent + sent - again - acknowledged))


def give_up_stalled(sock: socket.socket) -> None:
    """Ends the connection's waits after ``STALL_SECONDS`` without an acknowledgment."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, int(STALL_SECONDS * 1000))


Reporter = Callable[[], Exchange | None]


def counting_pools(current: Reporter) -> dict[str, type]:
    """botocore's connection pools with connections that report to ``current()``.

    Raises:
        AttributeError: botocore's classes are not where they were.
    """

    return {
        "http": _counting(awsrequest.AWSHTTPConnection, awsrequest.AWSHTTPConnectionPool, current),
        "https": _counting(
            awsrequest.AWSHTTPSConnection, awsrequest.AWSHTTPSConnectionPool, current
        ),
    }


def _counting(connection: type, pool: type, current: Reporter) -> type:
    members = {
        "current": staticmethod(current),
        "response_class": staticmethod(partial(_CountingResponse, current)),
    }
    counting = type(f"Counting{connection.__name__}", (_Counting, connection), members)
    return type(f"Counting{pool.__name__}", (pool,), {"ConnectionCls": counting})


class _Counting:
    """Stands before one of botocore's connection classes and counts what it sends."""

    current: Reporter
    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection class behind this one
        exchange = self.current()
        if exchange is not None:
            exchange.connected()
        if self.sock is not None:
            give_up_stalled(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed through
        exchange = self.current()
        if exchange is not None:
            exchange.begin(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]  # as above
        if exchange is not None:
            exchange.complete = True

    def send(self, data: Any) -> None:  # noqa: ANN401 - passed through
        exchange = self.current()
        if exchange is None or not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)  # type: ignore[misc]  # as above
            return
        if self.sock is None:
            # http.client opens it on the first bytes; a slice shall not wait for that
            self.connect()
        try:
            for part in exchange.slices(memoryview(data), self.sock):
                super().send(part)  # type: ignore[misc]  # as above
        except OSError:
            exchange.snapshot(self.sock)
            raise


class _CountingResponse(HTTPResponse):
    """An answer whose bytes are counted as they are read from the connection."""

    def __init__(
        self,
        current: Reporter,
        sock: socket.socket,
        *args: Any,  # noqa: ANN401 - passed through
        **kwargs: Any,  # noqa: ANN401 - passed through
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        exchange = current()
        if exchange is not None and isinstance(self.fp, io.BufferedReader):
            self.fp = io.BufferedReader(_CountingReader(self.fp.detach(), exchange, sock))


class _CountingReader(io.RawIOBase):
    """What a connection reads, counted."""

    def __init__(self, raw: Any, exchange: Exchange, sock: socket.socket) -> None:  # noqa: ANN401
        self._raw = raw
        self._exchange = exchange
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        self._exchange.watch(self._sock)
        try:
            count: int | None = self._raw.readinto(buffer)
        finally:
            self._exchange.snapshot(self._sock)
        if count:
            self._exchange.answer_begins()
            self._exchange.received += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
