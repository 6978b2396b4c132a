"""A socket endpoint that counts its bytes and obeys rate limits.

Reading is limited by holding the watcher, writing by holding the source that fills us: nobody
sleeps in a green thread. Conns without limits and counters use the plain SocketEndpoint.
"""

from __future__ import annotations

import _socket
from typing import Protocol

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.endpoint import _CLOSED, _CLOSING, SocketEndpoint, _shared, _view
from gostpy.wire.codec import Buffer

__all__ = ["JoinedMeter", "Meter", "MeteredSocketEndpoint", "PacketMeter", "join", "rounded"]

_PAUSED, _RATE, _STOPPED = 1, 2, 4


class Meter(Protocol):
    """Counts bytes and answers how many seconds to wait before the next ones."""

    def received(self, size: int) -> float: ...
    def sent(self, size: int) -> float: ...


class PacketMeter(Meter, Protocol):
    """A meter for datagrams too."""

    def admits(self, size: int, outgoing: bool) -> bool:
        """Whether a datagram may ever pass; one that is larger than a burst may not."""
        ...


class JoinedMeter:
    """Two meters as one: of the service and of the connection."""

    __slots__ = ("first", "second")

    def __init__(self, first: PacketMeter, second: PacketMeter) -> None:
        self.first = first
        self.second = second

    def received(self, size: int) -> float:
        return max(self.first.received(size), self.second.received(size))

    def sent(self, size: int) -> float:
        return max(self.first.sent(size), self.second.sent(size))

    def admits(self, size: int, outgoing: bool) -> bool:
        return self.first.admits(size, outgoing) and self.second.admits(size, outgoing)


def join(first: PacketMeter | None, second: PacketMeter | None) -> PacketMeter | None:
    """One meter that is both; None is no meter."""
    if first is None or second is None:
        return second if first is None else first
    return JoinedMeter(first, second)


class MeteredSocketEndpoint(SocketEndpoint):
    """SocketEndpoint with a meter in both directions."""

    __slots__ = ("_hold", "_meter", "_owing")

    def __init__(self, sock: _socket.socket, meter: Meter) -> None:
        super().__init__(sock)
        self._meter = meter
        self._hold = _STOPPED  # reasons why nothing is read now
        self._owing = False  # more was sent than the rate allows

    def recv(self) -> Buffer:
        while self._hold & _RATE:
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None
            if self._state & (_CLOSING | _CLOSED):
                raise ConnectionClosed("connection was closed while reading")
        view = super().recv()
        self._received(len(view))
        return view

    def _received(self, size: int) -> None:
        delay = self._meter.received(size)
        if delay > 0.0:
            self._hold |= _RATE
            self._io.stop()
            timers.after(rounded(delay), self._read_again)

    def _read_again(self) -> None:
        self._hold &= ~_RATE
        if self._reader is not None:
            self._wake_reader()
        elif not self._hold and self.conn is not None:
            self._io.start(self._readable)

    def start(self) -> None:
        self._hold &= ~(_STOPPED | _PAUSED)
        if not (self._hold or self._state & _CLOSED):  # as in SocketEndpoint
            self._io.start(self._readable)

    resume = start

    def pause(self) -> None:
        self._hold |= _PAUSED
        self._io.stop()

    def read_now(self) -> None:
        if not self._hold & _RATE:
            self._readable()

    def _readable(self) -> None:
        conn = self.conn
        if conn is None:
            return
        try:
            size = self.sock.recv_into(_shared)
            if size:
                self._received(size)
                conn.feed(_view[:size])
            else:
                self._io.stop()
                conn.eof()
        except BlockingIOError:
            pass
        except Exception as error:  # whatever it is, it ends this conn, not the loop
            self._io.stop()
            conn.fail(error)

    @property
    def pending(self) -> bool:
        return self._out is not None or self._owing

    def write(self, data: Buffer) -> bool:
        done = super().write(data)
        delay = self._meter.sent(len(data))
        if delay > 0.0 and not self._owing:
            self._owing = True
            timers.after(rounded(delay), self._paid)
        return done and not self._owing

    def _paid(self) -> None:
        delay = self._meter.sent(0)
        if delay > 0.001 and not self._state & _CLOSED:
            timers.after(rounded(delay), self._paid)
            return
        self._owing = False
        if self._out is None and self.on_drain is not None:
            self.on_drain()

    def _writable(self) -> None:
        if not self._owing:
            super()._writable()
            return
        on_drain, self.on_drain = self.on_drain, None  # not before the debt is paid
        super()._writable()
        if self.conn is not None:
            self.on_drain = on_drain


def rounded(delay: float) -> float:
    """Delays in steps of a millisecond below one second, else 50 ms: timers are kept by length."""
    return max(round(delay, 3), 0.001) if delay < 1.0 else round(delay * 20) / 20
