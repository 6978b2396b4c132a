"""The end of a conn whose peer was told why: closed at once, it is reset before that is read."""

from __future__ import annotations

from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.wire.codec import Buffer

__all__ = ["Parting"]

PARTING = 1.0
"""Seconds that a peer has to read why the connection ends."""

PARTING_SIZE = 1 << 20
"""Bytes that it may send meanwhile."""


class Parting:
    """Sink of such a conn: what still comes is dropped."""

    __slots__ = ("_conn", "_left")

    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self._left = PARTING_SIZE

    def start(self) -> None:
        conn = self._conn
        conn.sink = self
        conn.endpoint.on_drain = None
        try:
            conn.shut()
            conn.endpoint.resume()
        except OSError:
            conn.close(True)
            return
        timers.after(PARTING, self.eof)

    def data(self, data: Buffer) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.eof()

    def fail(self, error: BaseException) -> None:
        self.eof()

    def eof(self) -> None:
        self._conn.close(True)
