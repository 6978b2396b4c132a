"""MASQUE: handler ``masque`` and connector ``masque`` of gost 3.3: TCP by CONNECT, UDP by
CONNECT-UDP, on requests of HTTP/3 (listener ``http3``, dialer ``h3-masque``).

Wire      CONNECT :authority = target; or :protocol connect-udp, :path of gostpy.wire.masque,
          ``capsule-protocol: ?1`` both ways; ``proxy-authorization: Basic``
Order     request rate, CONNECT (405), protocol (400), login (407), target (400), bypass (403),
          capsules (400), dial (503), 200
Source    RFC 9298, RFC 9114 section 4.4; gost 3.3's handler/masque and connector/masque
Differs   a target of UDP that cannot be reached is answered by 503 (gost: an empty 200); names are
          resolved where they are dialed; UDP payloads that fit no datagram travel in capsules
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from gostpy.errors import (
    AuthFailed,
    ConfigError,
    ConnectFailed,
    Denied,
    GostError,
    MissingExtra,
    ProtocolError,
    Unsupported,
)
from gostpy.interfaces import Context, ExchangeRequest, Request
from gostpy.net.conn import Conn
from gostpy.net.packet import StreamPackets
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.context import HandlerContext
from gostpy.processing.http.login import basic_pair
from gostpy.processing.udprelay import relay_packets
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.http1 import is_field, with_port
from gostpy.wire.masque import target_of, target_path

try:
    from gostpy.stream import http3
    from gostpy.stream.httpdatagrams import HttpDatagrams
except ModuleNotFoundError as error:
    if error.name not in ("aioquic", "pylsqpack"):
        raise
    raise MissingExtra("quic", "masque") from error

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]

_CAPSULES = ("capsule-protocol", "?1")


@dataclass(frozen=True)
class HandlerOptions(AccountingOptions):
    """Options of the handler."""

    hash: str = opt(
        "",
        "hash",
        choices=("", "host"),
        since="3.3",
        doc="What the hash selector uses: host, else client IP.",
    )
    buffer_size: int = opt(
        4096,
        "bufferSize",
        "udp.bufferSize",
        since="3.3",
        unit="bytes",
        positive=True,
        effect=False,
        doc="Size of a datagram; longer ones are passed on whole.",
    )
    realm: str = opt(
        "gost", "authBasicRealm", since="3.3", doc="Realm of the request for credentials."
    )
    idle_timeout: float = opt(
        0.0,
        "readTimeout",
        "read.timeout",
        "idleTimeout",
        kind="duration",
        since="3.3",
        doc="Silence that ends what is relayed; 0 = never.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """Options of the connector."""

    timeout: float = opt(
        0.0,
        "timeout",
        "connectTimeout",
        kind="duration",
        since="3.3",
        doc="Deadline of the answer to a request; 0 = none.",
    )


class Handler:
    """See the module's description. Raises ConfigError: a realm that HTTP cannot carry."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self._context = context
        self._by_host = options.hash == "host"
        self._idle = max(options.idle_timeout, 0.0)
        realm = options.realm or "gost"
        if not is_field("x", realm):
            raise ConfigError(f"authBasicRealm: {realm!r} cannot be sent in an HTTP header line")
        self._challenge = ("proxy-authenticate", f'Basic realm="{realm}"')

    def handle(self, exchange: Any) -> None:
        stream = getattr(getattr(exchange, "conn", None), "endpoint", None)
        if not isinstance(exchange, StreamExchange) or not isinstance(stream, http3.Request):
            raise Unsupported("the masque handler needs the http3 listener")
        context = self._context
        context.check_rate(exchange)
        request = self._admit(exchange)
        try:
            upstream = context.dial(request)
        except (GostError, OSError):
            _refuse(exchange, 503)
            raise
        try:
            if request.network == "tcp":
                context.relay(exchange.respond(200), upstream, request, idle=self._idle)
                return
            if isinstance(upstream, Conn):
                upstream = StreamPackets(upstream)
            exchange.respond(200, [_CAPSULES])
            client = HttpDatagrams(stream, request.address)
            relay_packets(context, client, upstream, request, idle=self._idle)
        except BaseException:
            upstream.close(True)
            raise

    def _admit(self, exchange: StreamExchange) -> Request:
        """What is asked for.

        Raises AuthFailed, Denied, ProtocolError: it was refused, and told so.
        """
        asked = exchange.request
        if asked.method != "CONNECT":
            _refuse(exchange, 405)
            raise ProtocolError(f"masque: {asked.method} in place of CONNECT")
        if asked.protocol not in ("", "connect-udp"):
            _refuse(exchange, 400)
            raise ProtocolError(f"masque: protocol {asked.protocol!r}")
        fields = dict(reversed(asked.headers))
        context = self._context
        try:
            client = context.login(exchange, *basic_pair(fields.get("proxy-authorization", "")))
        except AuthFailed:
            exchange.respond(407, [self._challenge], end=True)
            raise
        try:
            network, address = _target(asked)
        except ProtocolError:
            _refuse(exchange, 400)
            raise
        request = context.request(exchange, network, address, client_id=client)
        if self._by_host:
            request.hash_source = address
        try:
            context.check_bypass(request)
        except Denied:
            _refuse(exchange, 403)
            raise
        if network == "udp" and fields.get(_CAPSULES[0]) != _CAPSULES[1]:
            _refuse(exchange, 400)
            raise ProtocolError("masque: connect-udp without capsule-protocol")
        return request


def _target(asked: ExchangeRequest) -> tuple[str, str]:
    """(network, address). Raises ProtocolError."""
    if asked.protocol:
        return "udp", target_of(asked.path)
    if not asked.authority:
        raise ProtocolError("masque: CONNECT without a target")
    return "tcp", with_port(asked.authority, 443)


def _refuse(exchange: StreamExchange, status: int) -> None:
    exchange.respond(status, end=True)


class Connector:
    """Asks a masque proxy for targets."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options
        self._lines: list[tuple[str, str]] = []
        if context.auth:
            pair = f"{context.auth.username}:{context.auth.password}".encode()
            self._lines = [("proxy-authorization", "Basic " + base64.b64encode(pair).decode())]

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """Raises ConnectFailed: the proxy refused. Unsupported: not asked for over h3-masque."""
        stream = getattr(conn, "endpoint", None)
        if not isinstance(stream, http3.Request):
            raise Unsupported("the masque connector needs the h3-masque dialer")
        udp = request.network.startswith("udp")
        if not (udp or request.network.startswith("tcp")):
            raise Unsupported(f"the masque connector cannot carry {request.network}")
        if udp and not request.address:
            raise Unsupported("masque carries UDP to one target at a time")
        fields = self._for_udp(stream, request.address) if udp else _for_tcp(request.address)
        with timeout(self.options.timeout, "no answer to CONNECT in time"):
            stream.ask(fields + self._lines)
            answer = stream.response()
        if answer.status != 200:
            raise ConnectFailed(f"proxy answered {answer.status}", address=request.address)
        if not udp:
            return conn
        if answer.get(_CAPSULES[0]) != _CAPSULES[1]:
            raise ConnectFailed("the proxy knows no capsules", address=request.address)
        return HttpDatagrams(stream, request.address)

    def _for_udp(self, stream: http3.Request, address: str) -> list[tuple[str, str]]:
        return [
            (":method", "CONNECT"),
            (":protocol", "connect-udp"),
            (":scheme", "https"),
            (":authority", stream.session.authority),
            (":path", target_path(address)),
            _CAPSULES,
        ]


def _for_tcp(address: str) -> list[tuple[str, str]]:
    if not is_field("x", address):
        raise ProtocolError(f"{address!r} cannot be asked for by HTTP")
    return [(":method", "CONNECT"), (":authority", address)]
