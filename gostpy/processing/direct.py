"""Connector ``direct`` (also ``virtual``): dial the target itself, without a proxy.

With ``action: reject`` it answers every request with a conn that is at its end: reading finds the
end of stream, writing fails. A proxy in front still reports success, as in gost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConnectionClosed, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.dial import dial_tcp, dial_unix
from gostpy.net.ended import EndedEndpoint
from gostpy.net.packet import PacketConn, dial_udp
from gostpy.options import opt

__all__ = ["Connector", "ConnectorOptions"]

_TIMEOUT = 15.0


@dataclass(frozen=True)
class ConnectorOptions:
    """Options of the connector."""

    action: str = opt(
        "",
        "action",
        choices=("", "reject"),
        doc="Empty: dial the target; reject: answer with a conn that ends at once.",
    )


class Connector:
    """Ignores the conn to the node; there is none behind a direct dialer."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """A conn to the target. Raises DialFailed, Unsupported."""
        conn.close()
        network, address = request.network, request.address
        if self.options.action == "reject":
            return _EndedPackets() if network.startswith("udp") else Conn(EndedEndpoint("rejected"))
        sockets = self.context.sockets
        if network.startswith("tcp"):
            return dial_tcp(address, sockets, timeout=_TIMEOUT)
        if network.startswith("udp"):
            return dial_udp(address, sockets)
        if network == "unix":
            return dial_unix(address, sockets, timeout=_TIMEOUT)
        raise Unsupported(f"cannot dial network {network!r} directly")


class _EndedPackets(PacketConn):
    """Datagrams that come from nowhere and can be sent nowhere."""

    def __init__(self) -> None:
        super().__init__(ConnInfo())

    def recv_from(self) -> tuple[bytes, str]:
        raise ConnectionClosed("rejected")

    def send_to(self, data: bytes, address: str = "") -> None:
        raise ConnectionClosed("rejected")
