"""A narrow, slow or broken link on one machine: a TCP relay that needs no rights.

Clients connect to ``address`` and reach ``target`` through it. What they send goes through one
queue shared by all connections, which empties at ``rate`` bytes a second; both directions take
``delay_seconds``. While the queue is full nothing more is read, so the senders' own buffers fill,
as they do before a real bottleneck. Everything may change while it runs. Only IPv4 loopback.
"""

from __future__ import annotations

import itertools
import math
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

_TICK_SECONDS: Final = 0.005
_READ_BYTES: Final = 16_384
_PACKET_BYTES: Final = 1_460
_BUFFER_BYTES: Final = 4_096
_SEND_SECONDS: Final = 5.0
_HISTORY: Final = 1_000_000

GARBAGE: Final = b"\x16\x03\x01 this is not HTTP \xff\xfe\r\n\r\n" * 4

_THROTTLED_BODY: Final = (
    b'{"__type":"ProvisionedThroughputExceededException",'
    b'"Message":"The relay says: provisioned rate exceeded."}'
)
THROTTLED: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_THROTTLED_BODY)).encode() + b"\r\n\r\n" + _THROTTLED_BODY
)


class Fault(StrEnum):
    """What the link does to those who use it."""

    NONE = "none"
    STALL = "stall"
    """nothing moves in either direction; connections stay open and new ones are accepted"""
    DROP = "drop"
    """connections are closed as soon as something is sent over them"""
    RESET = "reset"
    """connections are reset as soon as something is sent over them"""
    GARBAGE = "garbage"
    """every answer is replaced by bytes that are not HTTP, and its connection closed"""
    THROTTLE = "throttle"
    """every answer is replaced by Rekognition's for too many requests, and its connection closed"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes read from a client, at a time of ``time.monotonic``."""

    at: float
    size: int


@dataclass(eq=False, slots=True)
class _Pair:
    """A client, the target's end of it, and what is on its way between them."""

    client: socket.socket
    target: socket.socket
    queued: int = 0
    client_done: bool = False


@dataclass(slots=True)
class _Parcel:
    pair: _Pair
    data: bytes
    due: float = 0.0
    up: bool = True


@dataclass(slots=True)
class _Queue:
    """Bytes on their way up, at most ``limit`` of them, and the tokens that let them through."""

    limit: int
    parcels: deque[_Parcel] = field(default_factory=deque)
    held: int = 0
    tokens: float = 0.0
    as_of: float = 0.0

    def through(self, rate: float, now: float) -> list[_Parcel]:
        """What the link carries until ``now``, in order; a parcel may pass in parts."""
        burst = max(2.0 * _PACKET_BYTES, rate * 2 * _TICK_SECONDS)
        if math.isinf(rate):
            self.tokens = math.inf
        else:
            self.tokens = min(burst, self.tokens + rate * (now - self.as_of))
        self.as_of = now
        passed = []
        while self.parcels and self.tokens >= min(_PACKET_BYTES, len(self.parcels[0].data)):
            first = self.parcels[0]
            size = len(first.data) if math.isinf(self.tokens) else int(self.tokens)
            passed.append(_Parcel(first.pair, first.data[:size]))
            first.data = first.data[size:]
            sent = len(passed[-1].data)
            self.tokens -= sent
            self.held -= sent
            first.pair.queued -= sent
            if not first.data:
                self.parcels.popleft()
        return passed


class LinkRelay:
    """Runs while entered: ``with LinkRelay(("127.0.0.1", port), rate=62_500) as relay: ...``."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        rate: float = math.inf,
        delay_seconds: float = 0.0,
        queue_bytes: int = 65_536,
    ) -> None:
        """``rate`` in bytes a second; ``delay_seconds`` each way."""
        self._target = target
        self._rate = rate
        self._fault = Fault.NONE
        self._delay = delay_seconds
        self._queue = _Queue(queue_bytes)
        self._on_their_way: deque[_Parcel] = deque()
        self._pairs: set[_Pair] = set()
        self._arrivals: deque[Arrival] = deque(maxlen=_HISTORY)
        self._connections = 0
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket()
        # set before listening, so that accepted connections have them: a small window that is made
        # of packets as on a real path, not of loopback's 64 kB
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _PACKET_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, name="link relay", daemon=True)

    def __enter__(self) -> Self:
        self._listener.listen(64)
        self._listener.settimeout(0.0)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._queue.as_of = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for pair in list(self._pairs):
            self._close(pair)
        self._selector.close()
        self._listener.close()

    # --- what the link is like --------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return str(host), int(port)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def connections(self) -> int:
        """Accepted so far."""
        with self._lock:
            return self._connections

    @property
    def queued_bytes(self) -> int:
        """In the queue now: what somebody else on this link would have to wait for."""
        return self._queue.held

    def set_rate(self, bytes_per_second: float) -> None:
        with self._lock:
            self._rate = bytes_per_second

    def set_fault(self, fault: Fault) -> None:
        with self._lock:
            self._fault = fault

    def arrivals(self) -> tuple[Arrival, ...]:
        """What came from clients so far, in order; of a million readings the last."""
        with self._lock:
            return tuple(self._arrivals)

    def _now_is(self) -> tuple[float, Fault]:
        with self._lock:
            return self._rate, self._fault

    # --- the relay's own thread -------------------------------------------------------------

    def _run(self) -> None:
        while not self._over.is_set():
            rate, fault = self._now_is()
            # the one served first last time goes last, or it would fill the queue alone
            ready = deque(self._selector.select(_TICK_SECONDS))
            ready.rotate(-next(self._turns) % max(1, len(ready)))
            for key, _ in ready:
                if key.fileobj is self._listener:
                    self._accept()
                elif fault is not Fault.STALL:
                    self._read(key.fileobj, key.data, fault)  # type: ignore[arg-type]  # a socket
            now = time.monotonic()
            if fault is Fault.STALL:
                self._queue.as_of = now
            else:
                self._carry(rate, now)
            if fault is Fault.STALL or self._full:
                # what waits to be read keeps the selector awake
                self._over.wait(_TICK_SECONDS)

    @property
    def _full(self) -> bool:
        return self._queue.held >= self._queue.limit

    def _carry(self, rate: float, now: float) -> None:
        for parcel in self._queue.through(rate, now):
            parcel.due = now + self._delay
            self._on_their_way.append(parcel)
        while self._on_their_way and self._on_their_way[0].due <= now:
            self._deliver(self._on_their_way.popleft())

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            target = socket.create_connection(self._target, timeout=_SEND_SECONDS)
        except OSError:
            client.close()
            return
        for one in (client, target):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(_SEND_SECONDS)
        pair = _Pair(client, target)
        self._pairs.add(pair)
        self._selector.register(client, selectors.EVENT_READ, pair)
        self._selector.register(target, selectors.EVENT_READ, pair)
        with self._lock:
            self._connections += 1

    def _read(self, source: socket.socket, pair: _Pair, fault: Fault) -> None:
        if pair not in self._pairs:
            return
        up = source is pair.client
        if up and self._full:
            return
        try:
            data = source.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._end_of(source, pair)
        elif up:
            self._take(pair, data, fault)
        else:
            self._answer(pair, data, fault)

    def _take(self, pair: _Pair, data: bytes, fault: Fault) -> None:
        with self._lock:
            self._arrivals.append(Arrival(time.monotonic(), len(data)))
        if fault in {Fault.DROP, Fault.RESET}:
            self._close(pair, reset=fault is Fault.RESET)
            return
        self._queue.parcels.append(_Parcel(pair, data))
        self._queue.held += len(data)
        pair.queued += len(data)

    def _answer(self, pair: _Pair, data: bytes, fault: Fault) -> None:
        if fault in {Fault.GARBAGE, Fault.THROTTLE}:
            self._deliver(_Parcel(pair, GARBAGE if fault is Fault.GARBAGE else THROTTLED, up=False))
            self._close(pair)
            return
        self._on_their_way.append(_Parcel(pair, data, time.monotonic() + self._delay, up=False))

    def _end_of(self, source: socket.socket, pair: _Pair) -> None:
        """A client that is gone takes its connection with it; a target's last words are brought."""
        if source is pair.client:
            self._close(pair)
            return
        self._selector.unregister(source)
        self._on_their_way.append(_Parcel(pair, b"", time.monotonic() + self._delay, up=False))

    def _deliver(self, parcel: _Parcel) -> None:
        if parcel.pair not in self._pairs:
            return
        if not parcel.data:
            self._close(parcel.pair)
            return
        sink = parcel.pair.target if parcel.up else parcel.pair.client
        try:
            sink.sendall(parcel.data)
        except OSError:
            self._close(parcel.pair)

    def _close(self, pair: _Pair, *, reset: bool = False) -> None:
        self._pairs.discard(pair)
        left = [parcel for parcel in self._queue.parcels if parcel.pair is not pair]
        self._queue.parcels = deque(left)
        self._queue.held -= pair.queued
        pair.queued = 0
        if reset:
            # closing without lingering sends a reset
            pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for one in (pair.client, pair.target):
            if one in self._selector.get_map():
                self._selector.unregister(one)
            one.close()
