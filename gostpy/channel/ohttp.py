"""ohttp: simple-obfs in its HTTP form, a fake WebSocket upgrade and then raw bytes.

The request rides on the first data, and so does the answer when data came with the request.
``ohttps`` is gost's name for the same thing on the dialing side: there is no TLS in it.
"""

from __future__ import annotations

import binascii
import os
from dataclasses import dataclass

from gostpy.errors import HandshakeFailed, ProtocolError
from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import opt
from gostpy.stream.http1 import read_head
from gostpy.stream.websocket import request_target
from gostpy.wire.codec import Lead
from gostpy.wire.http1 import RequestHead
from gostpy.wire.obfs import HttpClient, http_answer, http_refusal, http_request, http_wrong

__all__ = ["DialOptions", "Layer", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    header: dict[str, str] = opt({}, "header", doc="Further headers of the fake answer.")


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    host: str = opt(
        "", "obfs.host", "host", doc="Host of the fake request; empty = the node's address."
    )
    path: str = opt("/", "obfs.path", "path", doc="Path of the fake request.")
    header: dict[str, str] = opt(
        {}, "obfs.header", "header", doc="Further headers of the fake request."
    )


class Layer:
    """One fake upgrade."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self.options = options
        self._address = context.address

    def accept(self, conn: Conn) -> None:
        """Raises HandshakeFailed, ProtocolError: not such a request; the answer has been sent."""
        headers = self.options.header
        head = read_head(conn)
        if not head:
            raise HandshakeFailed("obfs: connection closed before a request")
        try:
            request = RequestHead.parse(head)
            wrong = http_wrong(request)
            if wrong:
                raise HandshakeFailed(f"obfs: {wrong}")
        except ProtocolError:
            conn.sendall(http_refusal(headers))
            raise
        answer = http_answer(request, headers)
        conn.info.host = request.authority
        if conn.buffered:
            conn.push(Lead(answer))
        else:
            conn.sendall(answer)

    def connect(self, conn: Conn) -> None:
        """Sends nothing yet. Raises HandshakeFailed: a header that cannot be sent."""
        options = self.options
        assert isinstance(options, DialOptions), "a layer of the listening side"
        key = binascii.b2a_base64(os.urandom(16), newline=False)
        host = options.host or self._address
        path = request_target(options.path)
        conn.push(HttpClient(http_request(host, path, options.header, key)))
