"""Handler ``http3``: a reverse proxy: requests of HTTP/3 clients go to a node of the forwarder.

Order     request rate, host (400), bypass (403), node (503), dial (502), then the request by
          HTTP/1.1 with X-Forwarded-For and the client's Host
Source    go-gost/x handler/http3/handler.go
Differs   Without a node, and over the request rate, the client gets a status (gost: an empty 200).
          CONNECT is refused by 405.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError, Denied, GostError, LimitExceeded, ProtocolError, Unsupported
from gostpy.interfaces import Request
from gostpy.options import no_effect, opt
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.http2.forwarding import forward
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.address import split_target
from gostpy.wire.http1 import with_port
from gostpy.wire.http2headers import configured_lines

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions:
    """Options of the handler."""

    header: dict[str, Any] = opt({}, "header", doc="Header lines added to every answer.")
    probe_resist: str = no_effect(
        "probeResistance", "probe_resist", doc="Read by gost, and never used."
    )
    knock: str = no_effect("knock", doc="Read by gost, and never used.")
    hash: str = opt(
        "", "hash", choices=("", "host"), doc="What the hash selector uses: host, else client IP."
    )


class Handler:
    """See the module's description. Raises ConfigError: a header that HTTP cannot carry."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        if context.hop is None:
            raise ConfigError("the http3 handler is a reverse proxy: it needs a forwarder's nodes")
        self._context = context
        self._by_host = options.hash == "host"
        self._lines = list(configured_lines(options.header).items())

    def handle(self, exchange: Any) -> None:
        if not isinstance(exchange, StreamExchange):
            raise Unsupported("the http3 handler needs the http3 listener")
        context = self._context
        try:
            context.check_rate(exchange)
        except LimitExceeded:
            self._refuse(exchange, 429)
            raise
        request = self._admit(exchange)
        node = self._choose(exchange, request)
        try:
            upstream = dial_node(context.dial, request, node)
        except (GostError, OSError):
            self._refuse(exchange, 502)
            raise
        exchange.request = _forwarded(exchange)
        forward(context, exchange, upstream, request, self._lines, 0.0)

    def _admit(self, exchange: StreamExchange) -> Request:
        """What is asked for. Raises ProtocolError, Denied: it was refused, and told so."""
        asked = exchange.request
        try:
            if asked.protocol or not asked.authority:
                raise ProtocolError("a request without a host, or for another protocol")
            host = split_target(asked.authority)[0]
            address = with_port(asked.authority, 80)
        except ProtocolError:
            self._refuse(exchange, 400)
            raise
        if asked.method == "CONNECT":
            self._refuse(exchange, 405)
            raise ProtocolError("CONNECT to a reverse proxy")
        path, _, query = asked.path.partition("?")
        headers: dict[str, list[str]] = {}
        for name, value in asked.headers:
            headers.setdefault(name, []).append(value)
        request = self._context.request(
            exchange,
            "udp",
            address,
            host=host,
            protocol="http",
            method=asked.method,
            path=path,
            query=query,
            headers=headers,
        )
        if self._by_host:
            request.hash_source = address
        try:
            self._context.check_bypass(request)  # for gost this is traffic by udp
        except Denied:
            self._refuse(exchange, 403)
            raise
        request.network = "tcp"
        return request

    def _choose(self, exchange: StreamExchange, request: Request) -> Any:
        """The node, whose address the request gets. Raises DialFailed."""
        hop = self._context.hop
        try:
            node = hop.select(request) if hop is not None else None
            if node is None:
                raise Unsupported("no target is available for this request")
        except GostError:
            self._refuse(exchange, 503)
            raise
        request.address = with_port(node.address, 80)
        return node

    def _refuse(self, exchange: StreamExchange, status: int) -> None:
        exchange.respond(status, self._lines, end=True)


def _forwarded(exchange: StreamExchange) -> Any:
    """The request with the client's address in X-Forwarded-For."""
    asked = exchange.request
    peer = exchange.info.peer
    known = [value for name, value in asked.headers if name == "x-forwarded-for"]
    chain = ", ".join([*known, str(peer[0])] if isinstance(peer, tuple) else known)
    rest = tuple(field for field in asked.headers if field[0] != "x-forwarded-for")
    return dataclasses.replace(asked, headers=(*rest, ("x-forwarded-for", chain)))
