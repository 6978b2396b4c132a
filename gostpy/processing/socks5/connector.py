"""The SOCKS 5 connector: login with a node, then ask it for a target or to listen.

Differs   gost loses bytes of the target that come in the same packet as the reply; here they are
          kept. Names in UDP targets are left to the node.
          If the node's answer to UDP ASSOCIATE has no host, the node's own is used.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import AuthFailed, HandshakeFailed, Unsupported
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
from gostpy.net.dial import split_address
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import PacketConn, dial_udp
from gostpy.net.timers import timeout
from gostpy.processing.muxbind import PeersBinding
from gostpy.processing.socks5.bind import SingleBinding
from gostpy.processing.socks5.options import ConnectorOptions
from gostpy.processing.socks5.packets import AssociatedConn
from gostpy.stream.mux import check_mux
from gostpy.stream.tls import ClientContext, connect_tls
from gostpy.wire import socks5
from gostpy.wire.address import join_address
from gostpy.wire.socks5 import Command, Method

__all__ = ["Connector"]

_RESOLVING = {"tor-resolve": Command.RESOLVE, "tor-resolve-ptr": Command.RESOLVE_PTR}


class Connector:
    """Client side."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        check_mux(options)
        self.options = options
        self.context = context
        self._tls = None if options.notls else ClientContext(context.tls, log=context.log)
        auth = context.auth
        methods = [Method.NONE]
        if auth:
            methods.append(Method.USER)
        if self._tls is not None:
            methods += [Method.TLS, Method.TLS_USER] if auth else [Method.TLS]
        self._greeting = socks5.Greeting(bytes(methods)).encode()
        self._methods = methods
        self._user = socks5.UserPass(auth.username, auth.password).encode()

    def handshake(self, conn: Any) -> Any:
        """Method, TLS and user. Raises HandshakeFailed, AuthFailed, OSError."""
        if isinstance(conn, PacketConn):
            raise Unsupported("socks5 needs a stream to its node, not datagrams")
        with timeout(self.options.timeout, "no login at the socks5 node in time"):
            conn.sendall(self._greeting)
            method = socks5.read_choice(conn)
            if method not in self._methods and method != Method.USER:
                raise HandshakeFailed(f"socks5 node wants method {method:#04x}")
            if method in (Method.TLS, Method.TLS_USER):
                assert self._tls is not None
                connect_tls(conn, self._tls, split_address(self.context.address)[0])
            if method in (Method.USER, Method.TLS_USER):
                conn.sendall(self._user)
                if socks5.read_user_status(conn) != 0:
                    raise AuthFailed("socks5 node refuses the user name or password")
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """Raises ProtocolError, DialFailed, TimeoutError; Unsupported: the network."""
        network, address = request.network, request.address
        if network.startswith("udp"):
            return self._connect_udp(conn, address)
        if not network.startswith("tcp"):
            raise Unsupported(f"socks5 cannot carry network {network!r}")
        if address.startswith(":"):
            address = "127.0.0.1" + address
        command = _RESOLVING.get(request.protocol, Command.CONNECT)
        answer = self._ask(conn, command, address)
        if command != Command.CONNECT:
            conn.info.facts["resolved"] = answer
        return conn

    def _ask(self, conn: Conn, command: int, address: str) -> str:
        """Send a request; the address in the reply."""
        with timeout(self.options.timeout, "no answer from the socks5 node in time"):
            conn.sendall(socks5.Request(command, address).encode())
            return socks5.Reply.read(conn).address

    def _connect_udp(self, conn: Conn, address: str) -> PacketConn:
        if self.options.relay != "udp":
            self._ask(conn, Command.UDP_TUNNEL, socks5.ANYWHERE)
            return TunnelConn(conn, address)
        relay = self._ask(conn, Command.ASSOCIATE, socks5.ANYWHERE)
        host, port = split_address(relay)
        if host in ("", "0.0.0.0", "::"):
            host = split_address(self.context.address)[0]
        packets = dial_udp(join_address(host, port), self.context.sockets)
        made = AssociatedConn(packets, conn, address)
        made.settimeout(self.options.udp_timeout or None)
        return made

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

        Raises ProtocolError, TimeoutError; Unsupported: the network.
        """
        network = request.network
        if network.startswith("udp"):
            bound = self._ask(conn, Command.UDP_TUNNEL, request.address)
            limits = session_limits(backlog, queue, buffer, ttl)
            return PacketBinding(TunnelConn(conn), socket_address(bound), limits)
        if not network.startswith("tcp"):
            raise Unsupported(f"socks5 cannot listen on network {network!r}")
        command = Command.MUX_BIND if mux else Command.BIND
        bound = self._ask(conn, command, request.address)
        if mux:
            return PeersBinding(conn, socket_address(bound), self.options, _read_peer, backlog)
        return SingleBinding(conn, socket_address(bound))


def _read_peer(stream: Conn) -> tuple[str, str]:
    """What precedes a peer's bytes: its address."""
    return socks5.Reply.read(stream).address, ""
