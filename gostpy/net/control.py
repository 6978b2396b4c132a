"""A connection that is only kept open for its end: the control connection of a UDP association.

``watch`` reads it on the hub and tells when it ends. What arrives is dropped, or kept in order
(bounded) to be read when the connection is used after all, as in SOCKS BIND.
"""

from __future__ import annotations

from collections.abc import Callable

from gostpy.net.conn import Conn
from gostpy.wire.codec import Buffer

__all__ = ["Watch", "watch"]

_MOST_KEPT = 65536


def watch(conn: Conn, ended: Callable[[], None], *, keep: bool = False) -> Watch:
    """Call ``ended`` once, on the hub, when ``conn`` ends; it may not block.

    Args:
        keep: keep what arrives for ``Watch.release``; too much of it stops the reading.
    """
    return Watch(conn, ended, keep)


class Watch:
    """The sink of a watched conn."""

    __slots__ = ("_conn", "_ended", "_keep", "_kept", "over")

    def __init__(self, conn: Conn, ended: Callable[[], None], keep: bool) -> None:
        self._conn = conn
        self._ended: Callable[[], None] | None = ended
        self._keep = keep
        self._kept = bytearray()
        self.over = False
        conn.sink = self
        try:
            self.data(conn.take_buffer())
            if any(codec.ended for codec in conn.codecs):
                self.eof()
            else:
                conn.endpoint.start()
                conn.flush()
        except Exception as error:
            self.fail(error)

    def release(self) -> None:
        """Stop watching and give the conn back, with what has arrived in front."""
        self._ended = None
        self._conn.endpoint.pause()
        self._conn.sink = None
        if self._kept:
            self._conn.unread(bytes(self._kept))

    def data(self, data: Buffer) -> None:
        if self._keep:
            self._kept += data
            if len(self._kept) >= _MOST_KEPT:
                self._conn.endpoint.pause()

    def eof(self) -> None:
        self._conn.endpoint.pause()
        self.over = True
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def fail(self, error: BaseException) -> None:
        self.eof()
