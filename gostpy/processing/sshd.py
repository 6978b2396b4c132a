"""Handler and connector ``sshd``: what clients of a standard SSH server ask for, and asking for it.

direct-tcpip (``ssh -L``, ``-D``) is dialed through the chain, and the channel confirmed when that
has worked. tcpip-forward (``ssh -R``) listens on this machine, as gost means to; each conn that
arrives there gets a forwarded-tcpip channel, until the client cancels it or goes.

Differs   the handler of gost 3.2.6 refuses everything ("wrong connection type"); this is what its
          code means to do, except that a failed dial refuses the channel
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConnectionClosed, Denied, GostError, ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.binding import StreamBinding
from gostpy.net.conn import Conn
from gostpy.net.dial import split_address
from gostpy.net.tasks import start_task
from gostpy.options import opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import SniffingOptions, relay_for
from gostpy.stream.ssh.forwarding import Bound, ForwardRequest, Way
from gostpy.wire.address import join_address
from gostpy.wire.ssh.messages import OpenReason

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Wait for a sniffed request and for its response.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """There are no options."""


class Handler:
    """Serves the conns and requests of an sshd listener."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._relay = relay_for(options, context, options.read_timeout)

    def handle(self, conn: Any) -> None:
        """Raises Rejected, ProtocolError, RouteError, OSError."""
        self.context.check_rate(conn)
        if isinstance(conn, ForwardRequest):
            self._forward(conn)
            return
        target = getattr(conn.endpoint, "target", None)
        if target is None:
            raise ProtocolError("the sshd handler needs the sshd listener")
        host = "" if target.host == "<nil>" else target.host
        request = self.context.request(conn, "tcp", join_address(host, target.port))
        try:
            self.context.check_bypass(request)
            upstream = self.context.dial(request)
        except Denied:
            conn.endpoint.refusal = OpenReason.PROHIBITED
            raise
        self._relay(conn, upstream, request)

    def _forward(self, forward: ForwardRequest) -> None:
        """Listen for a client, until its request is closed."""
        address = join_address(forward.host, forward.port)
        binding = StreamBinding(address, self.context.sockets)
        forward.on_close = lambda _: binding.close()
        if forward.closed:  # while the name was looked up
            binding.close()
            return
        forward.grant(binding.address[1])
        try:
            while True:
                start_task(self._carry, forward, binding.accept())
        except ConnectionClosed:
            pass  # the client has cancelled it, or is gone

    def _carry(self, forward: ForwardRequest, peer: Conn) -> None:
        """One conn that arrived, in its green thread."""
        request = self.context.request(forward, "tcp", peer.info.peer_address)
        try:
            channel = forward.open(*peer.info.peer[:2])
        except (GostError, OSError) as error:
            peer.close(True)
            self.context.log.debug(f"forward: {error}", remote=request.source)
            return
        self.context.relay(channel, peer, request)


class Connector:
    """Asks the server at the other end of an sshd dialer."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options

    def handshake(self, conn: Any) -> Any:
        if not isinstance(conn, Way):
            raise Unsupported("the sshd connector needs the sshd dialer")
        return conn

    def connect(self, conn: Way, request: Request) -> Conn:
        """A channel to the target. Raises ConnectionClosed, TimeoutError, Unsupported."""
        host, port = ("", 0) if request.network == "unix" else split_address(request.address)
        channel = conn.session.connect(request.network, request.address, host, port)
        conn.close()
        return channel

    def bind(self, conn: Way, request: Request, **options: Any) -> Bound:
        """The server listens for us; no host is every address, as gost says it."""
        if not request.network.startswith("tcp"):
            raise Unsupported(f"SSH has no forwarding of {request.network}")
        host, port = split_address(request.address)
        return conn.session.bind(conn, host or "0.0.0.0", port)
