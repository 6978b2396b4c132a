"""Connector ``http2``: asks an HTTP/2 proxy for a target by CONNECT.

Wire      :authority = target, :method CONNECT, proxy-authorization, accept-encoding, user-agent;
          200 opens the stream
Source    RFC 9113 section 8.5; go-gost/x connector/http2/connector.go
Differs   nothing known.
"""

from __future__ import annotations

import base64
from typing import Any

from gostpy.errors import ConnectFailed, ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.processing.http2.options import ConnectorOptions
from gostpy.stream.http2 import Stream
from gostpy.wire.http1 import is_field
from gostpy.wire.http2headers import configured_lines

__all__ = ["Connector"]

_USER_AGENT = "Go-http-client/2.0"


class Connector:
    """See the module's description. Raises ConfigError: a header that HTTP cannot carry."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self._timeout = options.timeout
        lines = configured_lines(options.header)
        if context.auth:
            pair = f"{context.auth.username}:{context.auth.password}".encode()
            lines["proxy-authorization"] = "Basic " + base64.b64encode(pair).decode()
        lines.setdefault("accept-encoding", "gzip")
        lines.setdefault("user-agent", _USER_AGENT)
        self._lines = list(lines.items())

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Conn:
        """Raises ConnectFailed: the proxy refused. Unsupported: not TCP, or not over http2."""
        if not request.network.startswith("tcp"):
            raise Unsupported(f"the http2 connector cannot carry {request.network}")
        stream = getattr(conn, "endpoint", None)
        if not isinstance(stream, Stream) or stream.id:
            raise Unsupported("the http2 connector needs the http2 dialer")
        fields = [(":authority", _in_ascii(request.address)), (":method", "CONNECT")]
        with timeout(self._timeout, "no answer to CONNECT in time"):
            stream.ask(fields + self._lines)
            answer = stream.response()
        if answer.status != 200:
            raise ConnectFailed(f"proxy answered {answer.status}", address=request.address)
        assert isinstance(conn, Conn)
        return conn


def _in_ascii(address: str) -> str:
    """``host:port`` as a header can hold it. Raises ProtocolError: it cannot."""
    if is_field("x", address):
        return address
    host, separator, port = address.rpartition(":")
    try:
        name = host.encode("idna").decode() + separator + port
    except UnicodeError as error:
        raise ProtocolError(f"{address!r} is no host name") from error
    if not is_field("x", name):
        raise ProtocolError(f"{address!r} cannot be asked for by HTTP")
    return name
