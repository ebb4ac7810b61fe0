"""The relay is the link it says it is: nothing lost or invented, faults as asked for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from rekadapter.testing.link_relay import GARBAGE, THROTTLED, Fault, LinkRelay

TIMEOUT = 10.0


class Echo:
    """Sends back what it is sent, one connection at a time in its own thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept)
        self._serving: list[threading.Thread] = []
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._thread, *self._serving]:
            thread.join(TIMEOUT)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._serving.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def relay() -> Iterator[LinkRelay]:
    echo = Echo()
    with LinkRelay(echo.address) as relay:
        yield relay
    echo.close()


def connected(relay: LinkRelay) -> socket.socket:
    return socket.create_connection(relay.address, timeout=TIMEOUT)


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := connection.recv(size - len(data))):
        data += part
    return data


def echoed(relay: LinkRelay, data: bytes) -> bytes:
    with connected(relay) as connection:
        connection.sendall(data)
        return received(connection, len(data))


def test_what_is_sent_arrives_unchanged_and_is_counted(relay: LinkRelay) -> None:
    data = bytes(range(256)) * 200
    assert echoed(relay, data) == data
    assert sum(one.size for one in relay.arrivals()) == len(data)
    assert relay.connections == 1


def test_a_narrow_link_delays_and_loses_nothing(relay: LinkRelay) -> None:
    relay.set_rate(200_000.0)
    data = bytes(100_000)
    assert echoed(relay, data) == data
    arrivals = relay.arrivals()
    # what the queue holds is read at once, the rest at the link's rate
    assert arrivals[-1].at - arrivals[0].at >= (100_000 - 65_536 - 32_768) / 200_000


def test_who_sends_all_the_time_does_not_shut_out_the_others(relay: LinkRelay) -> None:
    relay.set_rate(400_000.0)
    over = threading.Event()
    with connected(relay) as modest, connected(relay) as greedy:

        def send() -> None:
            while not over.is_set():
                greedy.sendall(bytes(4_096))

        def receive() -> None:
            while greedy.recv(65_536):
                pass

        crew = [threading.Thread(target=send), threading.Thread(target=receive)]
        for thread in crew:
            thread.start()
        try:
            until = time.monotonic() + TIMEOUT
            while relay.queued_bytes < 60_000 and time.monotonic() < until:
                time.sleep(0.01)
            modest.sendall(bytes(30_000))
            assert received(modest, 30_000) == bytes(30_000)
        finally:
            over.set()
            crew[0].join(TIMEOUT)
            greedy.shutdown(socket.SHUT_WR)
            crew[1].join(TIMEOUT)


def test_it_tells_what_stands_in_its_queue(relay: LinkRelay) -> None:
    relay.set_rate(1.0)
    with connected(relay) as connection:
        connection.sendall(bytes(20_000))
        until = time.monotonic() + TIMEOUT
        # a burst of two packets passes at once
        while relay.queued_bytes < 17_000 and time.monotonic() < until:
            time.sleep(0.01)
        assert 17_000 <= relay.queued_bytes <= 20_000
        relay.set_rate(1e6)
        received(connection, 20_000)
        assert relay.queued_bytes == 0


def test_a_stall_holds_everything_until_it_ends(relay: LinkRelay) -> None:
    relay.set_fault(Fault.STALL)
    with connected(relay) as connection:
        connection.sendall(b"held")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(TIMEOUT)
        relay.set_fault(Fault.NONE)
        assert received(connection, 4) == b"held"


@pytest.mark.parametrize(
    ("fault", "answer"), [(Fault.GARBAGE, GARBAGE), (Fault.THROTTLE, THROTTLED)]
)
def test_answers_are_replaced(relay: LinkRelay, fault: Fault, answer: bytes) -> None:
    relay.set_fault(fault)
    with connected(relay) as connection:
        connection.sendall(b"question")
        assert received(connection, len(answer) + 1) == answer


def test_a_dropped_connection_ends_and_a_reset_one_is_reset(relay: LinkRelay) -> None:
    relay.set_fault(Fault.DROP)
    with connected(relay) as connection:
        connection.sendall(b"gone")
        assert connection.recv(1) == b""
    relay.set_fault(Fault.RESET)
    with connected(relay) as connection:
        connection.sendall(b"gone")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    relay.set_fault(Fault.NONE)
    assert echoed(relay, b"back") == b"back"


def test_a_target_that_is_not_there_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()[:2]
    with LinkRelay(address) as relay, connected(relay) as connection:
        assert connection.recv(1) == b""
