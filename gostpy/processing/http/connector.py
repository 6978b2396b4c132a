"""Connector ``http``: asks a proxy for a target by CONNECT.

Wire      CONNECT host:port HTTP/1.1, Host, User-Agent, the other lines sorted by name; 200 opens
          the stream, whatever the headers of the response say about a body
Source    RFC 9110 section 9.3.6; go-gost/x connector/http/connector.go
Differs   Bytes that arrive together with the response are kept; a UDP request leaves no
          ``X-Gost-Protocol`` behind in later ones; datagrams of an association without a target
          keep their addresses.

UDP: the request has ``X-Gost-Protocol: udp``, and the stream carries tunnel frames.
"""

from __future__ import annotations

import base64
from typing import Any

from gostpy.errors import ConnectFailed, ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import PacketConn
from gostpy.net.timers import timeout
from gostpy.processing.http.options import ConnectorOptions, header_lines
from gostpy.stream.http1 import read_response
from gostpy.wire.http1 import RequestHead

__all__ = ["Connector"]

_OWN = ("Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer")
_USER_AGENT = "Go-http-client/1.1"


class Connector:
    """See the module's description."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self._timeout = options.timeout
        given = header_lines(options.header)
        self._agent = next((v for name, v in given if name == "User-Agent"), _USER_AGENT)
        lines = {name: value for name, value in given if name not in _OWN}
        lines["Proxy-Connection"] = "keep-alive"
        if context.auth:
            pair = f"{context.auth.username}:{context.auth.password}".encode()
            lines["Proxy-Authorization"] = "Basic " + base64.b64encode(pair).decode()
        self._tcp_lines = sorted(lines.items())
        self._udp_lines = sorted({**lines, "X-Gost-Protocol": "udp"}.items())

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """Raises ConnectFailed: the proxy refused, with its status line."""
        udp = request.network.startswith("udp")
        if not udp and not request.network.startswith("tcp"):
            raise Unsupported(f"the http connector cannot carry {request.network}")
        if isinstance(conn, PacketConn):
            raise Unsupported("the http connector needs a byte stream")
        head = self._request(request.address, udp)
        with timeout(self._timeout, "no answer to CONNECT in time"):
            conn.sendall(head)
            response = read_response(conn)
        if response.status != 200:
            status = f"{response.status} {response.reason}".strip()
            raise ConnectFailed(f"proxy answered {status}", address=request.address)
        return TunnelConn(conn, peer=request.address) if udp else conn

    def _request(self, address: str, udp: bool) -> bytes:
        host = _in_ascii(address)
        agent = [("User-Agent", self._agent)] if self._agent else []
        lines = [("Host", host), *agent, *(self._udp_lines if udp else self._tcp_lines)]
        return RequestHead("CONNECT", host, 1, lines).encode()


def _in_ascii(address: str) -> str:
    """``host:port`` as it can stand in a request line. Raises ProtocolError: it cannot."""
    if address.isascii():
        if any(character <= " " or character == "\x7f" for character in address):
            raise ProtocolError(f"{address!r} cannot be asked for by HTTP")
        return address
    host, separator, port = address.rpartition(":")
    try:
        return host.encode("idna").decode() + separator + port
    except UnicodeError as error:
        raise ProtocolError(f"{address!r} is no host name") from error
