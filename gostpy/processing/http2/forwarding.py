"""Plain requests of HTTP/2 clients, carried out by HTTP/1.1.

Wire      Host from ``:authority``; Proxy-Authorization, Proxy-Connection, Gost-Target and
          X-Gost-Target are dropped; a body of unknown length is sent in chunks. The response comes
          back without the lines that belong to a connection
Source    RFC 9113 section 8.3; go-gost/x handler/http2/handler.go forwardRequest
Differs   ``Expect`` is not passed on; a response that breaks off resets the stream (gost ends it
          as if it were complete).

Bodies stream both ways at once. A client that resets its stream ends the upstream connection.
"""

from __future__ import annotations

from contextlib import suppress

import gevent

from gostpy.errors import ConnectionClosed, GostError, ProtocolError
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.metered import join
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.stream.http1 import body_pieces, read_response
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import RequestHead, ResponseHead
from gostpy.wire.http2headers import is_sendable

__all__ = ["ask", "forward", "give_back"]

_DROPPED = frozenset(
    {
        "expect",
        "gost-target",
        "host",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "x-gost-target",
    }
)
_HOP_LINES = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"}
)
_LAST_CHUNK = b"0\r\n\r\n"

Lines = list[tuple[str, str]]


def forward(
    context: HandlerContext,
    exchange: StreamExchange,
    upstream: Conn,
    request: Request,
    lines: Lines,
    wait: float,
) -> None:
    """Carry out one request and close its upstream conn.

    Args:
        lines: header lines added to the answer.
        wait: seconds for the response's head, 0 = none.
    Raises:  GostError, OSError: it failed, and the client was told if that was still possible.
    """
    started = timers.now()
    if context.limit is not None:
        exchange.meter = join(exchange.meter, context.limit(request.client_id, request.source))
    exchange.conn.meter = exchange.meter
    upload = _Upload(exchange, upstream)
    returned = 0
    try:
        response = ask(upload, wait)
        returned = give_back(exchange, upstream, response, lines)
    except BaseException:
        if exchange.answered:
            exchange.close(True)
        else:
            with suppress(ConnectionClosed):
                exchange.respond(503, lines, end=True)
        raise
    finally:
        upload.stop()
        upstream.close(True)
    context.finished(request, started, upload.size, returned)


def ask(upload: _Upload, wait: float = 0.0) -> ResponseHead:
    """Send the request and await the answer. Raises ProtocolError, OSError, TimeoutError."""
    upload.start()
    with timeout(wait, "no HTTP response in time"):
        while True:
            response = read_response(upload.upstream)
            if response.status == 101:
                raise ProtocolError("the origin switched protocols")
            if response.status >= 200:
                return response


def give_back(
    exchange: StreamExchange, upstream: Conn, response: ResponseHead, lines: Lines
) -> int:
    """Send a response to the client. Raises ProtocolError, OSError. Returns the body's size."""
    framing = response.framing(exchange.request.method)
    own = {name for name, _ in lines}
    fields = [
        (name.lower(), value)
        for name, value in response.items
        if name.lower() not in _HOP_LINES and name.lower() not in own and is_sendable(name, value)
    ]
    if not framing:
        exchange.respond(response.status, [*lines, *fields], end=True)
        return 0
    conn = exchange.respond(response.status, [*lines, *fields])
    size = 0
    for piece in body_pieces(upstream, framing, True):
        size += len(piece)
        conn.sendall(piece)
    conn.shut()
    return size


class _Upload:
    """The request on its way: the head at once, the body by a green thread of its own.

    Afterwards it is the sink of the client's conn, to hear of its reset.
    """

    def __init__(self, exchange: StreamExchange, upstream: Conn) -> None:
        self.upstream = upstream
        self.size = 0
        self._exchange = exchange
        self._task: gevent.Greenlet | None = None

    def start(self) -> None:
        """Send the head. Raises OSError."""
        exchange = self._exchange
        head = _origin_head(exchange)
        self.upstream.sendall(head.encode())
        if exchange.has_body:
            self._task = gevent.spawn(self._run, "transfer-encoding" in head.fields)
        else:
            self._listen()

    def _run(self, chunked: bool) -> None:
        conn, upstream = self._exchange.conn, self.upstream
        while True:
            try:
                data = conn.recv()
            except (GostError, OSError):  # the client has left: nobody waits for an answer
                upstream.close(True)
                return
            self.size += len(data)
            if chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            try:
                upstream.sendall(data)
            except OSError:
                return  # an answer may be there all the same, and says why
            if not data or data == _LAST_CHUNK:
                break
        self._listen()

    def _listen(self) -> None:
        conn = self._exchange.conn
        if not conn.closed:
            conn.sink = self
            conn.endpoint.start()

    def stop(self) -> None:
        """The exchange is over."""
        if self._task is not None:
            self._task.kill()
        if self._exchange.conn.sink is self:
            self._exchange.conn.sink = None

    def data(self, data: Buffer) -> None:
        """Nothing comes behind the end."""

    def eof(self) -> None:
        """That end is known."""

    def fail(self, error: BaseException) -> None:
        self.upstream.close(True)


def _origin_head(exchange: StreamExchange) -> RequestHead:
    """The request as an origin gets it."""
    asked = exchange.request
    items = [("Host", asked.authority)]
    names = {name for name, _ in asked.headers}
    if "user-agent" not in names:
        items.append(("User-Agent", "Go-http-client/1.1"))
    cookies = [value for name, value in asked.headers if name == "cookie"]
    for name, value in asked.headers:
        if name not in _DROPPED and name != "cookie":
            items.append(("-".join(part.capitalize() for part in name.split("-")), value))
    if cookies:  # RFC 9113 section 8.2.3
        items.append(("Cookie", "; ".join(cookies)))
    if exchange.has_body and "content-length" not in names:
        items.append(("Transfer-Encoding", "chunked"))
    return RequestHead(asked.method, asked.path, 1, items)
