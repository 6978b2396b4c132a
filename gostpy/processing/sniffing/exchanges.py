"""Sniffed HTTP/1: the requests of one client's connection, sent to one upstream conn.

Source    go-gost/x internal/util/sniffing and internal/util/forwarder
Differs   Lines keep their order and case, nothing is added to requests. A chunked response leaves
          the connection open; one of unknown length ends it, as in gost.
"""

from __future__ import annotations

from collections.abc import Callable

from gostpy.errors import GostError, ProtocolError
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing.nodes import NodeRules
from gostpy.stream.http1 import Exchange, read_request
from gostpy.wire.http1 import RequestHead, ResponseHead, response

__all__ = ["Exchanges", "refuse"]

_NO_BODY = ("Content-Length", "0")


def refuse(conn: Conn, head: RequestHead, status: int, *lines: tuple[str, str]) -> None:
    """Answer without a body."""
    conn.sendall(response(status, [_NO_BODY, *lines], version=head.version))


class Exchanges:
    """The request loop.

    Args:
        timeout: seconds for a response's head.
        rules: of the forwarder's node, None for a proxy's target.
        answers: tell the client about failures (forward handlers do, proxies just close).
        stays: whether a later request may go the way of the first; None: all do. Requests that were
            routed become origin form.
        say_close: every response has ``Connection: close``; the conn may be used on all the same.
    """

    def __init__(
        self,
        context: HandlerContext,
        timeout: float,
        *,
        rules: NodeRules | None = None,
        answers: bool = False,
        stays: Callable[[RequestHead], bool] | None = None,
        say_close: bool = False,
    ) -> None:
        self._context = context
        self._timeout = timeout
        self._rules = rules
        self._answers = answers
        self._stays = stays
        self._say_close = say_close

    def serve(
        self, conn: Conn, upstream: Conn, head: RequestHead | None, request: Request
    ) -> RequestHead | None:
        """From the first request until one side ends; ``upstream`` is closed then.

        Returns: a request that must go another way, None when the client is done.
        Raises:  GostError, OSError.
        """
        limit = self._context.limit
        # the conn's own meter is paid by the conn
        meter = limit(request.client_id, request.source) if limit is not None else None
        try:
            while head is not None:
                started = timers.now()
                with Exchange(conn, upstream, head, self._timeout, meter) as exchange:
                    switched, keep = self._one(exchange, request)
                if switched:
                    return None
                self._context.finished(request, started, exchange.received, exchange.returned)
                head = read_request(conn) if keep else None
                if head is not None and self._stays is not None and not self._stays(head):
                    break
        except BaseException:
            upstream.close(True)
            raise
        upstream.close()
        return head

    def _one(self, exchange: Exchange, request: Request) -> tuple[bool, bool]:
        """One exchange: whether the conns were handed over, and whether another may follow."""
        head, conn = exchange.request, exchange.conn
        rules = self._rules
        if rules is not None and not rules.admits(head):
            refuse(conn, head, 401, ("WWW-Authenticate", "Basic"))
            return False, False
        keep = not head.wants_close
        upgrade = head.upgrade
        try:
            self._prepare(head)
            exchange.send()
            response = exchange.response()
        except (GostError, OSError):
            if self._answers:
                refuse(conn, head, 503)
            raise
        if response.status == 101:
            self._switch(exchange, response, request, upgrade)
            return True, False
        keep = keep and not response.wants_close and exchange.delimited and exchange.uploaded
        rewrite = rules.edit_response(response) if rules is not None else None
        exchange.answer(response, keep, say_close=self._say_close, rewrite=rewrite)
        return False, keep and exchange.clean

    def _prepare(self, head: RequestHead) -> None:
        if not head.version:  # the origin is asked by HTTP/1.1
            if head.wants_close:
                head.set("Connection", "close")
            else:
                head.remove("connection")
        if self._stays is not None and head.scheme:
            head.target = head.path
            head.set("Host", head.authority)
        if self._rules is not None:
            self._rules.edit_request(head)

    def _switch(
        self, exchange: Exchange, response: ResponseHead, request: Request, asked: str
    ) -> None:
        if response.upgrade != asked or not asked:
            raise ProtocolError(f"origin switched to {response.upgrade!r}, not to {asked!r}")
        if self._rules is not None:
            self._rules.edit_response(response)
        exchange.conn.sendall(response.encode())
        self._context.relay(exchange.conn, exchange.upstream, request)
