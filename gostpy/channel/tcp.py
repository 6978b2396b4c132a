"""tcp: plain TCP connections, the carrier under most stacks.

Options differ by side: a listener may share its port (3.3); both may use multipath TCP and, since
3.3, set keep-alive probes.
"""

from __future__ import annotations

import _socket
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context
from gostpy.net.listen import Acceptor, listen_tcp
from gostpy.net.sockopt import set_keepalive
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions"]


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    keepalive: bool = opt(False, "keepalive", since="3.3", doc="Set TCP keep-alive probes.")
    keepalive_idle: float = opt(
        0.0, "keepalive.idle", kind="duration", since="3.3", doc="Idle time before the first probe."
    )
    keepalive_interval: float = opt(
        0.0, "keepalive.interval", kind="duration", since="3.3", doc="Time between probes."
    )
    keepalive_count: int = opt(
        0, "keepalive.count", since="3.3", doc="Unanswered probes before the connection is dropped."
    )


@dataclass(frozen=True)
class ListenOptions(DialOptions):
    """Options of the listening side."""

    mptcp: bool = opt(False, "mptcp", doc="Use multipath TCP on the listening socket.")
    reuse_port: bool = opt(False, "reuseport", since="3.3", doc="Share the port (SO_REUSEPORT).")
    transparent: bool = opt(False, doc="Accept connections to foreign addresses (TPROXY).")


class Carrier:
    """Accepts TCP connections; dialing them is the route's business."""

    network = "tcp"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def listen(self, accepted: Callable[[_socket.socket, Any], None]) -> Acceptor:
        """Bind the service's address. Raises OSError."""
        options = self.options
        sockets = dataclasses.replace(self.context.sockets, mptcp=options.mptcp)
        acceptor = listen_tcp(
            self.context.address,
            accepted,
            sockets,
            reuse_port=options.reuse_port,
            transparent=options.transparent,
        )
        self._keepalive(acceptor.sock)  # accepted sockets inherit it
        return acceptor

    def dialed(self, conn: Any) -> None:
        """A carrier connection was made for this node: apply its options."""
        sock = getattr(conn.endpoint, "sock", None)
        if sock is not None:
            self._keepalive(sock)

    def _keepalive(self, sock: _socket.socket) -> None:
        options = self.options
        if options.keepalive:
            set_keepalive(
                sock, options.keepalive_idle, options.keepalive_interval, options.keepalive_count
            )
