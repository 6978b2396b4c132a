"""http2: the transport of the http2 proxy: every request of a client is an exchange.

Wire      TLS with ALPN ``h2`` and ``http/1.1``; an HTTP/1.1 client's conn is delivered as it is
Source    RFC 9113; go-gost/x listener/http2, dialer/http2
Differs   gost's dialer makes a connection and throws it away before the first it uses. What it
          hands to the connector here is a stream that has no request yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.stream.http2 import Config, Session
from gostpy.stream.http2accept import FIRST_TIMEOUT, begins_http2
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.http2 import DEFAULT_FRAME_SIZE

__all__ = ["DialOptions", "ListenOptions", "Mux"]

_CONFIG = Config(frame_size=DEFAULT_FRAME_SIZE)
"""Browsers and other clients upload little, and expect what everybody says."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    backlog: int = opt(
        128,
        "backlog",
        unit="connections",
        positive=True,
        effect=False,
        doc="Requests that wait for the handler; here none has to wait.",
    )


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has none."""


class Mux:
    """Makes sessions of both sides."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._context = context

    def serve(self, conn: Conn, deliver: Deliver) -> Session | None:
        """Deliver an exchange for each request."""
        with timeout(FIRST_TIMEOUT, "no HTTP request in time"):
            known = begins_http2(conn)
        if not known:
            deliver(conn)
            return None
        session = Session(conn, False, lambda stream: deliver(StreamExchange(stream)), _CONFIG)
        session.on_close = self._ended
        session.start()
        return session

    def connect(self, conn: Conn) -> Session:
        """A session whose streams the connector makes its requests on."""
        session = Session(conn, True)
        session.start()
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"http2: {error}", remote=session.conn.info.peer_address)
