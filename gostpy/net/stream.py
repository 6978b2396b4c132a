"""Endpoints for the streams of a mux: what all of them share.

A mux session reads frames on the hub and calls ``deliver`` on the stream. While a green thread does
the handshake, data waits in the stream; in the relay phase it goes straight to the conn. How much
may be in flight is the mux's business: it grants credit in ``consumed`` and hears in ``kept`` of
data that waits.

A stream never feeds its conn from ``resume``: that is called in the middle of other streams' data.
It goes on in a callback of its own instead.
"""

from __future__ import annotations

import sys
from typing import Any

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.net.endpoint import Endpoint
from gostpy.wire.codec import Buffer

__all__ = ["PIECE", "StreamEndpoint"]

PIECE = 65536
"""Most bytes handed over at once; decode buffers are made for that."""


class StreamEndpoint(Endpoint):
    """A stream of a mux session. The session calls the methods of the first group.

    Subclasses define ``_send(data) -> bool`` (take everything; False: stop until ``drained``),
    ``_finish_sending()`` and ``_closed(now)``; they may define ``consumed(size)``, ``kept(size)``.

    Attributes:
        full: the last write was too much; ``drained`` clears it.
        peer_ended: no more data comes.
        local_ended: no more data is taken.
        reason: why the stream was aborted, None for a stream that lives or ended regularly.
    """

    __slots__ = (
        "_arrived",
        "_dropped",
        "_flowing",
        "_level",
        "_owed",
        "_reader",
        "_started",
        "_told",
        "_writer",
        "full",
        "local_ended",
        "peer_ended",
        "reason",
    )

    can_half = False

    def __init__(self, level: int = 0) -> None:
        self.conn = None
        self.on_drain = None
        self._level = level
        self._arrived = bytearray()
        self._owed = 0  # taken by a sink that is full: not consumed until it drains
        self._reader: Any = None
        self._writer: Any = None
        self._started = False  # in the relay phase
        self._flowing = False  # in the relay phase and not paused
        self._told = False  # the conn knows of the end
        self._dropped = False  # the peer takes no more data, and some was given up
        self.full = False
        self.peer_ended = False
        self.local_ended = False
        self.reason: BaseException | None = None

    @property
    def level(self) -> int:
        return self._level

    @property
    def waiting(self) -> int:
        """Bytes delivered and not consumed."""
        return len(self._arrived) + self._owed

    # -- called by the session, on the hub -------------------------------------------------------

    def deliver(self, data: Buffer) -> None:
        """Data of the peer, in order. May be called while paused: it is kept until resumed."""
        if self._flowing and not self._arrived:
            self._give(data)
        elif self.conn is not None:
            self._arrived += data
            self._wake_reader()
            self.kept(len(data))

    def peer_end(self) -> None:
        """The peer sends no more."""
        if self.peer_ended:
            return
        self.peer_ended = True
        if self._flowing and not self._arrived:
            self._tell_end()
        self._wake_reader()

    def abort(self, error: BaseException) -> None:
        """The stream was reset, or its session is gone. What came before is still handed over."""
        if self.reason is not None:
            return
        self.reason = error
        self.peer_ended = self.local_ended = True
        self.full = False
        if self._started:
            while self._arrived and self.conn is not None:
                self._give(self._take())
            self._tell_end()
        self._wake_reader()
        self._wake_writer()

    def drained(self) -> None:
        """What ``_send`` refused to promise has left: the source may go on."""
        if not self.full:
            return
        self.full = False
        if self._writer is not None:
            self._wake_writer()
        elif self.on_drain is not None:
            self.on_drain()

    # -- to be defined by the mux ----------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        raise NotImplementedError

    def _finish_sending(self) -> None:
        """Tell the peer that no more data comes, after what was written."""

    def _closed(self, now: bool) -> None:
        """The conn is closed on this side; with ``now``, output may be dropped."""

    def consumed(self, size: int) -> None:
        """The application has taken ``size`` more bytes."""

    def kept(self, size: int) -> None:
        """``size`` more bytes wait here; negative when they wait no longer."""

    # -- handing over ----------------------------------------------------------------------------

    def _give(self, data: Buffer) -> None:
        """Feed the conn; the bytes are consumed unless its sink is full."""
        conn = self.conn
        if conn is None:
            return
        try:
            conn.feed(data)
        except Exception as error:  # the stream's conn fails, not the session
            self._fail(error)
            return
        if self._flowing:
            self.consumed(len(data))
        elif self.conn is not None:
            self._owed += len(data)
            self.kept(len(data))

    def _take(self) -> bytes:
        """The first piece of what waits."""
        arrived = self._arrived
        piece = bytes(arrived[:PIECE])
        del arrived[:PIECE]
        self.kept(-len(piece))
        return piece

    def _continue(self) -> None:
        """Hand over what waits, until it is gone or the sink is full."""
        while self._flowing and self._arrived:
            self._give(self._take())
        if self._flowing and self.peer_ended:
            self._tell_end()

    def _tell_end(self) -> None:
        conn = self.conn
        if conn is None or self._told:
            return
        self._told = True
        if self.reason is not None:
            self._fail(self.reason)
            return
        try:
            conn.eof()
        except Exception as error:  # as in _give
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        conn = self.conn
        if conn is None:
            return
        try:
            conn.fail(error)
        except Exception:  # a bug in a sink must not reach the other streams
            get_hub().handle_error(self, *sys.exc_info())
            conn.close(True)

    # -- handshake phase -------------------------------------------------------------------------

    def _wake_reader(self) -> None:
        if self._reader is not None:
            get_hub().loop.run_callback(self._switch_reader)

    def _switch_reader(self) -> None:
        reader = self._reader
        if reader is not None:
            reader.switch()

    def _wake_writer(self) -> None:
        if self._writer is not None:
            get_hub().loop.run_callback(self._switch_writer)

    def _switch_writer(self) -> None:
        writer = self._writer
        if writer is not None:
            writer.switch()

    def recv(self) -> Buffer:
        while not self._arrived:
            if self.reason is not None:
                raise ConnectionClosed(str(self.reason)) from self.reason
            if self.peer_ended or self.conn is None or (self.local_ended and not self.can_half):
                return b""
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None
        piece = self._take()
        self.consumed(len(piece))
        return piece

    def sendall(self, data: Buffer) -> None:
        if self.write(data):
            return
        while self.full and self.conn is not None and not self._dropped:
            self._writer = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._writer = None
        if self.reason is not None:
            raise ConnectionClosed(str(self.reason)) from self.reason
        if self.conn is None:
            raise ConnectionClosed("stream was closed while sending")
        if self._dropped:
            raise ConnectionClosed("stream was closed by the peer while sending")

    # -- relay phase -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, or go on, to feed the conn; what waits is handed over before this returns."""
        self._flow()
        self._continue()

    def _flow(self) -> None:
        self._started = self._flowing = self.conn is not None
        owed, self._owed = self._owed, 0
        if owed:
            self.kept(-owed)
            self.consumed(owed)

    def pause(self) -> None:
        self._flowing = False

    def resume(self) -> None:
        if self.conn is None:
            return
        self._flow()
        if self._arrived or self.peer_ended:
            get_hub().loop.run_callback(self._continue)

    def write(self, data: Buffer) -> bool:
        if self.local_ended or self.conn is None:
            raise ConnectionClosed(str(self.reason or "stream is closed"))
        if self._send(data):
            return True
        self.full = True
        return False

    @property
    def pending(self) -> bool:
        return self.full

    def shut(self) -> None:
        if not self.local_ended:
            self.local_ended = True
            self._finish_sending()

    def close(self, now: bool = False) -> None:
        if self.conn is None:
            return
        self.conn = self.on_drain = None
        self._flowing = False
        waiting = self.waiting
        if waiting:
            self._arrived.clear()
            self._owed = 0
            self.kept(-waiting)
        self.shut()
        self._wake_reader()
        self._wake_writer()
        self._closed(now)
