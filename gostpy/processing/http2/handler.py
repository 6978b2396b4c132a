"""Handler ``http2``: CONNECT and plain requests of HTTP/2 clients.

Order     rate limit, host (400), login (407 or a decoy), bypass (403), dial (503), then 200 and
          relay for CONNECT, else the request is forwarded by HTTP/1.1
Source    RFC 9113 section 8.5; go-gost/x handler/http2/handler.go
Differs   An HTTP/1.1 client of the http2 listener is served as by handler ``http`` (gost hijacks
          its connection on CONNECT and claims a chunked body). ``knock`` holds for plain requests
          too. A refused request gets a status (gost: an empty 200 over the request rate). Nothing
          of a client that gives up is left waiting.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import AuthFailed, ConfigError, Denied, GostError, ProtocolError, Unsupported
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.processing import http
from gostpy.processing.context import HandlerContext
from gostpy.processing.http.login import basic_pair, hidden_target
from gostpy.processing.http.probe import parse_probe
from gostpy.processing.http2.decoy import Decoy
from gostpy.processing.http2.forwarding import forward
from gostpy.processing.http2.options import HandlerOptions
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.address import split_target
from gostpy.wire.http1 import is_field, with_port
from gostpy.wire.http2headers import configured_lines

__all__ = ["Handler"]


class Handler:
    """See the module's description. Raises ConfigError: a header that HTTP cannot carry."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self._context = context
        self._by_host = options.hash == "host"
        self._wait = max(options.read_timeout, 0.0)
        self._lines = list(configured_lines(options.header).items())
        realm = options.realm or "gost"
        if not is_field("x", realm):
            raise ConfigError(f"authBasicRealm: {realm!r} cannot be sent in an HTTP header line")
        self._challenge = ("proxy-authenticate", f'Basic realm="{realm}"')
        probe = parse_probe(options.probe_resist, options.knock)
        self._decoy = Decoy(probe, self._lines, context) if probe is not None else None
        self._http1 = http.Handler(
            http.HandlerOptions(
                header=options.header,
                probe_resist=options.probe_resist,
                knock=options.knock,
                hash=options.hash,
                realm=options.realm,
                read_timeout=options.read_timeout or 15.0,
            ),
            context,
        )

    def handle(self, exchange: Any) -> None:
        if isinstance(exchange, Conn):
            self._http1.handle(exchange)
            return
        if not isinstance(exchange, StreamExchange):
            raise Unsupported("the http2 handler needs the http2 listener")
        context = self._context
        context.check_rate(exchange)
        request = self._admit(exchange)
        if request is None:
            return
        try:
            upstream = context.dial(request)
        except (GostError, OSError):
            self._refuse(exchange, 503)
            raise
        try:
            if exchange.request.method == "CONNECT":
                context.relay(exchange.respond(200, self._lines), upstream, request)
            else:
                forward(context, exchange, upstream, request, self._lines, self._wait)
        except BaseException:
            upstream.close(True)
            raise

    def _admit(self, exchange: StreamExchange) -> Request | None:
        """What is asked for, or None when a decoy has answered.

        Raises AuthFailed, Denied, ProtocolError: it was refused, and told so.
        """
        asked = exchange.request
        fields = dict(reversed(asked.headers))
        authority = hidden_target(fields) or asked.authority
        try:
            if asked.protocol or not authority:
                raise ProtocolError("a request without a target")
            address = with_port(authority, 80)
            host = split_target(authority)[0]
        except ProtocolError:
            self._refuse(exchange, 400)
            raise
        context = self._context
        try:
            client = context.login(exchange, *basic_pair(fields.get("proxy-authorization", "")))
        except AuthFailed:
            if self._decoy is not None and self._decoy.hides(host):
                self._decoy.answer(exchange)
                return None
            exchange.respond(407, [*self._lines, self._challenge], end=True)
            raise
        request = context.request(exchange, "tcp", address, client_id=client)
        if self._by_host:
            request.hash_source = address
        try:
            context.check_bypass(request)
        except Denied:
            self._refuse(exchange, 403)
            raise
        return request

    def _refuse(self, exchange: StreamExchange, status: int) -> None:
        exchange.respond(status, self._lines, end=True)
