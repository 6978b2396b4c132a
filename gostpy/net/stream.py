"""Endpoints for the streams of a mux: what all of them share.

A mux session reads frames on the hub and calls ``deliver`` on the stream. While a green thread does
the handshake, data waits in the stream; in the relay phase it goes straight to the conn. How much
may be in flight is the mux's business: it grants credit in ``consumed``.
"""

from __future__ import annotations

from typing import Any

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.net.endpoint import Endpoint
from gostpy.wire.codec import Buffer

__all__ = ["StreamEndpoint"]


class StreamEndpoint(Endpoint):
    """A stream of a mux session. The session calls the methods of the first group.

    Subclasses define ``_send(data) -> bool`` (take everything; False: stop until ``drained``),
    ``_finish_sending()``, ``_closed(aborted)`` and may define ``consumed(size)`` to grant credit.
    """

    __slots__ = (
        "_arrived",
        "_level",
        "_owed",
        "_reader",
        "_running",
        "_writer",
        "full",
        "local_ended",
        "paused",
        "peer_ended",
        "reason",
    )

    can_half = False

    def __init__(self, level: int = 0) -> None:
        self.conn = None
        self.on_drain = None
        self._level = level
        self._arrived = bytearray()
        self._owed = 0  # delivered to a sink that is full: not consumed until it drains
        self._reader: Any = None
        self._writer: Any = None
        self._running = False
        self.paused = False
        self.full = False
        self.peer_ended = False
        self.local_ended = False
        self.reason: BaseException | None = None

    @property
    def level(self) -> int:
        return self._level

    # -- called by the session, on the hub -------------------------------------------------------

    def deliver(self, data: Buffer) -> None:
        """Data of the peer, in order. May be called while paused: it is kept until resumed."""
        if self._running and not self.paused and not self._arrived:
            conn = self.conn
            if conn is None:
                return
            try:
                conn.feed(data)
            except Exception as error:  # the stream's conn fails, not the session
                conn.fail(error)
                return
            if self.paused:
                self._owed += len(data)
            else:
                self.consumed(len(data))
            return
        self._arrived += data
        self._wake_reader()

    def peer_end(self) -> None:
        """The peer sends no more."""
        if self.peer_ended:
            return
        self.peer_ended = True
        if self._running:
            if not self._arrived and self.conn is not None:
                self.conn.eof()
        else:
            self._wake_reader()

    def abort(self, error: BaseException) -> None:
        """The stream was reset, or its session is gone."""
        if self.reason is not None:
            return
        self.reason = error
        self.peer_ended = self.local_ended = True
        if self._running:
            if self.conn is not None:
                self.conn.fail(error)
        else:
            self._wake_reader()
        self.full = False
        self._wake_writer()

    def drained(self) -> None:
        """What ``_send`` refused to promise has left: the source may go on."""
        if not self.full:
            return
        self.full = False
        self._wake_writer()
        if self._writer is None and self.on_drain is not None:
            self.on_drain()

    # -- to be defined by the mux ----------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        raise NotImplementedError

    def _finish_sending(self) -> None:
        """Tell the peer that no more data comes."""

    def _closed(self, aborted: bool) -> None:
        """The stream is closed on this side: forget it; ``aborted``: output may be dropped."""

    def consumed(self, size: int) -> None:
        """The application has taken ``size`` more bytes."""

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
                raise self.reason
            if self.peer_ended or self.local_ended:
                return b""
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None
        data = bytes(self._arrived)
        self._arrived.clear()
        self.consumed(len(data))
        return data

    def sendall(self, data: Buffer) -> None:
        if self.write(data):
            return
        while self.full and self.reason is None and not self.local_ended:
            self._writer = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._writer = None
        if self.reason is not None:
            raise self.reason

    # -- relay phase -----------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self.paused = False
        conn = self.conn
        if self._owed:
            owed, self._owed = self._owed, 0
            self.consumed(owed)
        if self._arrived and conn is not None:
            data = bytes(self._arrived)
            self._arrived.clear()
            conn.feed(data)
            if self.paused:
                self._owed += len(data)
            else:
                self.consumed(len(data))
        if self.paused or self._arrived or self.conn is None or conn is None:
            return
        if self.reason is not None:
            conn.fail(self.reason)
        elif self.peer_ended:
            conn.eof()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        if self.paused or not self._running:
            self.start()

    def write(self, data: Buffer) -> bool:
        if self.reason is not None:
            raise self.reason
        if self.local_ended or self.conn is None:
            raise ConnectionClosed("stream is closed")
        if not self._send(data):
            self.full = True
        return not self.full

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
        self.shut()
        self.conn = None
        self.on_drain = None
        self._arrived.clear()
        self._wake_reader()
        self._wake_writer()
        self._closed(now)
