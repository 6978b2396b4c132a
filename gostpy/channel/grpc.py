"""grpc: each conn is one gRPC call with a stream of messages both ways, over TLS or in clear.

The call is gost's ``/GostTunel/Tunnel`` unless ``path`` says otherwise; a message is
``00 | length(4) | 0A | varint length | data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError, ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.conn import Conn
from gostpy.net.dial import split_address
from gostpy.options import no_effect, opt
from gostpy.stream.grpc import CONTENT_TYPE, ClientSession, Pings, ServerSession
from gostpy.wire.grpc import full_method
from gostpy.wire.http1 import is_field

__all__ = ["DialOptions", "ListenOptions", "Mux"]

_LEAST_TIME = 10.0
"""Seconds: grpc-go's clients do not ping more often."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    backlog: int = no_effect(
        "grpc.backlog", "backlog", kind="int", doc="Streams are handled at once here."
    )
    path: str = opt("", "grpc.path", "path", doc="/service/method; empty = /GostTunel/Tunnel.")
    pings: bool = opt(
        False,
        "grpc.keepalive",
        "keepalive",
        "keepAlive",
        doc="Send pings and limit those of clients; the other keepalive options need it.",
    )
    ping_min_time: float = opt(
        30.0,
        "grpc.keepalive.minTime",
        "keepalive.minTime",
        kind="duration",
        positive=True,
        doc="Least time between pings of a client; the third that is early ends the connection.",
    )
    ping_time: float = opt(
        60.0,
        "grpc.keepalive.time",
        "keepalive.time",
        kind="duration",
        positive=True,
        doc="Silence after which a ping is sent.",
    )
    ping_timeout: float = opt(
        30.0,
        "grpc.keepalive.timeout",
        "keepalive.timeout",
        kind="duration",
        positive=True,
        doc="Time for the answer to a ping.",
    )
    ping_without_stream: bool = opt(
        False,
        "grpc.keepalive.permitWithoutStream",
        "keepalive.permitWithoutStream",
        doc="Clients may ping while there is no call.",
    )
    max_idle: float = opt(
        0.0,
        "grpc.keepalive.maxConnectionIdle",
        "keepalive.maxConnectionIdle",
        kind="duration",
        doc="Time without a call after which the connection ends; 0 = never.",
    )


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    authority: str = opt(
        "", "grpc.authority", "grpc.host", "host", doc="Host that is asked; empty = the node's."
    )
    path: str = opt("", "grpc.path", "path", doc="/service/method; empty = /GostTunel/Tunnel.")
    pings: bool = opt(
        False,
        "grpc.keepalive",
        "keepalive",
        "keepAlive",
        doc="Send pings; the other keepalive options need it.",
    )
    ping_time: float = opt(
        30.0,
        "grpc.keepalive.time",
        "keepalive.time",
        kind="duration",
        positive=True,
        doc="Silence after which a ping is sent; at least 10 s.",
    )
    ping_timeout: float = opt(
        30.0,
        "grpc.keepalive.timeout",
        "keepalive.timeout",
        kind="duration",
        positive=True,
        doc="Time for the answer to a ping.",
    )
    ping_without_stream: bool = opt(
        False,
        "grpc.keepalive.permitWithoutStream",
        "keepalive.permitWithoutStream",
        doc="Ping also while there is no call.",
    )


class Mux:
    """Makes sessions of both sides. Raises ConfigError: a name that HTTP cannot carry."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._context = context
        self._method = full_method(options.path)
        self._keep: Pings | None = None
        if options.pings:
            self._keep = _keep_alive(options)
        if isinstance(options, DialOptions):
            given = options.authority
            host = split_address(given)[0] if given else ""
            self._authority = host or given or split_address(context.address)[0]
        else:
            self._authority = ""
        for name, value in (("path", self._method), ("authority", self._authority)):
            if not is_field(name, value):
                raise ConfigError(f"{name}: {value!r} cannot be sent in a request")

    def connect(self, conn: Conn) -> ClientSession:
        fields = [
            (":method", "POST"),
            (":scheme", "http" if conn.info.tls is None else "https"),
            (":path", self._method),
            (":authority", self._authority),
            ("content-type", CONTENT_TYPE),
            ("user-agent", "grpc-go/1.67.1"),
            ("te", "trailers"),
        ]
        session = ClientSession(conn, fields, self._keep)
        session.start()
        return session

    def serve(self, conn: Conn, deliver: Deliver) -> ServerSession:
        session = ServerSession(conn, self._method, deliver, self._keep)
        session.on_close = self._ended
        session.start()
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"grpc: {error}", remote=session.conn.info.peer_address)


def _keep_alive(options: ListenOptions | DialOptions) -> Pings:
    if isinstance(options, DialOptions):
        return Pings(
            max(options.ping_time, _LEAST_TIME),
            options.ping_timeout,
            options.ping_without_stream,
        )
    return Pings(
        options.ping_time,
        options.ping_timeout,
        options.ping_without_stream,
        options.ping_min_time,
        options.max_idle,
    )
