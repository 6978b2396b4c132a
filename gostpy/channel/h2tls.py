"""h2tls: TLS below HTTP/2: as ``tls``, and ``h2`` and ``http/1.1`` are offered by ALPN."""

from __future__ import annotations

from gostpy.channel import tls
from gostpy.channel.tls import DialOptions, ListenOptions
from gostpy.errors import HandshakeFailed
from gostpy.net.conn import Conn

__all__ = ["DialOptions", "Layer", "ListenOptions"]


class Layer(tls.Layer):
    """The handshake of ``tls``, with its options."""

    alpn = ("h2", "http/1.1")

    def connect(self, conn: Conn) -> None:
        """Raises HandshakeFailed: the node does not speak HTTP/2."""
        super().connect(conn)
        if conn.info.tls.alpn != "h2":
            raise HandshakeFailed("the node did not choose HTTP/2 (ALPN h2)")
