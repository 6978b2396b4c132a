"""udp: plain datagrams. Each peer of the listening socket is a session, delivered as a packet conn.

Dialing gives a packet conn with one peer; there is nothing to configure.

Differs   gost cuts datagrams off at ``readBufferSize``; here it only bounds what a session may
          queue (``readQueueSize`` times as many bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context
from gostpy.net.packet import listen_udp
from gostpy.net.sessions import SessionLimits, Sessions
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions"]


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has no options."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    backlog: int = opt(
        128, "backlog", unit="sessions", positive=True, doc="New sessions that nobody serves yet."
    )
    keepalive: bool = opt(
        False, "keepalive", doc="Keep a session until ttl; otherwise it ends with its first reply."
    )
    ttl: float = opt(
        5.0,
        "ttl",
        "keepalive.ttl",
        kind="duration",
        positive=True,
        doc="A session that is unused for a whole period of this length ends.",
    )
    read_buffer_size: int = opt(
        4096,
        "readBufferSize",
        "udp.bufferSize",
        unit="bytes",
        positive=True,
        doc="Size of one datagram, for the bound of a session's queue.",
    )
    read_queue_size: int = opt(
        128,
        "readQueueSize",
        "recvQueueSize",
        unit="datagrams",
        positive=True,
        doc="Datagrams of a session that wait to be handled; further ones are lost.",
    )
    stateless: bool = opt(
        False, "stateless", since="3.3", doc="Every datagram is a session of its own."
    )


class Carrier:
    """Sorts the datagrams of a socket into sessions; dialing is the route's business."""

    network = "udp"

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
            keepalive=options.keepalive and not options.stateless,
            stateless=options.stateless,
        )
        packets = listen_udp(self.context.address, self.context.sockets)
        return Sessions(packets, lambda session: accepted(session, None), limits)
