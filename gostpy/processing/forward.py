"""Port forwarding: handlers ``tcp``, ``udp`` and ``forward`` (one class), connectors ``forward``
and ``tcp``. The handlers of remote listeners are in remote.py.

No protocol: what arrives goes to a node of the forwarder. The network is that of the conn,
datagrams to datagrams; a node may name ``unix``, or ``udp`` for a stream (gost 3.3), whose reads
then become datagrams. A node that cannot be reached is marked, which matters to the next conn only.

Differs   without a forwarder gost dials ``:0``; here the conn is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import DialFailed
from gostpy.interfaces import Context, Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.metered import join
from gostpy.net.packet import PacketConn, StreamPackets
from gostpy.net.packetpipe import PacketPipe, pipe_packets
from gostpy.options import opt
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.sniffing import CacheOptions, SniffingOptions, refuse_unbuilt
from gostpy.processing.udprelay import relay_packets
from gostpy.wire import proxyprotocol

__all__ = [
    "Connector",
    "ConnectorOptions",
    "ForwardingOptions",
    "Handler",
    "HandlerOptions",
    "use_network",
]


@dataclass(frozen=True)
class ForwardingOptions(SniffingOptions, CacheOptions):
    """Options of all handlers that forward; rtcp, rudp and runix have no others."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Wait for a sniffed request, for its response, and for a stateless reply.",
    )
    http_keepalive: bool = opt(
        False, "http.keepalive", doc="Leave sniffed HTTP connections open between requests."
    )
    proxy_protocol: int = opt(
        0,
        "proxyProtocol",
        choices=(0, 1, 2),
        doc="Version of the PROXY protocol header sent to the target; 0 = none.",
    )
    idle_timeout: float = opt(
        0.0,
        "idleTimeout",
        kind="duration",
        since="3.3",
        doc="Close what is silent for this long; 0 = never.",
    )


@dataclass(frozen=True)
class HandlerOptions(ForwardingOptions):
    """Options of tcp, udp and forward."""

    stateless: bool = opt(
        False, "stateless", since="3.3", doc="One datagram to the target and one back, no session."
    )
    buffer_size: int = opt(
        4096,
        "bufferSize",
        "readBufferSize",
        "udp.bufferSize",
        since="3.3",
        unit="bytes",
        positive=True,
        doc="Size of a datagram; longer ones are passed on whole.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """There are no options."""


class Connector:
    """The node is the target: its conn is what was asked for."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """The conn itself; datagrams over a stream travel without frames, as in gost."""
        if request.network.startswith("udp") and isinstance(conn, Conn):
            return StreamPackets(conn)
        return conn


class Handler:
    """Forwards to the forwarder's nodes."""

    def __init__(self, options: ForwardingOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._stateless = isinstance(options, HandlerOptions) and options.stateless
        self._idle = max(options.idle_timeout, 0.0)
        refuse_unbuilt(options)
        self._sniffer: Any = None
        if options.sniffing:  # only a config that sniffs pays for what that needs
            from gostpy.processing.sniffing.sniffer import Sniffer

            self._sniffer = Sniffer(
                options,
                context,
                read_timeout=options.read_timeout,
                keepalive=options.http_keepalive,
            )

    def handle(self, conn: Any) -> None:
        context = self.context
        if context.admit_request is not None:
            context.check_rate(conn)
        network = "udp" if isinstance(conn, PacketConn) else "tcp"
        request = context.request(conn, network, "")
        if self._stateless and network == "udp":
            self._exchange(conn, request)
            return
        if self._sniffer is not None and network == "tcp":
            protocol = self._sniffer.route(conn, self._reach)
            if protocol is None:  # served
                return
            request.protocol = protocol
        self._relay(conn, self._dial(conn, request), request)

    def _dial(self, conn: Any, request: Request) -> Any:
        """A conn to the chosen target, whose address the request gets. Raises RouteError."""
        node = self._select(conn, request)
        return dial_node(self._reach, request, node)

    def _reach(self, request: Request) -> Any:
        """A conn to the request's address, told where its bytes come from."""
        upstream = self.context.router.dial(request)
        if self.options.proxy_protocol > 0 and request.source:
            try:
                self._tell_source(upstream, request)
            except BaseException:
                upstream.close(True)
                raise
        return upstream

    def _select(self, conn: Any, request: Request) -> Any:
        """The node to use, if the target is one; sets the request's network and address."""
        hop = self.context.hop
        if hop is None:  # the far end of the chain decides: -L tcp://:A -F forward+tls://:B
            request.address = ":0"
            return None
        node: Any = hop.select(request)
        if node is None:
            raise DialFailed("no target is available for this request")
        address: str = node.address
        if node.network != "tcp":
            use_network(request, node.network)
        if request.network != "unix" and not _has_port(address):
            address += ":0"
        request.address = address
        return node

    def _tell_source(self, upstream: Any, request: Request) -> None:
        """PROXY protocol: a first message that says where the conn comes from."""
        version, destination = self.options.proxy_protocol, request.destination
        if isinstance(upstream, PacketConn):
            header = proxyprotocol.encode(version, request.source, destination, datagrams=True)
            upstream.send_to(header)
        else:
            upstream.sendall(proxyprotocol.encode(version, request.source, destination))

    def _relay(self, conn: Any, upstream: Any, request: Request) -> None:
        context = self.context
        if isinstance(conn, Conn) and isinstance(upstream, Conn):
            context.relay(conn, upstream, request, idle=self._idle)
            return
        left = StreamPackets(conn) if isinstance(conn, Conn) else conn
        right = StreamPackets(upstream) if isinstance(upstream, Conn) else upstream
        if not (left.on_hub and right.on_hub):
            relay_packets(context, left, right, request, idle=self._idle)
            return
        if context.limit is not None:
            left.meter = join(left.meter, context.limit(request.client_id, request.source))
        started = timers.now()

        def over(done: PacketPipe) -> None:
            context.finished(request, started, done.forwarded, done.returned, done.error)

        pipe_packets(left, right, over, idle=self._idle)

    def _exchange(self, conn: PacketConn, request: Request) -> None:
        """One datagram to the target and one back (gost 3.3)."""
        data, _ = conn.recv_from()
        upstream = self._dial(conn, request)
        if isinstance(upstream, Conn):
            upstream = StreamPackets(upstream)
        started = timers.now()
        try:
            upstream.send_to(data)
            upstream.settimeout(self.options.read_timeout)
            reply, _ = upstream.recv_from()
            conn.send_to(reply)
        finally:
            upstream.close()
            conn.close()
        self.context.finished(request, started, len(data), len(reply))


def use_network(request: Request, network: str) -> None:
    """A node's own network, where it matters."""
    if network == "unix" or network.startswith("udp"):
        request.network = network


def _has_port(address: str) -> bool:
    host, separator, _ = address.rpartition(":")
    return bool(separator) and (":" not in host or host.endswith("]"))
