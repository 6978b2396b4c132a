"""The relay phase of datagrams: move them between two packet conns by hub callbacks.

Both must work ``on_hub``. A datagram that cannot leave is lost and costs nothing else; the end of
either side ends both. A limit on one side holds the other for as long as it says.
"""

from __future__ import annotations

from collections.abc import Callable

from gostpy.errors import ConnectionClosed, GostError
from gostpy.net import timers
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn

__all__ = ["PacketPipe", "pipe_packets"]

Done = Callable[["PacketPipe"], None]


def pipe_packets(
    left: PacketConn, right: PacketConn, done: Done | None = None, *, idle: float = 0.0
) -> PacketPipe:
    """Relay between two packet conns from now on; returns at once. Both are closed in the end.

    Args:
        done: called once, on the hub, when either side has ended.
        idle: seconds without a datagram either way after which both are closed; 0 = never.
    """
    relay = PacketPipe(left, right, done, idle)
    relay.start()
    return relay


class PacketPipe:
    """A running relay.

    Attributes:
        forwarded: bytes moved from left to right so far.
        returned: bytes moved from right to left so far.
        error: why it ended, None for a regular end.
    """

    __slots__ = ("_backward", "_done", "_forward", "_idle", "error", "last", "left", "right")

    def __init__(self, left: PacketConn, right: PacketConn, done: Done | None, idle: float) -> None:
        self.left = left
        self.right = right
        self.error: BaseException | None = None
        self.last = 0.0
        self._done: Done | None = done if done is not None else _nobody
        self._idle = idle
        half = _Half if idle <= 0.0 else _TimedHalf
        self._forward = half(self, left, right)
        self._backward = half(self, right, left)

    @property
    def forwarded(self) -> int:
        return self._forward.count

    @property
    def returned(self) -> int:
        return self._backward.count

    def start(self) -> None:
        if self._idle > 0.0:
            self.last = timers.now()
            timers.after(self._idle, self._look_idle)
        self.right.start(self._backward)
        self.left.start(self._forward)
        if self.left.closed or self.right.closed:
            self.finish(None)

    def _look_idle(self) -> None:
        if self._done is None:
            return
        quiet = timers.now() - self.last
        if quiet >= self._idle - 0.01:
            self.finish(TimeoutError(f"idle for {self._idle:g} s"))
        else:
            timers.after(round(self._idle - quiet + 0.01, 2), self._look_idle)

    def finish(self, error: BaseException | None) -> None:
        """Close both sides and tell; the first reason counts."""
        done, self._done = self._done, None
        if done is None:
            return
        self.error = error
        self.left.close()
        self.right.close()
        done(self)


def _nobody(_: PacketPipe) -> None:
    """Stands for a caller who does not want to know."""


class _Half:
    """One direction: the sink of its source."""

    __slots__ = ("_send", "count", "pipe", "source")

    def __init__(self, owner: PacketPipe, source: PacketConn, target: PacketConn) -> None:
        self.pipe = owner
        self.source = source
        self.count = 0
        self._send = target.send_now

    def datagram(self, data: bytes, address: str) -> None:
        self.count += len(data)
        try:
            delay = self._send(data, address)
        except ConnectionClosed:
            self.pipe.finish(None)
            return
        except (GostError, OSError):
            return  # too large, no address, or no way there: this datagram is lost
        if delay > 0.0:
            self.source.pause()
            timers.after(rounded(delay), self._due)

    def _due(self) -> None:
        if not self.source.closed:
            self.source.resume()

    def ended(self, error: BaseException | None) -> None:
        self.pipe.finish(error)


class _TimedHalf(_Half):
    """Half that keeps the time of the last datagram."""

    __slots__ = ()

    def datagram(self, data: bytes, address: str) -> None:
        self.pipe.last = timers.now()
        super().datagram(data, address)
