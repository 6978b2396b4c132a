"""Recognise a protocol by the first bytes that a client sends.

http   a method of HTTP/1, or ``PRI *`` of HTTP/2
tls    a handshake record of TLS 1.0 to 1.3
ssh    ``SSH-2``

Five bytes decide at most; fewer do when no protocol can begin with them (gost waits for five).
"""

from __future__ import annotations

from gostpy.net.conn import Conn

__all__ = ["detect", "protocol_of"]

_HTTP = tuple(
    method.encode()[:5]
    for method in (
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "HEAD",
        "CONNECT",
        "TRACE",
        "PRI *",
    )
)
_TLS = tuple(b"\x16\x03" + bytes((minor,)) for minor in range(1, 5))
_STARTS = [(mark, "http") for mark in _HTTP] + [(mark, "tls") for mark in _TLS]
_STARTS.append((b"SSH-2", "ssh"))


def protocol_of(data: bytes) -> str | None:
    """The protocol that begins with ``data``, empty for none, None while it cannot be told."""
    open_end = False
    for mark, protocol in _STARTS:
        if data.startswith(mark):
            return protocol
        open_end = open_end or mark.startswith(data)
    return None if open_end else ""


def detect(conn: Conn) -> str:
    """Wait for what is needed to tell; nothing is consumed. Raises OSError, ProtocolError."""
    size = 0
    while True:
        data = conn.peek(size + 1)
        if len(data) <= size:  # the client has ended
            return ""
        protocol = protocol_of(data)
        if protocol is not None:
            return protocol
        size = len(data)
