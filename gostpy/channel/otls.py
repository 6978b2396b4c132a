"""otls: simple-obfs in its TLS form, a fake handshake and then data in TLS records, unencrypted.

The first data of both sides rides in the fake handshake.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import opt
from gostpy.wire.obfs import TlsClient, TlsServer, read_hello

__all__ = ["DialOptions", "Layer", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """The listening side has none."""


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    host: str = opt("", "host", doc="Server name of the fake hello; empty = the node's address.")


class Layer:
    """One fake TLS handshake."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._host = (options.host if isinstance(options, DialOptions) else "") or context.address

    def accept(self, conn: Conn) -> None:
        """Raises ProtocolError: not such a hello."""
        session_id, first = read_hello(conn)
        conn.push(TlsServer(session_id))
        if first:
            conn.unread(first)

    def connect(self, conn: Conn) -> None:
        """Sends nothing yet."""
        conn.push(TlsClient(self._host))
