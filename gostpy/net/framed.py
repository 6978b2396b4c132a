"""Packet conns over a byte stream: each datagram travels as a frame.

The stream is read by callbacks on the hub. At most ``_MOST_WAITING`` datagrams wait to be taken;
then the stream is paused, and the sender is slowed down by TCP as gost slows it down. Sending waits
while the stream is congested, any number of green threads may send.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any, Protocol

from gevent import get_hub, getcurrent
from gevent.event import Event

from gostpy.errors import ConnectionClosed, Truncated
from gostpy.net.conn import Conn
from gostpy.net.packet import PacketConn
from gostpy.net.timers import timeout
from gostpy.wire.codec import Buffer
from gostpy.wire.udptun import ShortFrames, TunnelFrames, short_frame, tunnel_frame

__all__ = ["FramedConn", "ShortFramedConn", "TunnelConn"]

_MOST_WAITING = 256


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

    def __init__(self, conn: Conn, frames: _Frames) -> None:
        super().__init__(copy.copy(conn.info))
        self.conn = conn
        self._frames = frames
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._reader: Any = None
        self._over: BaseException | None = None
        self._paused = False
        self._drained: Event | None = None
        conn.sink = self._sink = _Sink(self)
        conn.endpoint.on_drain = self._on_drain
        try:
            self._sink.data(conn.take_buffer())
            if any(codec.ended for codec in conn.codecs):
                self._sink.eof()
            else:
                conn.endpoint.start()
        except Exception as error:
            self._sink.fail(error)

    def recv_from(self) -> tuple[bytes, str]:
        waiting = self._waiting
        while not waiting:
            if self._over is not None:
                raise self._over
            if self.closed:
                raise ConnectionClosed("packet conn is closed")
            self.conn.flush()
            with timeout(self.timeout or 0.0, "no datagram in time"):
                self._reader = getcurrent()
                try:
                    get_hub().switch()
                finally:
                    self._reader = None
        datagram = waiting.popleft()
        if self._paused and len(waiting) < _MOST_WAITING // 2:
            self._paused = False
            if self._over is None and not self.closed:
                self.conn.endpoint.resume()
        return datagram

    def send_to(self, data: bytes, address: str = "") -> None:
        if not data:
            return  # an empty frame would make gost read to the end of the stream
        frame = self._frame(data, address)
        while self._drained is not None and not self.closed:
            self._drained.wait()
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        if self._over is not None and not isinstance(self._over, _Ended):
            raise ConnectionClosed(f"connection lost: {self._over}") from self._over
        if not self.conn.write(frame):
            self._drained = Event()

    def _frame(self, data: bytes, address: str) -> bytes:
        raise NotImplementedError

    def _wake_reader(self) -> None:
        if self._reader is not None:
            get_hub().loop.run_callback(self._switch_reader)

    def _switch_reader(self) -> None:
        reader = self._reader
        if reader is not None:
            reader.switch()

    def _on_drain(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set()

    def _close(self) -> None:
        self._on_drain()
        self.conn.close()
        self._wake_reader()


class _Ended(ConnectionClosed):
    """The peer sends no more; it may still read."""


class _Sink:
    """Where the stream's bytes arrive, on the hub."""

    __slots__ = ("_owner",)

    def __init__(self, owner: FramedConn) -> None:
        self._owner = owner

    def data(self, data: Buffer) -> None:
        owner = self._owner
        owner._waiting.extend(owner._frames.receive(data))
        if not owner._waiting:
            return
        if len(owner._waiting) >= _MOST_WAITING and not owner._paused:
            owner._paused = True
            owner.conn.endpoint.pause()
        owner._wake_reader()

    def eof(self) -> None:
        owner = self._owner
        owner.conn.endpoint.pause()
        if owner._frames.partial:
            self.fail(Truncated("the stream of datagrams ended inside one"))
        else:
            self.fail(_Ended("the stream of datagrams ended"))

    def fail(self, error: BaseException) -> None:
        owner = self._owner
        if owner._over is None:
            owner._over = error
        owner._on_drain()
        owner._wake_reader()


class TunnelConn(FramedConn):
    """Datagrams with their addresses: RSV = length | FF | address | payload.

    Args:
        peer: the one target of a connected conn; empty for any.
    """

    def __init__(self, conn: Conn, peer: str = "") -> None:
        self._peer = peer
        super().__init__(conn, TunnelFrames())

    def recv_from(self) -> tuple[bytes, str]:
        data, sender = super().recv_from()
        return data, self._peer or sender

    def _frame(self, data: bytes, address: str) -> bytes:
        return tunnel_frame(data, self._peer or address)


class ShortFramedConn(FramedConn):
    """Datagrams to and from one peer: LEN | payload; addresses given to ``send_to`` are ignored."""

    def __init__(self, conn: Conn, peer: str = "") -> None:
        super().__init__(conn, ShortFrames(peer))

    def _frame(self, data: bytes, address: str) -> bytes:
        return short_frame(data)
