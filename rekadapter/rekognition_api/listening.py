"""The socket a server listens on, and how many connections it holds at once.

A connection costs a file descriptor for as long as the client likes, and a process that has none
left cannot answer, nor open its own files. So there is a bound: whoever comes beyond it displaces
the connection that has been there longest without a request under way.
"""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from rekadapter.errors import ConfigError

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 512
ACCEPTED_AT_ONCE: Final = 64
"""The backlog. asyncio accepts so many in a row before it sees that others were displaced."""
_Peer = tuple[str, int]


class BoundedListener(socket.socket):
    """A bound socket whose ``accept`` keeps at most ``most`` connections open.

    One that is displaced is shut down, which its reader sees as the client's leaving. Where every
    connection has a request under way, the new one is closed at once.

    Raises:
        ConfigError: the address cannot be served on.
    """

    def __init__(self, host: str, port: int, *, most: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named: without it every
        # answer waits 40 ms for the client's delayed acknowledgement.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._most = most or _affordable()
        self._open: dict[_Peer, socket.socket] = {}
        self._working: set[_Peer] = set()
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.bind((host, port))
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{host}:{port} cannot be served on ({error.strerror}): choose another port or host"
            ) from error

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().accept()
        peer = (str(address[0]), int(address[1]))
        self._open.pop(peer, None)  # a port used again: the newest stands last
        self._open[peer] = connection
        if len(self._open) > self._most:
            self._make_room(peer)
        return connection, address

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The app, with a note of whose requests it works on."""

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            client = scope.get("client")
            if scope["type"] != "http" or client is None:
                await app(scope, receive, send)
                return
            peer = (client[0], client[1])
            self._working.add(peer)
            try:
                await app(scope, receive, send)
            finally:
                self._working.discard(peer)

        return noting

    def _make_room(self, newest: _Peer) -> None:
        self._open = {peer: one for peer, one in self._open.items() if one.fileno() != -1}
        if len(self._open) <= self._most:
            return
        oldest = next((peer for peer in self._open if peer not in self._working), newest)
        logger.debug("%s connections are open: one is displaced", len(self._open))
        with suppress(OSError):  # it left by itself
            self._open.pop(oldest).shutdown(socket.SHUT_RDWR)


def _affordable() -> int:
    """``MAX_CONNECTIONS``, or half of the files that the process may have open."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft < 0 else max(1, min(MAX_CONNECTIONS, soft // 2))
