"""h2, h2c: each conn is one HTTP/2 stream, over TLS (h2) or without (h2c).

Wire      CONNECT with the node's address as ``:authority``, or GET of ``path``; 200, then bytes as
          DATA both ways. A listener of h2c takes clients with prior knowledge and by
          ``Upgrade: h2c``
Source    RFC 9113 section 8.5; go-gost/x listener/http2/h2, dialer/http2/h2
Differs   ``host`` of a dialer is told to the node, but not dialed (gost dials it). An HTTP/1.1
          request that asks for a tunnel is answered by 426 (gost: 200 and a body).

A listener without ``path`` answers other methods than CONNECT by 405; with one, other paths by 400.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError, ConnectionClosed, HandshakeFailed, ProtocolError
from gostpy.interfaces import Context, Deliver, ExchangeRequest
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.stream.http2 import Session, Stream
from gostpy.stream.http2accept import accept_http2, date, set_source
from gostpy.wire.http1 import RequestHead, is_field, response
from gostpy.wire.http2headers import configured_lines

__all__ = ["DialOptions", "ListenOptions", "Mux", "SecureMux", "TunnelSession"]

USER_AGENT = "Go-http-client/2.0"

ANSWER_TIMEOUT = 15.0
"""Seconds for a node to answer the request for a tunnel."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    path: str = opt("", "path", doc="URL path that clients ask for; empty: they use CONNECT.")
    backlog: int = opt(
        128,
        "backlog",
        unit="connections",
        positive=True,
        effect=False,
        doc="Streams that wait for the handler; here none has to wait.",
    )


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    host: str = opt("", "host", doc="Host that is asked for; empty = the node's address.")
    path: str = opt("", "path", doc="URL path to ask for by GET; empty: CONNECT is used.")
    header: dict[str, Any] = opt({}, "header", doc="Header lines added to requests.")


class Mux:
    """Makes sessions of both sides. Raises ConfigError: a header that HTTP cannot carry."""

    secure = False

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._context = context
        self._path = options.path
        self._fields: list[tuple[str, str]] = []
        if isinstance(options, DialOptions):
            self._fields = self._request(options)

    # -- dialing side ----------------------------------------------------------------------------

    def _request(self, options: DialOptions) -> list[tuple[str, str]]:
        authority = options.host or self._context.address
        if not is_field("host", authority):
            raise ConfigError(f"host: {authority!r} cannot be sent in a request")
        fields = [(":authority", authority)]
        if options.path:
            if not is_field("path", options.path) or not options.path.startswith("/"):
                raise ConfigError(f"path: {options.path!r} cannot be asked for")
            scheme = "https" if self.secure else "http"
            fields += [(":method", "GET"), (":path", options.path), (":scheme", scheme)]
        else:
            fields.append((":method", "CONNECT"))
        own = configured_lines(options.header)
        own.setdefault("accept-encoding", "gzip")
        own.setdefault("user-agent", USER_AGENT)
        return fields + list(own.items())

    def connect(self, conn: Conn) -> TunnelSession:
        session = TunnelSession(conn, self._fields)
        session.start()
        return session

    # -- listening side --------------------------------------------------------------------------

    def serve(self, conn: Conn, deliver: Deliver) -> Session | None:
        """Deliver the stream of each request that asks for a tunnel."""
        found = accept_http2(
            conn, lambda stream: self._accept(stream, deliver), upgrade=not self.secure
        )
        if isinstance(found, Session):
            found.on_close = self._ended
            return found
        if found is not None:
            conn.sendall(response(self._refusal(found), [("Connection", "close")]))
        conn.close()
        return None

    def _refusal(self, head: RequestHead) -> int:
        if self._path:
            return 426 if head.target == self._path else 400
        return 426 if head.method == "CONNECT" else 405

    def _accept(self, stream: Stream, deliver: Deliver) -> None:
        """On the hub: a client has opened a stream."""
        request, conn = stream.request, stream.conn
        assert request is not None and conn is not None
        status = self._status(request)
        if status != 200:
            stream.respond(status, [("content-length", "0"), ("date", date())], end=True)
            conn.close()
            return
        stream.respond(status, [("date", date())])
        set_source(conn.info, request)
        deliver(conn)

    def _status(self, request: ExchangeRequest) -> int:
        if self._path:
            return 200 if (request.path or request.authority) == self._path else 400
        return 200 if request.method == "CONNECT" and not request.protocol else 405

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"h2: {error}", remote=session.conn.info.peer_address)


class SecureMux(Mux):
    """Over TLS."""

    secure = True


class TunnelSession(Session):
    """A client's session whose streams are tunnels."""

    def __init__(self, conn: Conn, fields: list[tuple[str, str]]) -> None:
        super().__init__(conn, True)
        self._fields = fields
        self._proved = False  # a request was answered

    def open(self) -> Conn:
        """A tunnel.

        Raises HandshakeFailed: the node refuses. TimeoutError: it does not answer.
        ConnectionClosed: the session has ended, another one may do better.
        """
        conn = super().open()
        stream = conn.endpoint
        assert isinstance(stream, Stream)
        try:
            stream.ask(self._fields)
            with timeout(ANSWER_TIMEOUT, "the node does not answer"):
                answer = stream.response()
            self._proved = True
            if answer.status != 200:
                raise HandshakeFailed(f"the node answered {answer.status} instead of 200")
        except ConnectionClosed as error:
            conn.close(True)
            if self._proved:
                raise
            raise HandshakeFailed(str(error)) from error
        except BaseException:
            conn.close(True)
            raise
        return conn
