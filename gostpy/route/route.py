"""A route: the nodes chosen for one dial, and the walk along them.

The connection to node i is made by its dialer over a carrier connection: of the system
(i = 0), or of the connector of node i-1. A multiplexing dialer asks for a carrier connection only
when it has no session yet for this node and these nodes beneath.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import ConnectFailed, DialFailed, GostError, RouteError, Unsupported
from gostpy.interfaces import Binding, Request
from gostpy.net.conn import Conn
from gostpy.net.dial import dial_tcp, dial_unix
from gostpy.net.sockopt import DEFAULT, SocketOptions
from gostpy.net.timers import timeout
from gostpy.route.node import Node
from gostpy.route.selector import Marker
from gostpy.wire import proxyprotocol

__all__ = ["ANSWER_LIMIT", "Route", "dial_direct"]

ANSWER_LIMIT = 60.0
"""Seconds for a node to answer what it was asked; a longer time of its connector goes before. In
gost a silent node holds its client for ever."""


def dial_direct(
    network: str, address: str, sockets: SocketOptions = DEFAULT, timeout: float = 10.0
) -> Any:
    """Connect without a chain. Raises DialFailed, Unsupported."""
    if network.startswith("tcp"):
        return dial_tcp(address, sockets, timeout=timeout)
    if network.startswith("udp"):
        from gostpy.net.packet import dial_udp

        return dial_udp(address, sockets)
    if network == "unix":
        return dial_unix(address, sockets, timeout=timeout)
    if network == "ftcp":
        from gostpy.net.faketcp import dial_fake_tcp

        return dial_fake_tcp(address, sockets, timeout=timeout)
    if network in ("icmp", "icmp6"):
        from gostpy.net.icmp import dial_icmp

        return dial_icmp(address, network == "icmp6", sockets)
    if network == "serial":
        from gostpy.net.serialport import open_serial

        return open_serial(address)
    raise Unsupported(f"cannot dial network {network!r} directly")


class Route:
    """Nodes to pass, in order; none means a direct connection.

    Args:
        sockets, timeout: of direct connections.
        marker: of the chain that gave the nodes; told whether they were reached.
    """

    __slots__ = ("_marker", "_nodes", "_sockets", "_timeout")

    def __init__(
        self,
        nodes: tuple[Node, ...],
        sockets: SocketOptions = DEFAULT,
        timeout: float = 10.0,
        marker: Marker | None = None,
    ) -> None:
        self._nodes = nodes
        self._marker = marker
        self._sockets = sockets
        self._timeout = timeout

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    def dial(self, request: Request) -> Any:
        """A conn to the target. Raises RouteError."""
        nodes = self._nodes
        if not nodes:
            return dial_direct(request.network, request.address, self._sockets, self._timeout)
        last = nodes[-1]
        conn = self._reach_last(request)
        assert last.connector is not None
        try:
            with timeout(_patience(last), "no answer in time"):
                return last.connector.connect(conn, request)
        except (GostError, OSError) as error:
            conn.close(True)
            if isinstance(error, RouteError):
                raise
            message = f"{last.name}: connect {request.address}: {error}"
            raise ConnectFailed(message, last.name, request.address) from error
        except BaseException:
            conn.close(True)
            raise

    def bind(self, request: Request, **options: Any) -> Binding:
        """Listen at the last node. Raises RouteError, Unsupported."""
        last = self._nodes[-1]
        if not hasattr(last.connector, "bind"):
            raise Unsupported(f"{last.name}: this connector cannot bind")
        conn = self._reach_last(request)
        assert last.connector is not None
        try:
            return last.connector.bind(conn, request, **options)
        except BaseException:
            conn.close(True)
            raise

    def _reach_last(self, request: Request) -> Any:
        """A conn to the last node; the chain succeeds or fails with it."""
        marker = self._marker
        try:
            conn = self._reach(len(self._nodes) - 1, request)
        except RouteError:
            if marker is not None:
                marker.mark()
            raise
        if marker is not None:
            marker.reset()
        return conn

    def _reach(self, index: int, request: Request) -> Any:
        """A conn to node ``index`` on which it can be asked for something."""
        node = self._nodes[index]
        assert node.dialer is not None and node.connector is not None

        def open(network: str, address: str) -> Any:
            return self._carrier(index, network, address, request)

        try:
            conn = node.dialer.dial(open, self._nodes[:index])
            try:
                with timeout(_patience(node), "no answer in time"):
                    conn = node.connector.handshake(conn)
            except BaseException:
                conn.close(True)
                raise
        except _BeneathFailed as failed:
            raise failed.error from failed.error.__cause__
        except (GostError, OSError) as error:
            node.marker.mark()
            if isinstance(error, RouteError):
                raise
            raise DialFailed(f"{node.name}: {error}", node.name, node.address) from error
        node.marker.reset()
        return conn

    def _carrier(self, index: int, network: str, address: str, request: Request) -> Any:
        """A carrier connection for the dialer of node ``index``."""
        node = self._nodes[index]
        if address and node.resolve is not None:
            address = node.resolve(network, address)
        if index == 0:
            conn = dial_direct(network, address, node.sockets, self._timeout)
            if node.proxy_protocol and request.source:
                header = proxyprotocol.encode(
                    node.proxy_protocol, request.source, request.destination
                )
                if isinstance(conn, Conn):
                    conn.sendall(header)
                else:  # dtls makes a stream of the datagrams and sends it there; others do not
                    conn.info.facts["proxy header"] = header
            return conn
        before = self._nodes[index - 1]
        try:
            conn = self._reach(index - 1, request)
        except RouteError as error:  # the failure of a node before is not this node's
            raise _BeneathFailed(error) from error
        assert before.connector is not None
        try:
            with timeout(_patience(before), "no answer in time"):
                asked = Request(network, address, source=request.source)
                return before.connector.connect(conn, asked)
        except BaseException:
            conn.close(True)
            raise


def _patience(node: Node) -> float:
    """How long a node may take to answer."""
    options = getattr(node.connector, "options", None)
    own = [getattr(options, name, 0.0) for name in ("timeout", "connect_timeout")]
    return max(*own, ANSWER_LIMIT)


class _BeneathFailed(Exception):
    """Carries the error of an earlier node past the dialer of a later one."""

    def __init__(self, error: RouteError) -> None:
        self.error = error
        super().__init__(str(error))
