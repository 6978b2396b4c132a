"""An endpoint without another end, for conns that stand for something else or lead nowhere."""

from __future__ import annotations

from gostpy.errors import ConnectionClosed
from gostpy.net.endpoint import Endpoint
from gostpy.wire.codec import Buffer

__all__ = ["EndedEndpoint"]


class EndedEndpoint(Endpoint):
    """Nothing comes from it, nothing can be sent to it.

    Args:
        reason: what sending fails with.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.conn = None
        self.on_drain = None
        self.reason = reason

    def recv(self) -> Buffer:
        return b""

    def sendall(self, data: Buffer) -> None:
        raise ConnectionClosed(self.reason)

    def start(self) -> None:
        if self.conn is not None:
            self.conn.eof()

    def pause(self) -> None:
        """There is nothing to hold."""

    def resume(self) -> None:
        """There is nothing to go on with."""

    def write(self, data: Buffer) -> bool:
        raise ConnectionClosed(self.reason)

    @property
    def pending(self) -> bool:
        return False

    def shut(self) -> None:
        """There is no peer to tell."""

    def close(self, now: bool = False) -> None:
        self.conn = None
