"""redirect (also red, redir): TCP conns that a firewall sends here, by REDIRECT or by TPROXY.

The handler of the same name finds out where they were going. With ``tproxy`` the socket takes conns
to foreign addresses, which needs CAP_NET_ADMIN.

Differs   a conn to the listener's own address with TPROXY is closed; gost dials itself for ever.
"""

from __future__ import annotations

import _socket
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context
from gostpy.net.listen import Acceptor, listen_tcp
from gostpy.net.transparent import is_local
from gostpy.options import opt

__all__ = ["Carrier", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listener."""

    tproxy: bool = opt(False, "tproxy", doc="Accept conns to foreign addresses (TPROXY).")
    mptcp: bool = opt(False, "mptcp", doc="Use multipath TCP on the listening socket.")
    reuse_port: bool = opt(False, "reuseport", since="3.3", doc="Share the port (SO_REUSEPORT).")


class Carrier:
    """Accepts TCP conns."""

    network = "tcp"

    def __init__(self, options: ListenOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def listen(self, accepted: Callable[[_socket.socket, Any], None]) -> Acceptor:
        """Bind the service's address. Raises OSError."""
        options = self.options
        sockets = dataclasses.replace(self.context.sockets, mptcp=options.mptcp).usual()
        port = 0

        def checked(sock: _socket.socket, peer: Any) -> None:
            host, reached = sock.getsockname()[:2]
            if reached == port and is_local(host, sockets):
                sock.close()
            else:
                accepted(sock, peer)

        acceptor = listen_tcp(
            self.context.address,
            checked if options.tproxy else accepted,
            sockets,
            reuse_port=options.reuse_port,
            transparent=options.tproxy,
        )
        port = acceptor.address[1]
        return acceptor
