"""The relay handler: CONNECT, BIND, UDP, and forwarding to configured targets.

Differs   gost keeps the reply back until the target speaks, unless ``nodelay`` is set; a client
          that waits for the reply before it speaks, and a target that waits for the client, then
          wait for ever. Here the reply leaves as soon as the target was reached.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import AuthFailed, Denied, GostError, ProtocolError, RouteError, Unsupported
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_unix
from gostpy.net.framed import ShortFramedConn
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.relay.bind import serve_bind
from gostpy.processing.relay.options import HandlerOptions
from gostpy.processing.relay.replies import refuse
from gostpy.processing.sniffing import Relay, relay_for
from gostpy.processing.udprelay import relay_packets
from gostpy.stream.mux import check_mux
from gostpy.wire import relay
from gostpy.wire.relay import Status

__all__ = ["Handler"]

_OK = relay.Response().encode()


class Handler:
    """Server side of the relay protocol."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        check_mux(options)
        self.options = options
        self.context = context
        self._relay_stream = relay_for(options, context, options.read_timeout)

    def handle(self, conn: Any) -> None:
        """Serve one request. Raises Rejected, ProtocolError, RouteError, OSError."""
        context = self.context
        context.check_rate(conn)
        with timeout(self.options.read_timeout, "no relay request in time"):
            message = relay.Request.read(conn)
        try:
            client = context.login(conn, *message.credentials)
        except AuthFailed as error:
            refuse(conn, Status.UNAUTHORIZED, error)
        if context.hop is not None:
            self._forward(conn, message, client)
        elif message.command == relay.CONNECT:
            self._connect(conn, message, client)
        elif message.command == relay.BIND:
            self._bind(conn, message, client)
        else:
            unknown = ProtocolError(f"relay command {message.command} is not served here")
            refuse(conn, Status.BAD_REQUEST, unknown)

    def _connect(self, conn: Conn, message: relay.Request, client: str) -> None:
        context, network = self.context, message.network
        addresses = message.addresses
        if not addresses:
            refuse(conn, Status.BAD_REQUEST, ProtocolError("relay request without a target"))
        address = addresses[-1]
        if network in ("unix", "serial"):  # a path travels as a host with port 0
            address = address.rpartition(":")[0] or address
        request = context.request(conn, network, address, client_id=client)
        if self.options.hash == "host":
            request.hash_source = address
        try:
            context.check_bypass(request)
            # gost: a unix socket is this machine's own, whatever the chain
            upstream = dial_unix(address) if network == "unix" else context.dial(request)
        except Denied as error:
            refuse(conn, Status.FORBIDDEN, error)
        except (RouteError, Unsupported, OSError) as error:
            refuse(conn, Status.NETWORK_UNREACHABLE, error)
        self._relay(conn, upstream, request, self._relay_stream)

    def _forward(self, conn: Conn, message: relay.Request, client: str) -> None:
        """To a target of the forwarder, whatever was asked for."""
        context = self.context
        assert context.hop is not None
        request = context.request(conn, message.network, "", client_id=client)
        node = context.hop.select(request)
        if node is None:
            unusable = RouteError("no target of the forwarder can be used")
            refuse(conn, Status.SERVICE_UNAVAILABLE, unusable)
        request.address = node.address
        try:
            upstream = dial_node(context.dial, request, node)
        except (GostError, OSError) as error:
            refuse(conn, Status.HOST_UNREACHABLE, error)
        self._relay(conn, upstream, request, context.relay)

    def _relay(self, conn: Conn, upstream: Any, request: Request, streams: Relay) -> None:
        try:
            conn.sendall(_OK)
        except BaseException:
            upstream.close(True)
            raise
        if request.network == "udp":
            relay_packets(
                self.context,
                ShortFramedConn(conn, request.source),
                upstream,
                request,
                size=self.options.udp_buffer_size,
            )
        else:
            streams(conn, upstream, request)

    def _bind(self, conn: Conn, message: relay.Request, client: str) -> None:
        if not self.options.bind:
            refuse(conn, Status.FORBIDDEN, Denied("BIND is not enabled"))
        addresses = message.addresses
        network = "udp" if message.network == "udp" else "tcp"
        address = addresses[-1] if addresses else ":0"
        request = self.context.request(conn, network, address, client_id=client)
        serve_bind(self.context, self.options, conn, request)
