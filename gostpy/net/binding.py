"""Listening points that are asked for at run time: what ``Router.bind`` gives without a chain.

``bind_here`` listens on this machine. The parts are shared with bindings at a remote node:
``Arrivals`` is the queue behind ``accept``, ``PacketBinding`` makes one packet conn per peer out
of one that carries the datagrams of many.
"""

from __future__ import annotations

import _socket
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from gostpy.errors import ConnectionClosed, Unsupported
from gostpy.interfaces import Binding, Request
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.listen import BATCH, Acceptor, listen_tcp, listen_unix
from gostpy.net.packet import PacketConn, listen_udp
from gostpy.net.sessions import Session, SessionLimits, Sessions
from gostpy.net.sockopt import DEFAULT, SocketOptions

__all__ = [
    "BACKLOG",
    "BUFFER",
    "QUEUE",
    "TTL",
    "Arrivals",
    "PacketBinding",
    "StreamBinding",
    "bind_here",
    "session_limits",
    "socket_address",
]

BACKLOG = 128
QUEUE = 1024
BUFFER = 8192
TTL = 5.0


def bind_here(
    request: Request,
    sockets: SocketOptions = DEFAULT,
    *,
    mux: bool = False,
    backlog: int = BACKLOG,
    queue: int = QUEUE,
    buffer: int = BUFFER,
    ttl: float = TTL,
) -> Binding:
    """Listen on ``request.address``; a port that is in use is an error.

    Args:
        mux: of no meaning here; a binding at a remote node is asked for many conns at once by it.
        backlog: conns that wait for ``accept``; further peers wait in the kernel (tcp) or are
            dropped (udp).
        queue: datagrams that wait in one udp session; further ones are dropped.
        buffer: size of a datagram, for the bound of a session's queue.
        ttl: seconds; a udp session that was idle for a whole period of this length ends.

    Raises OSError; Unsupported: the network is none of tcp, udp and unix.
    """
    network = request.network
    if network.startswith("tcp"):
        return StreamBinding(request.address, sockets, backlog)
    if network == "unix":
        return StreamBinding(request.address, sockets, backlog, listen_unix)
    if network.startswith("udp"):
        packets = listen_udp(request.address, sockets)
        limits = session_limits(backlog, queue, buffer, ttl)
        return PacketBinding(packets, packets.info.local, limits)
    raise Unsupported(f"cannot listen on network {network!r}")


def session_limits(backlog: int, queue: int, buffer: int, ttl: float) -> SessionLimits:
    """Limits of sessions that live until they are idle; values that make no sense are replaced."""
    return SessionLimits(
        backlog=backlog if backlog > 0 else BACKLOG,
        queue_size=queue if queue > 0 else QUEUE,
        buffer_size=buffer if buffer > 0 else BUFFER,
        ttl=ttl if ttl > 0 else TTL,
    )


def socket_address(address: str) -> tuple[str, int]:
    """``host:port`` as a socket address, for ``ConnInfo``; the port is a number by protocol."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port or 0)


class Arrivals:
    """What waits for ``accept``; bounded."""

    __slots__ = ("_closed", "_items", "_limit", "_ready")

    def __init__(self, limit: int) -> None:
        self._items: deque[Any] = deque()
        self._limit = max(limit, 1)
        self._ready = Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> bool:
        """False: full or closed; the caller keeps the item. On the hub or in a green thread."""
        if self._closed or len(self._items) >= self._limit:
            return False
        self._items.append(item)
        self._ready.set()
        return True

    def get(self) -> Any:
        """Wait for an item. Raises ConnectionClosed: closed, and nothing is left."""
        while not self._items:
            if self._closed:
                raise ConnectionClosed("the binding is closed")
            self._ready.clear()
            self._ready.wait()
        return self._items.popleft()

    def close(self) -> list[Any]:
        """No more will come; what was not taken."""
        self._closed = True
        left = list(self._items)
        self._items.clear()
        self._ready.set()
        return left


class StreamBinding:
    """A TCP or Unix listening socket on this machine."""

    def __init__(
        self,
        address: str,
        sockets: SocketOptions,
        backlog: int = BACKLOG,
        listen: Callable[..., Acceptor] = listen_tcp,
    ) -> None:
        self._backlog = max(backlog, 1)
        # an acceptor that is stopped still hands over the rest of its batch
        self._arrivals = Arrivals(self._backlog + BATCH)
        self._acceptor = listen(address, self._accepted, sockets)
        self.address = self._acceptor.address
        self._acceptor.start()

    def _accepted(self, sock: _socket.socket, peer: Any) -> None:
        conn = Conn(SocketEndpoint(sock), ConnInfo(peer=peer, local=sock.getsockname()))
        if not self._arrivals.put(conn):
            conn.close(True)
        if len(self._arrivals) >= self._backlog:
            self._acceptor.stop()

    def accept(self) -> Conn:
        conn: Conn = self._arrivals.get()
        self._acceptor.start()
        return conn

    def close(self) -> None:
        self._acceptor.close()
        for conn in self._arrivals.close():
            conn.close(True)


class PacketBinding:
    """One packet conn per peer, out of ``packets``, which it owns.

    Args:
        address: where it listens, as a socket address.
        limits: see ``gostpy.net.sessions``.
    """

    def __init__(self, packets: PacketConn, address: Any, limits: SessionLimits) -> None:
        packets.info.local = address
        self.address = address
        self._arrivals = Arrivals(limits.backlog)
        self._sessions = Sessions(packets, self._accepted, limits, self._ended)
        self._sessions.start()

    def _accepted(self, session: Session) -> None:
        if not self._arrivals.put(session):
            session.close()

    def _ended(self, error: BaseException | None) -> None:
        for session in self._arrivals.close():
            session.close()

    def accept(self) -> PacketConn:
        session: PacketConn = self._arrivals.get()
        return session

    def close(self) -> None:
        self._sessions.close()
