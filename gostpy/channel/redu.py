"""redu: UDP datagrams that a firewall sends here by TPROXY; needs CAP_NET_ADMIN.

What one peer sends to one destination is a session, delivered as a packet conn; answers leave from
a socket that is bound to the destination.

Differs   gost opens the answering socket with the first datagram, and another one for each that
          came before it was ready; here it is opened by the first answer. gost cuts datagrams off
          at ``readBufferSize``, here they arrive whole. Datagrams to the listener itself are lost
          (gost answers itself for ever).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context
from gostpy.net.sessions import SessionLimits
from gostpy.net.transparent import TransparentSessions, listen_transparent
from gostpy.options import opt

__all__ = ["Carrier", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listener."""

    ttl: float = opt(
        30.0,
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


class Carrier:
    """Sorts datagrams into sessions."""

    network = "udp"

    def __init__(self, options: ListenOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def listen(self, accepted: Callable[[Any, Any], None]) -> TransparentSessions:
        """Bind the service's address. Raises OSError."""
        packets = listen_transparent(self.context.address, self.context.sockets)
        limits = SessionLimits(buffer_size=self.options.read_buffer_size, ttl=self.options.ttl)
        return TransparentSessions(packets, lambda session: accepted(session, None), limits)
