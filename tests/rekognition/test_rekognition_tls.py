"""Over TLS the bytes counted are those on the wire, handshake included."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekadapter.errors import ConfigError
from rekadapter.recognizer import Recognizer
from tests.rekognition.fake_aws import FakeAws, Reply
from tests.rekognition.fakes import KeptLog, KeptPacer, photo

Opened = Callable[..., Recognizer]
DETECTED = Reply({"FaceDetails": []})


class Relay:
    """Passes bytes between a client and a server and counts both directions."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.received = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(5)
        for one in [self._listener, *self._open]:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for source, sink, up in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self._pass, args=(source, sink, up), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:  # noqa: FBT001 - a thread's argument
        try:
            while data := source.recv(65536):
                if up:
                    self.sent += len(data)
                else:
                    self.received += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key; made for this run only."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("making a certificate needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = subprocess.run(  # noqa: S603 - a command found on the path, with our own arguments
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this openssl command makes no certificate with an address")
    return certificate, key


@pytest.fixture
def aws(certificate: tuple[Path, Path]) -> Iterator[FakeAws]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = FakeAws(context)
    yield server
    server.close()


@pytest.fixture
def relay(aws: FakeAws) -> Iterator[Relay]:
    made = Relay(aws.port)
    yield made
    made.close()


def test_the_kernels_count_includes_tls_and_its_handshake(
    relay: Relay,
    aws: FakeAws,
    certificate: tuple[Path, Path],
    open_on: Opened,
    log: KeptLog,
    pacer: KeptPacer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
    aws.on("DetectFaces", DETECTED)
    cloud = open_on(endpoint_url=f"https://127.0.0.1:{relay.port}")
    cloud.detect(photo())
    first = (log.records[0].bytes_sent, log.records[0].bytes_received)
    relayed = (relay.sent, relay.received)
    cloud.detect(photo(seed=2))
    if log.records[0].wire_measure != "tcp_info":
        pytest.skip("this kernel keeps no count of a connection's bytes")
    assert first == relayed
    assert sum(record.bytes_sent for record in log.records) == relay.sent
    assert sum(record.bytes_received for record in log.records) == relay.received
    # a handshake costs some hundred bytes once; the records of a request are paced for
    assert log.records[0].bytes_sent > pacer.sizes[0] > aws.requests[0].size
    assert aws.requests[1].size < log.records[1].bytes_sent <= pacer.sizes[1]


def test_a_certificate_nobody_vouches_for_is_refused_once_and_says_what_to_set(
    aws: FakeAws, open_on: Opened, log: KeptLog
) -> None:
    cloud = open_on(endpoint_url=aws.url)
    with pytest.raises(ConfigError, match="AWS_CA_BUNDLE"):
        cloud.detect(photo())
    assert log.records[0].attempts == 1
    assert aws.requests == []
