"""h3 (also the dialer ``http3``): PHT over HTTP/3: conns made of ordinary requests, as pht's.

Wire      GET authorize, GET pull, POST push with lines of base64, each a stream of one QUIC
          connection
Source    gost's listener/http3/h3 and dialer/http3
Differs   as pht
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.channel.pht import paths_of
from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.dial import split_address
from gostpy.options import no_effect, opt
from gostpy.stream.http3 import Session
from gostpy.stream.pht import Tunnels
from gostpy.stream.phtclient import Client
from gostpy.stream.phthttp2 import Requests, Served
from gostpy.stream.quic import Quic
from gostpy.wire.address import join_address

__all__ = ["DialOptions", "ListenOptions", "Mux"]

_AGENT = "quic-go HTTP/3"
_MOST_STREAMS = 48
"""A server lets 100 be open; every tunnel has a pull, and a push now and then."""


@dataclass(frozen=True)
class PathOptions:
    """Where the requests are."""

    authorize_path: str = opt(
        "/authorize", "pht.authorizePath", "authorizePath", doc="Path that gives tokens away."
    )
    push_path: str = opt("/push", "pht.pushPath", "pushPath", doc="Path of uploads.")
    pull_path: str = opt("/pull", "pht.pullPath", "pullPath", doc="Path of downloads.")


@dataclass(frozen=True)
class ListenOptions(PathOptions):
    """Options of the listening side."""

    backlog: int = no_effect("backlog", kind="int", doc="Conns are handled at once here.")


@dataclass(frozen=True)
class DialOptions(PathOptions):
    """Options of the dialing side."""

    host: str = opt("", "host", doc="Host of the requests; empty = the node's.")


class Mux:
    """Tunnels; those of a listener are common to all its connections."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._options = options
        self._context = context
        self._paths = paths_of(options)
        self._tunnels: Tunnels | None = None

    def serve(self, quic: Quic, deliver: Deliver) -> Session:
        """Answer the requests of a connection."""
        tunnels = self._tunnels
        if tunnels is None:
            tunnels = self._tunnels = Tunnels(self._paths, deliver)
        session = Session(quic, False, lambda stream: Served(stream).start(tunnels))
        session.on_close = self._ended
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"h3: {error}", remote=session.quic.info.peer_address)

    def connect(self, quic: Quic) -> Client:
        """A session whose first tunnel is authorized. Raises HandshakeFailed, OSError."""
        client = Client(self._paths, quic.info)

        def lost(error: BaseException) -> None:
            client.lost(error or ConnectionClosed("session is closed"))

        session = Session(quic, True)
        requests = Requests(session, self._host(), [], lost, _AGENT, _MOST_STREAMS)
        try:
            client.begin(requests)
        except BaseException:
            quic.close(True)
            raise
        return client

    def _host(self) -> str:
        """``host:port``: gost puts the node's port behind any name."""
        host, port = split_address(self._context.address)
        given = self._options.host if isinstance(self._options, DialOptions) else ""
        if given:
            host = split_address(given)[0] or given
        return join_address(host, int(port))
