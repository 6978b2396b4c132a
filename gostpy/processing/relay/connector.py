"""The relay connector: asks a node for a target, or to listen.

A TCP request waits for the first data and is sent with it; its reply is taken off the first data
read (``gostpy.wire.relay.ClientCodec``). With ``nodelay`` it is sent at once and the reply awaited.

Differs   gost never sends the request of a conn on which the client is silent; here a pipe sends it
          when it starts, so that servers which speak first work.
          With ``nodelay`` gost waits for ever if the node keeps the reply back until the target
          speaks and the target waits for the client; here the wait ends after half a second, or
          fails after ``connectTimeout``.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import Unsupported
from gostpy.interfaces import Binding, Context, Request
from gostpy.net.binding import (
    BACKLOG,
    BUFFER,
    QUEUE,
    TTL,
    PacketBinding,
    session_limits,
    socket_address,
)
from gostpy.net.conn import Conn
from gostpy.net.framed import ShortFramedConn, TunnelConn
from gostpy.net.packet import PacketConn
from gostpy.net.timers import timeout
from gostpy.processing.muxbind import PeersBinding
from gostpy.processing.relay.options import ConnectorOptions
from gostpy.stream.mux import check_mux
from gostpy.wire import relay

__all__ = ["Connector"]

_PATIENCE = 0.5
"""Seconds to wait for a reply that may be kept back."""

_NETWORKS = {"unix": relay.Network("unix"), "serial": relay.Network("serial")}


class Connector:
    """Client side of the relay protocol."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        check_mux(options)
        self.options = options
        self.context = context
        auth = context.auth
        self._auth: tuple[relay.Feature, ...] = (
            (relay.UserAuth(auth.username, auth.password),) if auth else ()
        )

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """A conn on which the target's bytes or datagrams travel.

        Raises ProtocolError, TimeoutError; Unsupported: the network, or datagrams below.
        """
        _need_stream(conn)
        network = request.network
        if network.startswith("udp"):
            return self._connect_udp(conn, request.address)
        if network.startswith("tcp"):
            features = self._auth
        elif network in _NETWORKS:
            features = (_NETWORKS[network], *self._auth)
        else:
            raise Unsupported(f"relay cannot carry network {network!r}")
        if request.address:
            features = (*features, relay.Address(request.address))
        self._ask(conn, relay.Request(relay.CONNECT, 0, features).encode())
        return conn

    def _connect_udp(self, conn: Conn, address: str) -> PacketConn:
        if not address:
            self._listen(conn, relay.UDP, "")
            return TunnelConn(conn)
        features = (relay.Network("udp"), *self._auth, relay.Address(address))
        self._ask(conn, relay.Request(relay.CONNECT, relay.UDP, features).encode())
        return ShortFramedConn(conn, address)

    def _ask(self, conn: Conn, request: bytes) -> None:
        """Send the request at once, or with the first data."""
        if not self.options.nodelay:
            conn.push(relay.ClientCodec(request))
            return
        conn.sendall(request)
        if self.options.connect_timeout > 0:
            with timeout(self.options.connect_timeout, "no answer from the relay node in time"):
                relay.Response.read(conn).check()
            return
        try:
            with timeout(_PATIENCE):
                conn.peek(4)
        except TimeoutError:
            conn.push(relay.ClientCodec(b""))  # the reply waits for the target: so will we
        else:
            relay.Response.read(conn).check()

    def _listen(self, conn: Conn, flags: int, address: str) -> str:
        """Ask the node to listen; where it does. Raises ProtocolError, TimeoutError."""
        network = relay.Network("udp" if flags else "tcp")
        features = (*self._auth, network, relay.Address(address))
        with timeout(self.options.connect_timeout, "no answer from the relay node in time"):
            conn.sendall(relay.Request(relay.BIND, flags, features).encode())
            bound = relay.Response.read(conn).check().addresses
        return bound[-1] if bound else address

    def bind(
        self,
        conn: Any,
        request: Request,
        *,
        mux: bool = True,
        backlog: int = BACKLOG,
        queue: int = QUEUE,
        buffer: int = BUFFER,
        ttl: float = TTL,
    ) -> Binding:
        """Listen at the node; options as of ``gostpy.net.binding.bind_here``.

        Raises ProtocolError, TimeoutError; Unsupported: the network, or datagrams below.
        """
        _need_stream(conn)
        network = request.network
        if network.startswith("tcp"):
            bound = socket_address(self._listen(conn, 0, request.address))
            return PeersBinding(conn, bound, self.options, _read_peer, backlog)
        if network.startswith("udp"):
            bound = socket_address(self._listen(conn, relay.UDP, request.address))
            limits = session_limits(backlog, queue, buffer, ttl)
            return PacketBinding(TunnelConn(conn), bound, limits)
        raise Unsupported(f"relay cannot listen on network {network!r}")


def _need_stream(conn: Any) -> None:
    if isinstance(conn, PacketConn):
        raise Unsupported("relay needs a stream to its node, not datagrams")


def _read_peer(stream: Conn) -> tuple[str, str]:
    """What precedes a peer's bytes: its address and, from a tunnel, the host that it asked for."""
    addresses = relay.Response.read(stream).check().addresses
    return addresses[0] if addresses else "", addresses[1] if len(addresses) > 1 else ""
