"""Packet conns over a byte stream: each datagram travels as a frame.

The stream is read by callbacks on the hub. At most ``_MOST_WAITING`` datagrams wait to be taken;
then the stream is paused, and TCP slows the sender down as it does in gost. Where the stream is
congested, ``send_to`` waits and ``send_now`` asks its caller to; above ``_MOST_PENDING`` bytes
datagrams are lost.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any, Protocol

from gevent import get_hub, getcurrent
from gevent.event import Event

from gostpy.errors import ConnectionClosed, Truncated
from gostpy.net.conn import Conn
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.net.timers import timeout
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


class FramedConn(PacketConn):
    """Base: reads frames from ``conn``, which it owns from now on.

    Args:
        conn: past its handshake; bytes that it has read already are frames too.
        frames: takes the stream apart.
    """

    on_hub = True

    def __init__(self, conn: Conn, frames: _Frames) -> None:
        super().__init__(copy.copy(conn.info))
        self.conn = conn
        self.over: BaseException | None = None
        self._frames = frames
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._reader: Any = None
        self._held = False
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

    # -- in a green thread ---------------------------------------------------------------------

    def recv_from(self) -> tuple[bytes, str]:
        waiting = self._waiting
        while not waiting:
            if self.closed:
                raise ConnectionClosed("packet conn is closed")
            if self.over is not None:
                raise self.over
            self.conn.flush()
            with timeout(self.timeout or 0.0, "no datagram in time"):
                self._reader = getcurrent()
                try:
                    get_hub().switch()
                finally:
                    self._reader = None
        datagram = waiting.popleft()
        self._make_room()
        return datagram

    def send_to(self, data: bytes, address: str = "") -> None:
        if not data:
            return  # an empty frame would make gost read to the end of the stream
        frame = self._frame(data, address)
        while self._drained is not None and not self.closed:
            self._drained.wait()
        self._write(frame)

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        self._drain()
        if self.sink is not None and self.over is None:
            self.conn.flush()

    def pause(self) -> None:
        self._held = True

    def resume(self) -> None:
        self._held = False
        self._drain()

    def send_now(self, data: bytes, address: str = "") -> float:
        if not data:
            return 0.0
        if self._drained is not None and self._pending > _MOST_PENDING:
            return _CONGESTED  # lost
        self._write(self._frame(data, address))
        return 0.0 if self._drained is None else _CONGESTED

    def arrived(self, datagrams: list[tuple[bytes, str]]) -> None:
        """Datagrams of the stream, in order."""
        waiting = self._waiting
        waiting.extend(datagrams)
        if self.sink is not None:
            self._drain()
        elif waiting and self._reader is not None:
            get_hub().loop.run_callback(self._wake)
        if len(waiting) >= _MOST_WAITING and not self._paused:
            self._paused = True
            self.conn.endpoint.pause()

    def finish(self, error: BaseException) -> None:
        """The stream is at its end."""
        if self.over is None:
            self.over = error
        self._on_drain()
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake)
        if not self._waiting:
            self._tell()

    def _drain(self) -> None:
        """Hand over what waits."""
        waiting = self._waiting
        while waiting and self.sink is not None and not self._held:
            self.sink.datagram(*waiting.popleft())
        self._make_room()
        if not waiting and self.over is not None:
            self._tell()

    def _tell(self) -> None:
        """Everything was handed over, and no more will come."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.ended(None if isinstance(self.over, _Ended) else self.over)

    def _make_room(self) -> None:
        if self._paused and len(self._waiting) < _MOST_WAITING // 2:
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

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def _close(self) -> None:
        self._on_drain()
        self.conn.close()
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake)


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
