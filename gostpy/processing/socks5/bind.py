"""SOCKS 5 BIND (one peer), and gost's MUX BIND (many peers, over smux).

The first reply tells where this side listens: with the host by which the client reached it, or
``publicAddr``. BIND: a second reply tells the peer, then its bytes follow. MUX BIND: this side
opens a stream per peer, which begins with such a reply (not with ``comp``, for gost v2).
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import ConnectionClosed, GostError
from gostpy.interfaces import Request
from gostpy.net.binding import StreamBinding, socket_address
from gostpy.net.conn import Conn, format_address
from gostpy.net.control import watch
from gostpy.net.dial import is_ip
from gostpy.processing.context import HandlerContext
from gostpy.processing.muxbind import serve_peers
from gostpy.processing.socks5.options import HandlerOptions
from gostpy.processing.socks5.replies import refuse
from gostpy.wire import socks5
from gostpy.wire.address import join_address, split_target
from gostpy.wire.socks5 import Rep

__all__ = ["SingleBinding", "serve_bind", "serve_mux_bind"]


def serve_bind(
    context: HandlerContext, options: HandlerOptions, conn: Conn, address: str, client: str
) -> None:
    """Command 2: wait for one peer, or for the end of ``conn``."""
    request = context.request(conn, "tcp", address, client_id=client)
    binding = _listen(context, options, conn, request)
    waiting = watch(conn, binding.close, keep=True)
    try:
        peer = binding.accept()
    except ConnectionClosed:
        conn.close()
        return
    finally:
        binding.close()
    waiting.release()
    try:
        conn.sendall(socks5.Reply(Rep.OK, peer.info.peer_address).encode())
    except BaseException:
        peer.close(True)
        raise
    context.relay(conn, peer, request)


def serve_mux_bind(
    context: HandlerContext, options: HandlerOptions, conn: Conn, address: str, client: str
) -> None:
    """Command F2: carry every peer, until ``conn`` ends."""
    request = context.request(conn, "tcp", address, client_id=client)
    binding = _listen(context, options, conn, request)
    serve_peers(
        context, conn, binding, options, request, _silent if options.compatible else _announce
    )


def _announce(peer: str) -> bytes:
    return socks5.Reply(Rep.OK, peer).encode()


def _silent(peer: str) -> bytes:
    return b""


def _listen(
    context: HandlerContext, options: HandlerOptions, conn: Conn, request: Request
) -> StreamBinding:
    """Listen and send the first reply."""
    try:
        binding = StreamBinding(request.address, context.sockets)
    except (GostError, OSError) as error:
        refuse(conn, Rep.FAILURE, error)
    port = split_target(format_address(binding.address))[1]
    host = options.public_address or split_target(format_address(conn.info.local))[0]
    if not options.public_address and not is_ip(host):  # a client on a Unix socket
        host = "0.0.0.0"
    try:
        conn.sendall(socks5.Reply(Rep.OK, join_address(host, port)).encode())
    except BaseException:
        binding.close()
        raise
    return binding


class SingleBinding:
    """The asking side of BIND: the connection becomes that of the only peer."""

    def __init__(self, conn: Conn, address: Any) -> None:
        self.address = address
        self._conn: Conn | None = conn

    def accept(self) -> Conn:
        """Raises ConnectionClosed: the peer was accepted before; ProtocolError, OSError."""
        conn, self._conn = self._conn, None
        if conn is None:
            raise ConnectionClosed("a binding of SOCKS 5 has one peer only")
        try:
            peer = socks5.Reply.read(conn).address
        except BaseException:
            conn.close(True)
            raise
        conn.info.peer = socket_address(peer)
        conn.info.local = self.address
        return conn

    def close(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()
