"""Sessions: the peers of one datagram socket, each as a packet conn of its own.

Used by the udp listener, and by whoever binds a udp address for a peer (rudp, bind). A session
begins with the first datagram of a peer and ends when nothing came or went for one to two periods
of ``ttl``; without ``keepalive`` it ends with the first datagram that is sent back, as in gost.

Bounds: ``backlog`` sessions that nobody serves yet, and per session ``queue_size`` datagrams that
nobody took yet, or ``queue_size * buffer_size`` bytes; 8 MiB in all sessions together. What comes
above is lost.

Differs   gost cuts datagrams off at ``readBufferSize``; here they arrive whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gevent import get_hub, sleep, spawn_raw

from gostpy.errors import ConnectionClosed
from gostpy.net import lasting, timers
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.net.queued import QueuedPackets
from gostpy.net.udpburst import send_all

__all__ = ["Session", "SessionLimits", "Sessions"]

_MOST_QUEUED = 8 << 20
"""Bytes that may wait in all sessions of a socket together, with ``_OBJECT`` for each datagram."""
_OBJECT = 120


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How sessions live.

    Attributes:
        backlog: sessions that nobody serves yet.
        queue_size: datagrams of one session that nobody took yet.
        buffer_size: with ``queue_size`` the bytes that these may take.
        ttl: seconds; one period of the sweep for unused sessions.
        keepalive: a session goes on after a datagram was sent back.
        stateless: every datagram is a session.
    """

    backlog: int = 128
    queue_size: int = 128
    buffer_size: int = 4096
    ttl: float = 5.0
    keepalive: bool = True
    stateless: bool = False


_DEFAULT = SessionLimits()


class Session(QueuedPackets):
    """One peer of a shared socket.

    Attributes:
        held: who serves it says when it ends; neither a reply nor disuse does.
    """

    __slots__ = (
        "_queued",
        "_sessions",
        "_taken",
        "held",
        "idle",
        "key",
        "on_hub",
        "peer",
    )

    def __init__(self, sessions: Sessions, key: Any, peer: str, info: ConnInfo) -> None:
        super().__init__(info)
        self.key = key
        self.peer = peer
        self.on_hub = sessions.packets.on_hub
        self.held = False
        self.idle = False  # nothing came or went since the last sweep
        self._sessions = sessions
        self._queued = 0
        self._taken = False

    def _put(self, data: bytes, address: str) -> bool:
        sessions, waiting = self._sessions, len(self._queue)
        most, size = sessions.limits.queue_size, sessions.limits.buffer_size
        if waiting >= most or self._queued > most * size or sessions.queued > _MOST_QUEUED:
            return False
        self._queue.append((data, address))
        self._queued += len(data)
        sessions.queued += len(data) + _OBJECT
        return True

    def _next(self) -> tuple[bytes, str]:
        datagram = self._queue.popleft()
        size = len(datagram[0])
        self._queued -= size
        self._sessions.queued -= size + _OBJECT
        return datagram

    # -- in a green thread ---------------------------------------------------------------------

    def recv_from(self) -> tuple[bytes, str]:
        self._take()
        return super().recv_from()

    def send_to(self, data: bytes, address: str = "") -> None:
        if self.on_hub:
            delay = self.send_now(data)
            if delay > 0.0:
                sleep(delay)
            return
        if self.closed:
            raise ConnectionClosed("session is closed")
        self.idle = False
        self._sessions.packets.send_to(data, self.peer)
        if not (self._sessions.limits.keepalive or self.held):
            self._end_soon()

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: PacketSink) -> None:
        self._take()
        super().start(sink)

    def _take(self) -> None:
        """Somebody serves it."""
        if not self._taken:
            self._taken = True
            self._sessions.untaken -= 1

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("session is closed")
        self.idle = False
        delay = 0.0
        if self.meter is not None:
            delay = self._sent(len(data))
            if delay < 0.0:
                return 0.0
        delay = max(self._sessions.packets.send_now(data, self.peer), delay)
        if not (self._sessions.limits.keepalive or self.held):
            self._end_soon()
        return delay

    def send_batch(self, datagrams: Sequence[bytes], address: str = "") -> None:
        """Send several without waiting. Raises OSError."""
        if self.meter is not None or not self.held:
            for datagram in datagrams:
                self.send_now(datagram)
            return
        if self.closed:
            raise ConnectionClosed("session is closed")
        self.idle = False
        send_all(self._sessions.packets, datagrams, self.peer)

    @property
    def congested(self) -> bool:
        return self._sessions.packets.congested

    def begin_anew(self, data: bytes) -> None:
        """The peer has begun anew: this session ends, and the datagram is for the next one, if
        ``first`` agrees."""
        sessions = self._sessions
        if not sessions.welcomes(data, self.peer):
            return
        self.close()
        sessions.datagram(data, self.peer)

    def _end_soon(self) -> None:
        """It was answered: the peer's next datagram begins another session. What else came back in
        the same turn of the loop is still sent."""
        if self._sessions.forget(self):
            get_hub().loop.run_callback(self.close)

    def _close(self) -> None:
        self._take()
        self._sessions.queued -= self._queued + len(self._queue) * _OBJECT
        self._queued = 0
        self._sessions.forget(self)
        super()._close()


class Sessions:
    """All sessions of one packet conn, which belongs to them from now on.

    Args:
        packets: unconnected; its datagrams are taken by callback where it can, else by a green
            thread that ends with it.
        accepted: gets each new session, on the hub or in that thread; must not block. It closes
            what it refuses.
        ended: told when ``packets`` is gone; all sessions have been closed then.
        first: asked about each datagram of an unknown peer: what its session gets of it, nothing
            for no session. It may have answered the peer by itself.
        lasting: sessions that are held outlast ``close``, and the socket with them.

    Attributes:
        left: told the address of each session that has ended.
        queued: bytes that wait in all sessions.
    """

    def __init__(
        self,
        packets: PacketConn,
        accepted: Callable[[Session], None],
        limits: SessionLimits = _DEFAULT,
        ended: Callable[[BaseException | None], None] | None = None,
        first: Callable[[bytes, str], bytes] | None = None,
        lasting: bool = False,
    ) -> None:
        self.packets = packets
        self.address = packets.info.local
        self.limits = limits
        self.untaken = 0
        self.queued = 0
        self._accepted = accepted
        self._ended = ended
        self._first = first
        self.left: Callable[[str], Any] | None = None
        self._lasting = lasting
        self._closing = False
        self._sessions: dict[Any, Session] = {}
        self._count = 0
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._sessions)

    def start(self) -> None:
        """Take datagrams from now on."""
        if self.packets.on_hub:
            self.packets.start(self)
        else:
            spawn_raw(self._run)

    def _run(self) -> None:
        try:
            while True:
                data, peer = self.packets.recv_from()
                self.datagram(data, peer)
        except Exception as error:  # whatever it is, it ends these sessions
            self.packets.close()
            self.ended(error)

    def datagram(self, data: bytes, address: str) -> None:
        try:
            session = self._sessions.get(address)
            if session is None:
                self._meet(data, address)
            else:
                session.idle = False
                session.deliver(data, address)
        except Exception:  # a bug met by one peer must not end the others, and the socket
            get_hub().handle_error(self, *sys.exc_info())
            self.end(address)

    def _meet(self, data: bytes, address: str) -> None:
        """A datagram of an unknown peer."""
        if self._closing:
            return
        if self._first is not None:
            data = self._first(data, address)
            if not data:
                return
        session = self.begin(address)
        if session is not None:
            session.deliver(data, address)

    def welcomes(self, data: bytes, address: str) -> bool:
        """The datagram may begin a session."""
        return not self._closing and (self._first is None or bool(self._first(data, address)))

    def facts(self, address: str) -> ConnInfo:
        """Of a new session."""
        host, _, port = address.rpartition(":")
        return ConnInfo(peer=(host.strip("[]"), int(port)), local=self.address)

    def begin(self, peer: str) -> Session | None:
        """A session for a new peer; None when too many wait or it is refused."""
        limits = self.limits
        if self.untaken >= limits.backlog:
            return None
        self._count += 1
        key = (peer, self._count) if limits.stateless else peer
        session = Session(self, key, peer, self.facts(peer))
        self._sessions[key] = session
        self.untaken += 1
        self._accepted(session)
        if session.closed:
            return None
        if not self._sweeping:
            self._sweeping = True
            timers.after(limits.ttl, self._sweep)
        return session

    def _sweep(self) -> None:
        """End what was not used since the last time."""
        unused = [
            session for session in self._sessions.values() if session.idle and not session.held
        ]
        for session in self._sessions.values():
            session.idle = True
        for session in unused:
            session.close()
        self._sweeping = bool(self._sessions)
        if self._sweeping:
            timers.after(self.limits.ttl, self._sweep)

    def forget(self, session: Session) -> bool:
        """The session gets no more datagrams; whether it got any until now."""
        if self._sessions.get(session.key) is not session:
            return False
        del self._sessions[session.key]
        if self.left is not None:
            self.left(session.peer)
        if self._closing and not self._sessions:
            get_hub().loop.run_callback(self.end_all)  # after what the session still sends
        return True

    def end(self, address: str) -> None:
        """A peer is gone."""
        session = self._sessions.get(address)
        if session is not None:
            session.close()

    def ended(self, error: BaseException | None) -> None:
        """The packet conn is gone, and with it every session."""
        for session in list(self._sessions.values()):
            session.close()
        callback, self._ended = self._ended, None
        if callback is not None:
            callback(error)

    @property
    def port(self) -> int:
        return int(self.address[1])

    def close(self) -> None:
        """Begin no more sessions, and end them all unless they last."""
        if self._closing:
            return
        left = [session for session in self._sessions.values() if session.held and self._lasting]
        if not left:
            self.end_all()
            return
        self._closing = True
        for session in list(self._sessions.values()):
            if not session.held:
                session.close()
        lasting.outlast(self)

    def end_all(self) -> None:
        """Close the socket and every session."""
        lasting.forget(self)
        self.packets.close()
        self.ended(None)
