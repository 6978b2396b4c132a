"""h2tls: TLS below HTTP/2: as ``tls``, and ``h2`` and ``http/1.1`` are offered by ALPN."""

from __future__ import annotations

from gostpy.channel import tls
from gostpy.channel.tls import DialOptions, ListenOptions
from gostpy.errors import HandshakeFailed
from gostpy.net.conn import Conn

__all__ = ["DialOptions", "Layer", "ListenOptions"]

_HANDSHAKE = b"\x16"
_PLAIN = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO")
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class Layer(tls.Layer):
    """The handshake of ``tls``, with its options."""

    alpn = ("h2", "http/1.1")

    def accept(self, conn: Conn) -> None:
        """Raises HandshakeFailed: a client without TLS, which is told so as Go tells it."""
        if conn.peek(1) != _HANDSHAKE and conn.peek(5) in _PLAIN:
            conn.sendall(_NO_TLS)
            raise HandshakeFailed("a request without TLS")
        super().accept(conn)

    def connect(self, conn: Conn) -> None:
        """Raises HandshakeFailed: the node does not speak HTTP/2."""
        super().connect(conn)
        if conn.info.tls.alpn != "h2":
            raise HandshakeFailed("the node did not choose HTTP/2 (ALPN h2)")
