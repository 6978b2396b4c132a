"""Packet conns over a byte stream: each datagram travels as a frame.

The stream is read by callbacks on the hub. At most ``_MOST_WAITING`` datagrams wait to be taken;
then the stream is paused, and TCP slows the sender down as it does in gost. Where the stream is
congested, ``send_to`` waits and ``send_now`` asks its caller to; above ``_MOST_PENDING`` bytes
datagrams are lost.
"""

from __future__ import annotations

import copy
from typing import Protocol

from gevent.event import Event

from gostpy.errors import ConnectionClosed, Truncated
from gostpy.net.conn import Conn
from gostpy.net.packet import PacketSink
from gostpy.net.queued import QueuedPackets
from gostpy.wire.codec import Buffer
from gostpy.wire.udptun import ShortFrames, TunnelFrames, short_frame, tunnel_frame

__all__ = ["FramedConn", "ShortFramedConn", "TunnelConn"]

_MOST_WAITING = 256
_MOST_PENDING = 1 << 20
_CONGESTED = 0.005
"""Seconds for which the source of a congested stream is held at a time."""


class _Frames(Protocol):
    @property
    def partial(self) -> bool: ...
    def receive(self, data: Buffer) -> list[tuple[bytes, str]]: ...


class FramedConn(QueuedPackets):
    """Base: reads frames from ``conn``, which it owns from now on.

    Args:
        conn: past its handshake; bytes that it has read already are frames too.
        frames: takes the stream apart.
    """

    def __init__(self, conn: Conn, frames: _Frames) -> None:
        super().__init__(copy.copy(conn.info))
        self.conn = conn
        self.over: BaseException | None = None
        self._frames = frames
        self._paused = False
        self._drained: Event | None = None
        self._pending = 0
        conn.sink = stream = _Stream(self)
        conn.endpoint.on_drain = self._on_drain
        try:
            stream.data(conn.take_buffer())
            if any(codec.ended for codec in conn.codecs):
                stream.eof()
            else:
                conn.endpoint.start()
        except Exception as error:
            stream.fail(error)

    def _frame(self, data: bytes, address: str) -> bytes:
        raise NotImplementedError

    def _expect(self) -> None:
        super()._expect()
        if self.over is not None:
            raise self.over
        self.conn.flush()

    def _next(self) -> tuple[bytes, str]:
        datagram = super()._next()
        self._make_room()
        return datagram

    # -- in a green thread ---------------------------------------------------------------------

    def send_to(self, data: bytes, address: str = "") -> None:
        if not data:
            return  # an empty frame would make gost read to the end of the stream
        frame = self._frame(data, address)
        while self._drained is not None and not self.closed:
            self._drained.wait()
        self._write(frame)

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: PacketSink) -> None:
        super().start(sink)
        if self.sink is not None and self.over is None:
            self.conn.flush()

    def send_now(self, data: bytes, address: str = "") -> float:
        if not data:
            return 0.0
        if self._drained is not None and self._pending > _MOST_PENDING:
            return _CONGESTED  # lost
        self._write(self._frame(data, address))
        return 0.0 if self._drained is None else _CONGESTED

    def arrived(self, datagrams: list[tuple[bytes, str]]) -> None:
        """Datagrams of the stream, in order."""
        queue = self._queue
        queue.extend(datagrams)
        if self.sink is not None:
            self._drain()
        elif queue:
            self._wake_soon()
        if len(queue) >= _MOST_WAITING and not self._paused:
            self._paused = True
            self.conn.endpoint.pause()

    def finish(self, error: BaseException) -> None:
        """The stream is at its end."""
        if self.over is None:
            self.over = error
        self._on_drain()
        self._wake_soon()
        if not self._queue:
            self._tell()

    def _drain(self) -> None:
        queue = self._queue
        while queue and self.sink is not None and not self._hold:
            self.sink.datagram(*queue.popleft())
        self._make_room()
        if not queue and self.over is not None:
            self._tell()

    def _tell(self) -> None:
        """Everything was handed over, and no more will come."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.ended(None if isinstance(self.over, _Ended) else self.over)

    def _make_room(self) -> None:
        if self._paused and len(self._queue) < _MOST_WAITING // 2:
            self._paused = False
            if self.over is None and not self.closed:
                self.conn.endpoint.resume()

    def _write(self, frame: bytes) -> None:
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        if self.over is not None and not isinstance(self.over, _Ended):
            raise ConnectionClosed(f"connection lost: {self.over}") from self.over
        if not self.conn.write(frame):
            self._pending += len(frame)
            if self._drained is None:
                self._drained = Event()

    def _on_drain(self) -> None:
        drained, self._drained = self._drained, None
        self._pending = 0
        if drained is not None:
            drained.set()

    def _close(self) -> None:
        self._on_drain()
        self.conn.close()
        super()._close()


class _Ended(ConnectionClosed):
    """The peer sends no more; it may still read."""


class _Stream:
    """The sink of the stream."""

    __slots__ = ("_owner",)

    def __init__(self, owner: FramedConn) -> None:
        self._owner = owner

    def data(self, data: Buffer) -> None:
        self._owner.arrived(self._owner._frames.receive(data))

    def eof(self) -> None:
        owner = self._owner
        owner.conn.endpoint.pause()
        if owner._frames.partial:
            owner.finish(Truncated("the stream of datagrams ended inside one"))
        else:
            owner.finish(_Ended("the stream of datagrams ended"))

    def fail(self, error: BaseException) -> None:
        self._owner.finish(error)


class TunnelConn(FramedConn):
    """Datagrams with their addresses: RSV = length | FF | address | payload.

    Args:
        peer: the one target of a connected conn; empty for any.
    """

    def __init__(self, conn: Conn, peer: str = "") -> None:
        super().__init__(conn, TunnelFrames(peer))
        self._peer = peer

    def _frame(self, data: bytes, address: str) -> bytes:
        return tunnel_frame(data, self._peer or address)


class ShortFramedConn(FramedConn):
    """Datagrams to and from one peer: LEN | payload; addresses given to ``send_to`` are ignored."""

    def __init__(self, conn: Conn, peer: str = "") -> None:
        super().__init__(conn, ShortFrames(peer))

    def _frame(self, data: bytes, address: str) -> bytes:
        return short_frame(data)
