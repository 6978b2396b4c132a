"""pht, phts: gost's plain HTTP tunnel: conns made of ordinary requests, which any proxy lets by.

The client gets a token from ``authorize``, reads by asking for ``pull`` and writes by ``push``;
data are lines of base64. phts uses HTTP/2 when both sides agree on it by ALPN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.dial import split_address
from gostpy.options import no_effect, opt
from gostpy.stream import phthttp1, phthttp1client
from gostpy.stream.pht import Paths, Tunnels
from gostpy.stream.phtclient import Client, Requests
from gostpy.wire.address import join_address
from gostpy.wire.http1 import canonical, is_field

__all__ = ["DialOptions", "ListenOptions", "Mux"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    authorize_path: str = opt("/authorize", "authorizePath", doc="Path that gives tokens away.")
    push_path: str = opt("/push", "pushPath", doc="Path of uploads.")
    pull_path: str = opt("/pull", "pullPath", doc="Path of downloads.")
    backlog: int = no_effect("backlog", kind="int", doc="Conns are handled at once here.")


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    authorize_path: str = opt("/authorize", "authorizePath", doc="Path that gives tokens away.")
    push_path: str = opt("/push", "pushPath", doc="Path of uploads.")
    pull_path: str = opt("/pull", "pullPath", doc="Path of downloads.")
    host: str = opt("", "host", doc="Host of the requests; empty = the node's.")
    header: dict[str, str] = opt({}, "header", since="3.3", doc="Further headers of the requests.")


def paths_of(options: Any) -> Paths:
    """The three paths; one that does not begin with ``/`` is the default, as in gost."""
    default = Paths()
    return Paths(
        *(
            given if given.startswith("/") else usual
            for given, usual in (
                (options.authorize_path, default.authorize),
                (options.push_path, default.push),
                (options.pull_path, default.pull),
            )
        )
    )


def _is_http2(conn: Conn) -> bool:
    return conn.info.tls is not None and conn.info.tls.alpn == "h2"


class Mux:
    """Tunnels; a session of the dialing side uses several connections over HTTP/1.1."""

    counts_streams = True

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._paths = paths_of(options)
        self._tunnels: Tunnels | None = None

    def serve(self, conn: Conn, deliver: Deliver) -> None:
        """Answer the requests of a connection; tunnels are those of the listener."""
        tunnels = self._tunnels
        if tunnels is None:
            tunnels = self._tunnels = Tunnels(self._paths, deliver)
        info = conn.info
        if _is_http2(conn):
            from gostpy.stream import phthttp2  # only where it is agreed upon

            phthttp2.serve(conn, tunnels, lambda error: self._ended(info, error))
        else:
            phthttp1.serve(conn, tunnels, lambda error: self._ended(info, error))

    def _ended(self, info: ConnInfo, error: BaseException) -> None:
        tell = self.context.log.warn if isinstance(error, ProtocolError) else self.context.log.debug
        tell(f"pht: {error}", remote=info.peer_address)

    def gather(self, establish: Callable[[], Conn]) -> Client:
        """A session, and its first connection. Raises HandshakeFailed, OSError."""
        first = establish()
        session = Client(self._paths, first.info)
        host, headers = self._host(), self._headers()
        requests: Requests
        if _is_http2(first):
            from gostpy.stream import phthttp2
            from gostpy.stream.http2 import Config
            from gostpy.stream.http2 import Session as Http2

            http2 = Http2(first, True, None, Config(paced=False))
            named = [(name.lower(), value) for name, value in headers]
            requests = phthttp2.Requests(http2, host, named, session.lost)
        else:
            requests = phthttp1client.Requests(establish, first, host, headers, session.lost)
        session.begin(requests)
        return session

    def _host(self) -> str:
        """``host:port``: gost puts the node's port behind any name."""
        host, port = split_address(self.context.address)
        given = self.options.host if isinstance(self.options, DialOptions) else ""
        if given:
            host = split_address(given)[0] or given
        return join_address(host, int(port))

    def _headers(self) -> list[tuple[str, str]]:
        given = self.options.header if isinstance(self.options, DialOptions) else {}
        fields = [(canonical(name), value) for name, value in sorted(given.items())]
        return [field for field in fields if is_field(*field) and field[0] not in _OURS]


_OURS = frozenset(["Host", "Content-Length", "Transfer-Encoding", "Connection"])
