"""UDP for SOCKS 5 clients: associations (03), and datagrams on the connection (F3).

F3 with port 0 relays to any target; with a port it listens there (UDP bind, for ``rudp``).

Differs   gost 3.2.6 binds the socket of an association to every address; it is bound to the
          address that the client was told (3.3), so that answers come from there.
          If the way out cannot be had, the reply is 1; gost ends the connection without one.
"""

from __future__ import annotations

import errno
import random

from gostpy.errors import Denied, GostError
from gostpy.net.conn import Conn, format_address
from gostpy.net.dial import is_ip
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import PacketConn, UDPSocket, listen_udp
from gostpy.processing.context import HandlerContext
from gostpy.processing.socks5.options import HandlerOptions
from gostpy.processing.socks5.packets import ClientPackets
from gostpy.processing.socks5.replies import refuse
from gostpy.processing.udprelay import relay_packets
from gostpy.wire import socks5
from gostpy.wire.address import join_address, split_target
from gostpy.wire.socks5 import Rep

__all__ = ["serve_association", "serve_tunnel"]

_MOST_PORTS = 64


def serve_association(
    context: HandlerContext, options: HandlerOptions, conn: Conn, client: str
) -> None:
    """Command 3: datagrams come to a UDP socket of their own until ``conn`` ends."""
    if not options.udp:
        refuse(conn, Rep.NOT_ALLOWED, Denied("UDP is not enabled"))
    local = split_target(format_address(conn.info.local))[0]
    if not is_ip(local):
        local = "127.0.0.1"  # a client on a Unix socket
    request = context.request(conn, "udp", "", client_id=client)
    try:
        packets = _listen(context, options, local)
    except OSError as error:
        refuse(conn, Rep.FAILURE, error)
    try:
        upstream = context.dial(request)
    except (GostError, OSError) as error:
        packets.close()
        refuse(conn, Rep.FAILURE, error)
    port = split_target(format_address(packets.info.local))[1]
    host = options.public_address if is_ip(options.public_address) else local
    conn.sendall(socks5.Reply(Rep.OK, join_address(host, port)).encode())
    peer = split_target(request.source)[0]
    relay_packets(
        context,
        ClientPackets(packets, peer if is_ip(peer) else "", conn),
        upstream,
        request,
        size=options.udp_buffer_size,
        resolve=options.udp_resolve_domain,
    )


def _listen(context: HandlerContext, options: HandlerOptions, host: str) -> UDPSocket:
    """A socket for one client, on a port of ``udp.bindRange``. Raises OSError."""
    low, high = options.udp_port_min, options.udp_port_max
    if not 0 < low <= high < 65536:
        return listen_udp(join_address(host, 0), context.sockets)
    size = high - low + 1
    start = random.randrange(size)
    for step in range(min(size, _MOST_PORTS)):
        try:
            port = low + (start + step) % size
            return listen_udp(join_address(host, port), context.sockets)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no free UDP port from {low} to {high}")


def serve_tunnel(
    context: HandlerContext, options: HandlerOptions, conn: Conn, address: str, client: str
) -> None:
    """Command F3: datagrams are framed on ``conn``."""
    request = context.request(conn, "udp", "", client_id=client)
    upstream: PacketConn
    if split_target(address)[1] == 0:
        if not options.udp:
            refuse(conn, Rep.NOT_ALLOWED, Denied("UDP is not enabled"))
        try:
            upstream = context.dial(request)
        except (GostError, OSError) as error:
            refuse(conn, Rep.FAILURE, error)
    else:
        if not options.bind:
            refuse(conn, Rep.NOT_ALLOWED, Denied("BIND is not enabled"))
        try:
            upstream = listen_udp(address, context.sockets)
        except (GostError, OSError) as error:
            refuse(conn, Rep.FAILURE, error)
    try:
        local = format_address(upstream.info.local) or socks5.ANYWHERE
        conn.sendall(socks5.Reply(Rep.OK, local).encode())
    except BaseException:
        upstream.close()
        raise
    relay_packets(
        context,
        TunnelConn(conn),
        upstream,
        request,
        size=options.udp_buffer_size,
        resolve=options.udp_resolve_domain,
    )
