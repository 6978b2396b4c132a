"""Listening points that are asked for at run time: what ``Router.bind`` gives without a chain.

``bind_here`` listens on this machine. The parts are shared with bindings at a remote node:
``Arrivals`` is the queue behind ``accept``, ``PacketSessions`` makes one packet conn per peer out
of one that carries the datagrams of many.
"""

from __future__ import annotations

import _socket
from collections import deque
from typing import Any

from gevent import get_hub, getcurrent, spawn_raw
from gevent.event import Event

from gostpy.errors import ConnectionClosed, GostError, Unsupported
from gostpy.interfaces import Binding, Request
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.listen import Acceptor, listen_tcp
from gostpy.net.packet import PacketConn, listen_udp
from gostpy.net.sockopt import DEFAULT, SocketOptions
from gostpy.net.timers import timeout

__all__ = ["Arrivals", "PacketSessions", "StreamBinding", "bind_here", "socket_address"]

BACKLOG = 128
QUEUE = 1024
TTL = 5.0
_MOST_SESSIONS = 16384


def bind_here(
    request: Request,
    sockets: SocketOptions = DEFAULT,
    *,
    mux: bool = False,
    backlog: int = BACKLOG,
    queue: int = QUEUE,
    buffer: int = 0,
    ttl: float = TTL,
) -> Binding:
    """Listen on ``request.address``; a port that is in use is an error.

    Args:
        mux: of no meaning here; a binding at a remote node is asked for many conns at once by it.
        backlog: conns that wait for ``accept``; further peers wait in the kernel (tcp) or are
            dropped (udp).
        queue: datagrams that wait in one udp session; further ones are dropped.
        buffer: bytes of a datagram that are kept, 0 = all.
        ttl: seconds; a udp session that was idle for a whole period of this length ends.

    Raises OSError; Unsupported: the network is neither tcp nor udp.
    """
    network = request.network
    if network.startswith("tcp"):
        return StreamBinding(request.address, sockets, backlog)
    if network.startswith("udp"):
        packets = listen_udp(request.address, sockets)
        return PacketSessions(
            packets, packets.info.local, backlog=backlog, queue=queue, buffer=buffer, ttl=ttl
        )
    raise Unsupported(f"cannot listen on network {network!r}")


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

    @property
    def full(self) -> bool:
        return len(self._items) >= self._limit

    def put(self, item: Any) -> bool:
        """False: full or closed; the caller keeps the item. On the hub or in a green thread."""
        if self._closed or self.full:
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
    """A TCP listening socket on this machine."""

    def __init__(self, address: str, sockets: SocketOptions, backlog: int = BACKLOG) -> None:
        self._arrivals = Arrivals(backlog)
        self._acceptor: Acceptor = listen_tcp(address, self._accepted, sockets)
        self.address = self._acceptor.address
        self._acceptor.start()

    def _accepted(self, sock: _socket.socket, peer: Any) -> None:
        conn = Conn(SocketEndpoint(sock), ConnInfo(peer=peer, local=sock.getsockname()))
        if not self._arrivals.put(conn):
            conn.close(True)
        if self._arrivals.full:
            self._acceptor.stop()

    def accept(self) -> Conn:
        conn: Conn = self._arrivals.get()
        self._acceptor.start()
        return conn

    def close(self) -> None:
        self._acceptor.close()
        for conn in self._arrivals.close():
            conn.close(True)


class PacketSessions:
    """One packet conn per peer, out of ``packets``, which it owns.

    Args:
        address: where it listens, as a socket address.
        keepalive: sessions live until they are idle; otherwise each ends with its first reply.
    """

    def __init__(
        self,
        packets: PacketConn,
        address: Any,
        *,
        backlog: int = BACKLOG,
        queue: int = QUEUE,
        buffer: int = 0,
        ttl: float = TTL,
        keepalive: bool = True,
    ) -> None:
        self.address = address
        self.packets = packets
        self.keepalive = keepalive
        self._arrivals = Arrivals(backlog)
        self._sessions: dict[str, _PeerSession] = {}
        self._queue = max(queue, 1)
        self._buffer = buffer or None
        self._ttl = ttl if ttl > 0 else TTL
        self._closed = False
        self._sweeper = timers.after(self._ttl, self._sweep)
        spawn_raw(self._read)

    def accept(self) -> PacketConn:
        session: PacketConn = self._arrivals.get()
        return session

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._sweeper.cancel()
        self._arrivals.close()
        for session in list(self._sessions.values()):
            session.close()
        self.packets.close()

    def forget(self, session: _PeerSession) -> None:
        """The session is closed."""
        if self._sessions.get(session.peer) is session:
            del self._sessions[session.peer]

    def _read(self) -> None:
        """Sort datagrams into sessions, until the packet conn ends."""
        try:
            while True:
                data, peer = self.packets.recv_from()
                session = self._sessions.get(peer) or self._born(peer)
                if session is not None:
                    session.put(data[: self._buffer], self._queue)
        except (GostError, OSError):
            self.close()  # accept reports that the binding is gone

    def _born(self, peer: str) -> _PeerSession | None:
        """A new session, or None when no more fit."""
        if len(self._sessions) >= _MOST_SESSIONS:
            return None
        session = _PeerSession(self, peer)
        if not self._arrivals.put(session):
            return None
        self._sessions[peer] = session
        return session

    def _sweep(self) -> None:
        for session in list(self._sessions.values()):
            if session.idle:
                session.close()
            session.idle = True
        if not self._closed:
            self._sweeper = timers.after(self._ttl, self._sweep)


class _PeerSession(PacketConn):
    """The datagrams of one peer."""

    def __init__(self, owner: PacketSessions, peer: str) -> None:
        super().__init__(ConnInfo(peer=socket_address(peer), local=owner.address))
        self.peer = peer
        self.idle = False
        self._owner = owner
        self._datagrams: deque[bytes] = deque()
        self._reader: Any = None

    def put(self, data: bytes, limit: int) -> None:
        self.idle = False
        if len(self._datagrams) < limit:
            self._datagrams.append(data)
            self._wake()

    def recv_from(self) -> tuple[bytes, str]:
        while not self._datagrams:
            if self.closed:
                raise ConnectionClosed("the session is closed")
            with timeout(self.timeout or 0.0, "no datagram in time"):
                self._reader = getcurrent()
                try:
                    get_hub().switch()
                finally:
                    self._reader = None
        return self._datagrams.popleft(), self.peer

    def send_to(self, data: bytes, address: str = "") -> None:
        if self.closed:
            raise ConnectionClosed("the session is closed")
        self.idle = False
        self._owner.packets.send_to(data, self.peer)
        if not self._owner.keepalive:
            self.close()

    def _wake(self) -> None:
        if self._reader is not None:
            get_hub().loop.run_callback(self._switch)

    def _switch(self) -> None:
        reader = self._reader
        if reader is not None:
            reader.switch()

    def _close(self) -> None:
        self._owner.forget(self)
        self._wake()
