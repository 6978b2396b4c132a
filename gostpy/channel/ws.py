"""ws: WebSocket as a layer, also under the muxes (mws) and above TLS (wss, mwss).

The dialing side may send pings: every ``ttl``, and without a pong for twice as long the conn fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.interfaces import Context
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.keepalive import KeepAlive
from gostpy.options import no_effect, opt
from gostpy.stream.websocket import accept_websocket, connect_websocket
from gostpy.wire.websocket import WebSocket

__all__ = ["DialOptions", "Layer", "ListenOptions"]

_PATH = "/ws"


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    path: str = opt(_PATH, "ws.path", "path", doc="URL path of the upgrade.")
    backlog: int = no_effect(
        "ws.backlog", "backlog", kind="int", doc="Accept queue: conns are handled at once here."
    )
    handshake_timeout: float = opt(
        0.0,
        "ws.handshakeTimeout",
        "handshakeTimeout",
        kind="duration",
        doc="Deadline for the upgrade; 0 = the listener's.",
    )
    read_header_timeout: float = opt(
        0.0,
        "ws.readHeaderTimeout",
        "readHeaderTimeout",
        kind="duration",
        doc="Deadline for the request's head; 0 = the listener's.",
    )
    read_buffer_size: int = no_effect(
        "ws.readBufferSize", "readBufferSize", kind="int", doc="Buffers are shared here."
    )
    write_buffer_size: int = no_effect(
        "ws.writeBufferSize", "writeBufferSize", kind="int", doc="Buffers are shared here."
    )
    enable_compression: bool = opt(
        False, "ws.enableCompression", "enableCompression", doc="Negotiate permessage-deflate."
    )
    header: dict[str, str] = opt({}, "ws.header", "header", doc="Further headers of the upgrade.")


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    host: str = opt("", "ws.host", "host", doc="Host of the request; empty = the node's address.")
    path: str = opt(_PATH, "ws.path", "path", doc="URL path of the upgrade.")
    handshake_timeout: float = opt(
        0.0,
        "ws.handshakeTimeout",
        "handshakeTimeout",
        kind="duration",
        doc="Deadline for the upgrade; 0 = none.",
    )
    read_header_timeout: float = no_effect(
        "ws.readHeaderTimeout", "readHeaderTimeout", kind="duration", doc="Unused by gost as well."
    )
    read_buffer_size: int = no_effect(
        "ws.readBufferSize", "readBufferSize", kind="int", doc="Buffers are shared here."
    )
    write_buffer_size: int = no_effect(
        "ws.writeBufferSize", "writeBufferSize", kind="int", doc="Buffers are shared here."
    )
    enable_compression: bool = opt(
        False, "ws.enableCompression", "enableCompression", doc="Negotiate permessage-deflate."
    )
    header: dict[str, str] = opt({}, "ws.header", "header", doc="Further headers of the upgrade.")
    ping: bool = opt(False, "ws.keepalive", "keepalive", doc="Send WebSocket pings.")
    ping_interval: float = opt(
        15.0,
        "ttl",
        "keepalive.interval",
        kind="duration",
        positive=True,
        doc="Time between pings; without a pong for twice as long the connection is dropped.",
    )


class Layer:
    """One opening handshake, and pings on the dialing side."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self.options = options
        self._address = context.address
        self._path = options.path or _PATH

    def accept(self, conn: Conn) -> None:
        options = self.options
        assert isinstance(options, ListenOptions), "a layer of the dialing side"
        limits = [t for t in (options.read_header_timeout, options.handshake_timeout) if t > 0]
        with timers.timeout(min(limits, default=0.0), "WebSocket upgrade timed out"):
            accept_websocket(conn, self._path, options.header, compress=options.enable_compression)

    def connect(self, conn: Conn) -> None:
        options = self.options
        assert isinstance(options, DialOptions), "a layer of the listening side"
        with timers.timeout(options.handshake_timeout, "WebSocket upgrade timed out"):
            codec = connect_websocket(
                conn,
                options.host or self._address,
                self._path,
                options.header,
                compress=options.enable_compression,
            )
        if options.ping:
            _keep_alive(conn, codec, options.ping_interval)


def _keep_alive(conn: Conn, codec: WebSocket, interval: float) -> None:
    """Ping while the conn lives, and fail it when pongs stay out."""
    seen = 0

    def over() -> bool:
        return conn.closed or codec.ended

    def heard() -> bool:
        nonlocal seen
        answered, seen = codec.pongs != seen, codec.pongs
        return answered or over() or keeping.asked == 0 or conn.sink is None

    def probe() -> None:
        if over():
            keeping.cancel()
            return
        try:
            codec.ping()
            conn.flush()
        except OSError as error:
            keeping.cancel()
            conn.fail(error)

    def fail(silence: float) -> None:
        # the first ping left one interval after the start: two have passed without a pong
        conn.fail(TimeoutError(f"websocket: no pong for {silence + interval:g} s"))

    keeping = KeepAlive(interval, heard, probe, fail, limit=interval)
