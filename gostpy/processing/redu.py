"""Handler ``redu``: datagrams that a firewall sent here by TPROXY go on to where they were going.

Sniffing   (gost 3.3) the host in the first packet of a QUIC client is shown to the rules; the
           datagrams go to the original address all the same
Source     go-gost/x handler/redirect/udp
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError, Unsupported
from gostpy.net.conn import Conn, format_address
from gostpy.net.packet import PacketConn, StreamPackets
from gostpy.options import opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.udprelay import relay_packets

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions:
    """Options of the handler."""

    sniffing: bool = opt(
        False,
        "sniffing",
        since="3.3",
        doc="Look for the host in the first datagram of a QUIC client, for the rules.",
    )
    sniffing_timeout: float = opt(
        0.0,
        "sniffing.timeout",
        kind="duration",
        since="3.3",
        doc="How long to wait for the first datagram; 0 = for ever.",
    )


class Handler:
    """See the module's description."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context

    def handle(self, conn: Any) -> None:
        """Raises Denied, RouteError, Unsupported."""
        context = self.context
        if context.admit_request is not None:
            context.check_rate(conn)
        destination = conn.info.destination
        if destination is None or not isinstance(conn, PacketConn):
            raise Unsupported("the redu handler needs a redu listener")
        address = format_address(destination)
        request = context.request(conn, "udp", address)
        context.check_bypass(request)
        first = b""
        if self.options.sniffing:
            first = self._sniff(conn, request)
        upstream = context.dial(request)
        if isinstance(upstream, Conn):
            upstream = StreamPackets(upstream)
        try:
            if first:
                upstream.send_to(first, address)
            relay_packets(context, conn, upstream, request)
        except BaseException:
            upstream.close()
            raise

    def _sniff(self, conn: PacketConn, request: Any) -> bytes:
        """The first datagram, whose host the rules have let pass. Raises Denied, TimeoutError."""
        from gostpy.wire.quicinitial import server_name

        conn.settimeout(self.options.sniffing_timeout or None)
        first, _ = conn.recv_from()
        conn.settimeout(None)
        try:
            host = server_name(first)
        except ProtocolError:  # something else than QUIC, or a hello that goes on elsewhere
            return first
        if host:
            address, request.address = request.address, f"{host}:443"
            request.host, request.protocol = request.address, "quic"
            self.context.check_bypass(request)
            request.address = address
        return first
