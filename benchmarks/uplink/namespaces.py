"""A link between two network namespaces, shaped by ``tc tbf``: real packets, real acknowledgments,
counted by the interface itself. Needs root, ``ip`` and ``tc``; cleans up whatever happens. Where
the kernel has ``netem`` the way back takes 20 ms."""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rig import Link, Server, Service

from rekadapter.testing.link_relay import Arrival

SERVICE_ADDRESS, CLIENT_ADDRESS = "198.18.77.1", "198.18.77.2"
"""Of the block for benchmarks of network devices (RFC 2544); nobody outside the namespaces sees
them."""

QUEUE_BYTES = 131_072
_BURST_BYTES = 3_100
_WIDE = 125_000_000.0
_DELAY = ("delay", "20ms")
_TOOL_SECONDS = 10
_NEW_NETWORK = 0x40000000
_PREFIX = "rekbench"
_TC_EVERY_SECONDS = 0.1


class NotPossibleError(Exception):
    """This machine does not allow it; the message says why."""


def run(*command: str) -> str:
    """What a tool prints.

    Raises:
        NotPossibleError: it is not there, takes too long, or refuses.
    """
    if shutil.which(command[0]) is None:
        raise NotPossibleError(f"there is no '{command[0]}' on this machine")
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this file's own
            command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise NotPossibleError(f"'{' '.join(command)}': {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise NotPossibleError(f"'{' '.join(command)}' did not end") from error
    return done.stdout


@dataclass
class ShapedLink:
    """The client's side of the link. Rates are those of ``tbf``, which counts whole packets, with
    the headers of TCP, IP and Ethernet."""

    client: str
    service: str
    url: str
    _arrivals: list[Arrival] = field(default_factory=list)
    _counted: int | None = None
    _queued: int = 0
    _asked_at: float = -math.inf

    def set_rate(self, bytes_per_second: float) -> None:
        rate = min(bytes_per_second, _WIDE)
        burst = max(_BURST_BYTES, int(rate / 250))
        shape = ("rate", f"{rate * 8:.0f}bit", "burst", str(burst), "limit", str(QUEUE_BYTES))
        run("tc", "-n", self.client, "qdisc", "replace", "dev", "near", "root", "tbf", *shape)

    def cut(self) -> None:
        run("ip", "-n", self.service, "link", "set", "far", "down")

    def mend(self) -> None:
        run("ip", "-n", self.service, "link", "set", "far", "up")

    def look(self) -> None:
        now, counted = time.monotonic(), self._interface_bytes()
        if self._counted is not None and counted > self._counted:
            self._arrivals.append(Arrival(now, counted - self._counted))
        self._counted = counted

    def arrivals(self) -> Sequence[Arrival]:
        return self._arrivals

    def queued_bytes(self) -> int:
        if time.monotonic() - self._asked_at >= _TC_EVERY_SECONDS:
            told = run("tc", "-n", self.client, "-s", "-j", "qdisc", "show", "dev", "near")
            self._queued = int(json.loads(told)[0]["backlog"])
            self._asked_at = time.monotonic()
        return self._queued

    def _interface_bytes(self) -> int:
        # of the thread that asks, which stands in the client's namespace
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, counts = line.partition(":")
            if name.strip() == "near":
                return int(counts.split()[8])
        raise NotPossibleError("the client's interface is gone")


@contextmanager
def shaped_link(rate: float) -> Iterator[Link]:
    """A link of ``rate`` bytes a second. The calling thread, and every thread that it starts,
    stands in the client's namespace meanwhile; the service's sockets are in the other.

    Raises:
        NotPossibleError: the machine does not allow it.
    """
    if os.geteuid() != 0:
        raise NotPossibleError("making network namespaces needs root")
    _remove_left_over()
    client, service = (f"{_PREFIX}-{os.getpid()}-{end}" for end in ("client", "service"))
    with ExitStack() as undo:
        for name in (client, service):
            undo.callback(_remove, name)  # before: the end may come at any moment
            run("ip", "netns", "add", name)
        _connect(client, service)
        link = ShapedLink(client, service, "")
        link.set_rate(rate)
        with _standing_in(service):
            server = Server((SERVICE_ADDRESS, 0), Service)
        host, port = undo.enter_context(server.serving())
        link.url = f"http://{host}:{port}"
        undo.enter_context(_standing_in(client))
        yield link


def _connect(client: str, service: str) -> None:
    run("ip", "-n", client, "link", "add", "near", "type", "veth", "peer", "name", "far")
    run("ip", "-n", client, "link", "set", "far", "netns", service)
    ends = ((client, "near", CLIENT_ADDRESS), (service, "far", SERVICE_ADDRESS))
    for namespace, device, address in ends:
        # packets as on a wire, not the kernel's bundles of 64 kB
        run("ip", "-n", namespace, "link", "set", device, "gso_max_segs", "1")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", device)
        run("ip", "-n", namespace, "link", "set", device, "up")
    with suppress(NotPossibleError):  # not every kernel has netem
        run("tc", "-n", service, "qdisc", "replace", "dev", "far", "root", "netem", *_DELAY)


@contextmanager
def _standing_in(namespace: str) -> Iterator[None]:
    """The calling thread's network is the namespace's; a socket stays where it was made."""
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        with Path("/run/netns", namespace).open("rb") as there:
            _stand(there.fileno())
        try:
            yield
        finally:
            _stand(home.fileno())


def _stand(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
    if libc.setns(descriptor, _NEW_NETWORK) != 0:
        raise NotPossibleError(f"setns: {os.strerror(ctypes.get_errno())}")


def _remove(namespace: str) -> None:
    with suppress(NotPossibleError):
        run("ip", "netns", "del", namespace)


def _remove_left_over() -> None:
    """What a run that was killed has left behind."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        prefix, _, rest = name.partition("-")
        number = rest.partition("-")[0]
        if prefix == _PREFIX and number.isdigit() and not Path("/proc", number).exists():
            _remove(name)
