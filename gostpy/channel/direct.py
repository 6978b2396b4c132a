"""direct (also virtual): no transport. The connector of the same name dials the target itself, so
a node with this dialer has a conn that leads nowhere: reading and writing fail.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import ConnectionClosed
from gostpy.interfaces import Context, Open
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.ended import EndedEndpoint
from gostpy.wire.codec import Buffer

__all__ = ["Carrier", "Options"]


@dataclass(frozen=True)
class Options:
    """There are no options."""


class Carrier:
    """Gives conns that lead nowhere."""

    network = "tcp"

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.context = context

    def open(self, open: Open) -> Conn:
        return Conn(_Nowhere(), ConnInfo(peer=self.context.address))


class _Nowhere(EndedEndpoint):
    """It fails where an ended one is at its end."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("a direct node is no connection: its connector must be direct")

    def recv(self) -> Buffer:
        raise ConnectionClosed(self.reason)

    def start(self) -> None:
        if self.conn is not None:
            self.conn.fail(ConnectionClosed(self.reason))

    resume = start
