"""Relay BIND: listen here for a client, and carry what arrives over its connection.

tcp   The reply tells where; then the connection becomes an smux session in which this side opens a
      stream per peer. A stream begins with a response that has the peer's address.
udp   The reply tells where; then datagrams are framed on the connection. Without an address it is
      an association: the client sends, and gets the answers.

Differs   gost ends the connection without a reply when it cannot listen for datagrams; it is told.
"""

from __future__ import annotations

from gostpy.errors import GostError
from gostpy.interfaces import Request
from gostpy.net.binding import StreamBinding
from gostpy.net.conn import Conn, format_address
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import listen_udp
from gostpy.processing.context import HandlerContext
from gostpy.processing.muxbind import serve_peers
from gostpy.processing.relay.options import HandlerOptions
from gostpy.processing.relay.replies import refuse
from gostpy.processing.udprelay import relay_packets
from gostpy.wire import relay
from gostpy.wire.relay import Status

__all__ = ["serve_bind"]


def serve_bind(
    context: HandlerContext, options: HandlerOptions, conn: Conn, request: Request
) -> None:
    """Listen on ``request.address``. Raises OSError: not possible, or the client is gone."""
    if request.network == "udp":
        _serve_udp(context, options, conn, request)
        return
    try:
        binding = StreamBinding(request.address, context.sockets)
    except (GostError, OSError) as error:
        refuse(conn, Status.SERVICE_UNAVAILABLE, error)
    try:
        conn.sendall(_bound(binding.address))
    except BaseException:
        binding.close()
        raise
    serve_peers(context, conn, binding, options, request, _announce)


def _bound(address: object) -> bytes:
    """The reply that tells where this side listens."""
    return relay.Response(Status.OK, (relay.Address(format_address(address)),)).encode()


def _announce(peer: str) -> bytes:
    """What precedes a peer's bytes in its stream."""
    return relay.Response(Status.OK, (relay.Address(peer),)).encode()


def _serve_udp(
    context: HandlerContext, options: HandlerOptions, conn: Conn, request: Request
) -> None:
    try:
        packets = listen_udp(request.address, context.sockets)
    except (GostError, OSError) as error:
        refuse(conn, Status.SERVICE_UNAVAILABLE, error)
    try:
        conn.sendall(_bound(packets.info.local))
    except BaseException:
        packets.close()
        raise
    request.address = ""  # each datagram has its own
    relay_packets(context, TunnelConn(conn), packets, request, size=options.udp_buffer_size)
