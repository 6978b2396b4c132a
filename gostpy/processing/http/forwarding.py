"""Plain forwarding: requests for ``http://`` URLs, one after the other on a client's connection.

Wire      the request line becomes origin form, Host that of the URL; Proxy-Authorization,
          Proxy-Connection, Gost-Target, X-Gost-Target and the connection's own lines are dropped;
          ``Connection: close`` goes upstream unless ``keepalive``
Source    RFC 9112 sections 3.2.2 and 9; go-gost/x handler/http/handler.go
Differs   Header lines keep their order and case. The client's connection stays open also after
          chunked responses and when the origin closes its own; it is closed when the client asked
          for that. ``Expect: 100-continue`` and provisional responses are passed on.

Connections to origins that may be used again wait at most 30 s, for requests of the same client.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import GostError, ProtocolError
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.processing.context import HandlerContext
from gostpy.stream.http1 import Exchange
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import RequestHead, ResponseHead, response

__all__ = ["Forwarder"]

_IDLE = 30.0
_MOST_IDLE = 1024
_HOP_LINES = (
    "connection",
    "gost-target",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "x-gost-target",
)
_REPLAYABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_Key = tuple[str, str, str]


class Forwarder:
    """Plain forwarding of one handler, with its idle connections.

    Args:
        timeout: seconds for a response's head, 0 = none.
    """

    def __init__(self, context: HandlerContext, *, keepalive: bool, timeout: float) -> None:
        self._context = context
        self._idle = _Idle() if keepalive else None
        self._timeout = timeout

    def forward(self, conn: Conn, head: RequestHead, request: Request) -> bool:
        """Carry out one request; whether the client's conn may bring another.

        Raises GostError, OSError: it failed, and the client was told if that was still possible.
        """
        started = timers.now()
        keep = not head.wants_close
        upgrade = head.upgrade
        try:
            _prepare(head, upgrade, self._idle is not None)
            exchange, response, upstream = self._ask(conn, head, request)
        except (GostError, OSError):
            conn.sendall(_unavailable(head))
            raise
        with exchange:
            try:
                if response.status == 101:
                    self._switch(conn, upstream, request, response, upgrade)
                    return False
                keep = keep and exchange.delimited and exchange.uploaded
                reusable = not response.wants_close
                exchange.answer(response, keep)
            except BaseException:
                upstream.close(True)
                raise
        if self._idle is not None and exchange.clean and reusable:
            self._idle.give(_key(request), upstream)
        else:
            upstream.close()
        self._context.finished(request, started, exchange.received, exchange.returned)
        return keep and exchange.clean

    def _ask(
        self, conn: Conn, head: RequestHead, request: Request
    ) -> tuple[Exchange, ResponseHead, Conn]:
        """Send the request over a conn that waits, else over a new one, and await the answer.

        A conn that waited may be gone at the other end: a request without a body that may be
        repeated is sent once more over a new one.
        """
        limit = self._context.limit
        # the conn's own meter is paid by the conn
        meter = limit(request.client_id, request.source) if limit is not None else None
        waiting = self._idle.take(_key(request)) if self._idle is not None else None
        while True:
            upstream = waiting if waiting is not None else self._context.dial(request)
            exchange = Exchange(conn, upstream, head, self._timeout, meter)
            try:
                exchange.send()
                return exchange, exchange.response(), upstream
            except BaseException as error:
                exchange.stop()
                upstream.close(True)
                again = waiting is not None and head.method in _REPLAYABLE and not head.framing
                if not again or not isinstance(error, ProtocolError | ConnectionError):
                    raise
                waiting = None

    def _switch(
        self, conn: Conn, upstream: Conn, request: Request, response: ResponseHead, asked: str
    ) -> None:
        """The origin switches protocols: from now on bytes are relayed as they are."""
        if response.upgrade != asked or not asked:
            raise ProtocolError(f"origin switched to {response.upgrade!r}, not to {asked!r}")
        conn.sendall(response.encode())
        self._context.relay(conn, upstream, request)


def _prepare(head: RequestHead, upgrade: str, keepalive: bool) -> None:
    """Turn a proxy request into one for the origin. Raises ProtocolError."""
    if not head.framing and head.get("expect"):
        head.remove("expect")  # nothing follows that could be continued
    connection = ", ".join(head.all("connection")) if upgrade else "close"
    head.remove(*_HOP_LINES)
    head.items.insert(0, ("Host", head.authority))
    if "user-agent" not in head.fields:
        head.items.insert(1, ("User-Agent", "Go-http-client/1.1"))
    if upgrade or not keepalive:
        head.items.append(("Connection", connection))
    head.target = head.path


def _unavailable(head: RequestHead) -> bytes:
    return response(503, [("Content-Length", "0")], version=head.version)


def _key(request: Request) -> _Key:
    """Who may share a waiting conn: routes may depend on the client."""
    return request.address, request.client_id, request.source.rpartition(":")[0]


class _Idle:
    """Conns to origins that wait for another request."""

    def __init__(self) -> None:
        self._conns: dict[_Key, list[_Waiting]] = {}
        self._count = 0

    def give(self, key: _Key, conn: Conn) -> None:
        """Keep a conn, unless there are too many."""
        if self._count >= _MOST_IDLE or conn.buffered:
            conn.close()
            return
        waiting = _Waiting(self, key, conn)
        self._conns.setdefault(key, []).append(waiting)
        self._count += 1
        waiting.start()

    def take(self, key: _Key) -> Conn | None:
        """The conn that was used last."""
        waiting = self._conns.get(key)
        if not waiting:
            return None
        latest = waiting[-1]
        self.forget(latest)
        latest.stop()
        return latest.conn

    def forget(self, waiting: _Waiting) -> None:
        conns = self._conns.get(waiting.key)
        if conns is not None and waiting in conns:
            conns.remove(waiting)
            self._count -= 1
            if not conns:
                del self._conns[waiting.key]


class _Waiting:
    """Sink of a waiting conn: whatever comes before the next request ends it."""

    __slots__ = ("_expiry", "_owner", "conn", "key")

    def __init__(self, owner: _Idle, key: _Key, conn: Conn) -> None:
        self._owner = owner
        self.key = key
        self.conn = conn
        self._expiry: timers.Entry | None = None

    def start(self) -> None:
        self._expiry = timers.after(_IDLE, self.eof)
        self.conn.sink = self
        self.conn.endpoint.start()

    def stop(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self.conn.endpoint.pause()
        self.conn.sink = None

    def data(self, data: Buffer) -> None:
        self.eof()

    def fail(self, error: BaseException) -> None:
        self.eof()

    def eof(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._owner.forget(self)
        conn: Any = self.conn
        conn.close()
