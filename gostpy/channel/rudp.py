"""rudp: a udp listener at the end of the chain. Its options hold for the sessions of the peers,
which are always kept until they are idle.

See remote.py for how it binds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.channel.remote import RemoteCarrier
from gostpy.options import opt

__all__ = ["Carrier", "Options"]


@dataclass(frozen=True)
class Options:
    """Options of the listener."""

    ttl: float = opt(
        5.0,
        "ttl",
        kind="duration",
        positive=True,
        doc="A session that is unused for a whole period of this length ends.",
    )
    read_buffer_size: int = opt(
        8192, "readBufferSize", unit="bytes", positive=True, doc="Size of the largest datagram."
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


class Carrier(RemoteCarrier):
    """Asks for packet conns, one per peer."""

    network = "udp"

    def bind_options(self) -> dict[str, Any]:
        options = self.options
        return {
            "backlog": options.backlog,
            "queue": options.read_queue_size,
            "buffer": options.read_buffer_size,
            "ttl": options.ttl,
        }
