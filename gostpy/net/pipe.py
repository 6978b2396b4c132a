"""The relay phase: move bytes between two conns by hub callbacks until both directions end.

Between two plain sockets nothing but ``recv_into`` and ``send`` runs per read, on one buffer that
all conns share. Otherwise an endpoint feeds its conn, the codecs turn wire bytes into data, and
one half of the pipe writes them to the other conn. Back-pressure is one rule: a sink that could not
send everything says so, and its source stops reading until the sink drains.

End: the end of one direction is passed on by ``shut()``; an endpoint that cannot end one direction
alone closes both after flushing. An error closes both at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.metered import rounded
from gostpy.wire.codec import Buffer

__all__ = ["Pipe", "pipe"]

Done = Callable[["Pipe"], None]

# bytes that no layer touches may use a larger buffer than decoded ones
_large = bytearray(131072)
_large_view = memoryview(_large)

_FULL, _RATE = 1, 2


def pipe(
    left: Conn, right: Conn, done: Done | None = None, *, idle: float = 0.0, cut: float = 0.0
) -> Pipe:
    """Relay between two conns from now on; returns at once.

    Both conns are closed in the end. What they have read already is passed on first.

    Args:
        done: called once, on the hub, when both directions have ended or one failed.
        idle: seconds without a byte either way after which both are closed; 0 = never.
        cut: seconds after the end of one direction at which the other is cut; 0 = never.
    """
    relay = Pipe(left, right, done, idle, cut)
    relay.start()
    return relay


class Pipe:
    """A running relay.

    Attributes:
        forwarded: bytes moved from left to right so far.
        returned: bytes moved from right to left so far.
        error: why it ended, None for a regular end.
    """

    __slots__ = ("_cut", "_done", "_idle", "_idle_entry", "_open", "ends", "error", "left", "right")

    def __init__(self, left: Conn, right: Conn, done: Done | None, idle: float, cut: float) -> None:
        self.left = left
        self.right = right
        self.error: BaseException | None = None
        self._open = 2
        self._done = done
        self._idle = idle
        self._cut = cut
        self._idle_entry: timers.Entry | None = None
        metered = idle > 0 or left.meter is not None or right.meter is not None
        half = _MeteredHalf if metered else _Half
        self.ends: tuple[_Half, _Half] | None = (half(self, left, right), half(self, right, left))

    @property
    def forwarded(self) -> int:
        return self.ends[0].count if self.ends else 0

    @property
    def returned(self) -> int:
        return self.ends[1].count if self.ends else 0

    def start(self) -> None:
        left, right, ends = self.left, self.right, self.ends
        assert ends is not None
        left.sink, right.sink = ends
        plain = type(ends[0]) is _Half and not left.codecs and not right.codecs
        fused = False
        if plain and type(left.endpoint) is type(right.endpoint) is SocketEndpoint:
            fused = True
            left.endpoint.callback = _fused(left.endpoint, right.endpoint, ends[0])
            right.endpoint.callback = _fused(right.endpoint, left.endpoint, ends[1])
        if self._idle > 0:
            self._idle_entry = timers.after(self._idle, self._look_idle)
        try:
            for source, half in zip((left, right), ends, strict=True):
                data = source.take_buffer()
                if data:
                    half.first(data)
                for codec in source.codecs:
                    if codec.ended:
                        self.ended(half)
                        break
            self._kick(ends[0], True)
            self._kick(ends[1], not fused)  # a server seldom speaks in the first instant
        except Exception as error:  # a conn that fails while starting ends like a running one
            self.fail(error)

    def _kick(self, half: _Half, read: bool) -> None:
        """Start one direction; a first read at once lets held-back output ride on data."""
        source, target = half.source, half.target
        if self._open == 0 or source.closed:
            return
        if half.ended or half.must_wait():
            source.endpoint.pause()
        else:
            source.endpoint.start()
            if read:
                source.endpoint.read_now()
        if self._open:
            target.flush()

    def ended(self, half: _Half) -> None:
        """One direction is at its end: pass it on."""
        if self._open == 0 or half.ended:
            return
        half.ended = True
        self._open -= 1
        half.source.endpoint.pause()
        target = half.target
        if self._open == 0:
            if target.codecs:  # closing ends a bare socket just as well
                target.shut()
            self._finish()
        elif not (target.endpoint.can_half and half.source.endpoint.can_half):
            target.shut()
            self._open = 0
            self._finish()
        else:
            target.shut()
            if self._cut > 0:
                timers.after(self._cut, self._finish)

    def fail(self, error: BaseException) -> None:
        """Something broke: close both, now."""
        if self.error is None:
            self.error = error
        self._finish()

    def _look_idle(self) -> None:
        if self.ends is None:
            return
        quiet = timers.now() - max(half.last for half in self.ends)
        if quiet >= self._idle - 0.01:
            self.fail(TimeoutError(f"idle for {self._idle:g} s"))
        else:
            self._idle_entry = timers.after(round(self._idle - quiet + 0.01, 2), self._look_idle)

    def _finish(self) -> None:
        ends = self.ends
        if ends is None or self._done is _finished:
            return
        done, self._done = self._done, _finished
        self._open = 0
        if self._idle_entry is not None:
            self._idle_entry.cancel()
        for conn in (self.left, self.right):
            conn.endpoint.on_drain = None
            conn.close()
        if done is not None:
            done(self)
        for half in ends:
            half.release()
        self.ends = None


def _finished(_: Pipe) -> None:
    """Marks a pipe whose end was reported."""


class _Half:
    """One direction: the sink of its source."""

    __slots__ = ("_pause", "_write", "count", "ended", "last", "pipe", "source", "target")

    def __init__(self, owner: Pipe, source: Conn, target: Conn) -> None:
        self.pipe = owner
        self.source = source
        self.target = target
        self.count = 0
        self.ended = False
        self.last = 0.0
        # nothing to encode: skip the conn
        self._write = target.write if target.codecs else target.endpoint.write
        self._pause = source.endpoint.pause
        target.endpoint.on_drain = source.endpoint.resume

    def data(self, data: Buffer) -> None:
        self.count += len(data)
        if not self._write(data):
            self._pause()

    first = data
    """Takes what the conn had read already, for which its meter was asked then."""

    def must_wait(self) -> bool:
        """The source may not be read yet."""
        return self.target.endpoint.pending

    def eof(self) -> None:
        self.pipe.ended(self)

    def fail(self, error: BaseException) -> None:
        self.pipe.fail(error)

    def release(self) -> None:
        """Break the reference cycles, so that an ended pipe is freed at once."""
        self._write = self._pause = None  # type: ignore[assignment]


class _MeteredHalf(_Half):
    """Half with meters and an idle clock: pausing has reasons, and ends when none is left."""

    __slots__ = ("_hold", "_until")

    def __init__(self, owner: Pipe, source: Conn, target: Conn) -> None:
        super().__init__(owner, source, target)
        self._hold = 0
        self._until = 0.0  # nothing is read before, because of the rate
        self.last = timers.now()
        target.endpoint.on_drain = self._drained

    def data(self, data: Buffer) -> None:
        meter = self.source.meter
        self._pass(data, meter.received(len(data)) if meter is not None else 0.0)

    def first(self, data: Buffer) -> None:
        self._pass(data, 0.0)

    def must_wait(self) -> bool:
        if self.target.endpoint.pending:
            self._hold |= _FULL
        return self._hold != 0

    def _pass(self, data: Buffer, delay: float) -> None:
        size = len(data)
        self.count += size
        self.last = timers.now()
        if not self._write(data):
            self._held(_FULL)
        if self.target.meter is not None:
            delay = max(delay, self.target.meter.sent(size))
        if delay > 0.0:
            self._until = self.last + delay
            if not self._hold & _RATE:
                self._held(_RATE)
                timers.after(rounded(delay), self._due)

    def _held(self, reason: int) -> None:
        if not self._hold:
            self._pause()
        self._hold |= reason

    def _released(self, reason: int) -> None:
        if self._hold:
            self._hold &= ~reason
            if not self._hold and not self.ended and not self.source.closed:
                self.source.endpoint.resume()

    def _drained(self) -> None:
        self._released(_FULL)

    def _due(self) -> None:
        left = self._until - timers.now()
        if left > 0.001 and not self.source.closed:
            timers.after(rounded(left), self._due)
        else:
            self._released(_RATE)


def _fused(source: SocketEndpoint, target: SocketEndpoint, half: _Half) -> Callable[[], None]:
    """The read callback between two plain sockets: no conn, no codec, no sink in between."""
    receive: Any = source.sock.recv_into
    send = target.sock.send

    def readable() -> None:
        size = 0
        try:
            size = receive(_large)
            if size:
                half.count += size
                if target._out is None:
                    sent = send(_large_view[:size])
                    if sent == size:
                        return
                else:
                    sent = 0
                if not target.write(_large_view[sent:size]):
                    source.pause()
            else:
                source._io.stop()
                half.eof()
        except BlockingIOError:
            if size and not target.write(_large_view[:size]):
                source.pause()
        except Exception as error:  # whatever it is, it ends this pipe, not the loop
            source._io.stop()
            half.fail(error)

    return readable
