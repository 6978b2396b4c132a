"""ftcp: datagrams in segments of what firewalls take for a TCP connection; needs raw sockets.

Each peer is a session, delivered as a packet conn; see gostpy/net/faketcp. The connection is
made by this machine, so a node with this dialer can only be the first one of a chain.

Differs   gost cuts datagrams off at ``readBufferSize`` and at 2 KiB; here they arrive whole, and it
          only bounds what a session may queue. A session ends when its peer closes the flow,
          and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.errors import Unsupported
from gostpy.interfaces import Context
from gostpy.net.faketcp import listen_fake_tcp
from gostpy.net.packet import PacketConn
from gostpy.net.sessions import SessionLimits, Sessions
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions"]


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has no options."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    ttl: float = opt(
        60.0,
        "ttl",
        kind="duration",
        positive=True,
        doc="A session that is unused for a whole period of this length ends.",
    )
    read_buffer_size: int = opt(
        4096,
        "readBufferSize",
        unit="bytes",
        positive=True,
        doc="Size of one datagram, for the bound of a session's queue.",
    )
    read_queue_size: int = opt(
        1024,
        "readQueueSize",
        unit="datagrams",
        positive=True,
        doc="Datagrams of a session that wait to be handled; further ones are lost.",
    )
    backlog: int = opt(
        128, "backlog", unit="sessions", positive=True, doc="New sessions that nobody serves yet."
    )


class Carrier:
    """Sorts datagrams into sessions; dialing is the route's business."""

    network = "ftcp"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def listen(self, accepted: Callable[[Any, Any], None]) -> Sessions:
        """Bind the service's address. Raises OSError."""
        options = self.options
        limits = SessionLimits(
            backlog=options.backlog,
            queue_size=options.read_queue_size,
            buffer_size=options.read_buffer_size,
            ttl=options.ttl,
        )
        packets = listen_fake_tcp(
            self.context.address, self.context.sockets, idle=max(options.ttl, 60.0)
        )
        sessions = Sessions(packets, lambda session: accepted(session, None), limits)
        packets.lost, sessions.left = sessions.end, packets.end
        return sessions

    def dialed(self, conn: Any) -> None:
        """Raises Unsupported: a node before this one was asked for the connection."""
        if not isinstance(conn, PacketConn):
            conn.close(True)
            raise Unsupported("ftcp makes its connection here: it must be the first node")
