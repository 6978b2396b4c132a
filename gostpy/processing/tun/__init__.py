"""tun: carries the packets of a TUN device to another tun node, as datagrams of bare IP packets.

With a forwarder it is a client of that node, without one a server for many; see client.py and
server.py. The wire is in gostpy/wire/tun.py.

Differs   with an auther, a server takes packets from nobody but those who registered, and only
          with addresses that they registered, or that lie behind them by the ``router`` (gost
          lets everybody write to the device); admission is asked about every peer.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import GostError, ProtocolError
from gostpy.net.device import DeviceConn
from gostpy.options import opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.tun.client import Client
from gostpy.processing.tun.link import DELAY, DeviceLost, rest
from gostpy.processing.tun.server import Server

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions:
    """Options of tun."""

    keepalive: bool = opt(
        False,
        "tun.keepalive",
        "keepalive",
        doc="Client: register again and again, and dial anew when the server is silent.",
    )
    ttl: float = opt(
        10.0,
        "tun.ttl",
        "ttl",
        kind="duration",
        positive=True,
        doc="Client: interval of keepalive; after three of them without an answer it dials anew.",
    )
    token: str = opt(
        "",
        "tun.token",
        "token",
        "passphrase",
        doc="Client: password of its addresses at the server's auther, 16 bytes at most.",
    )
    p2p: bool = opt(
        False, "tun.p2p", "p2p", doc="Server: there is one peer, which everything goes to."
    )


class Handler:
    """Serves a device until it is gone."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context

    def handle(self, conn: DeviceConn) -> None:
        """Raises ProtocolError: the conn is no TUN device. Ends with the device."""
        if not isinstance(conn, DeviceConn) or conn.settings.tap:
            raise ProtocolError("the tun handler needs the tun listener")
        part: Client | Server
        hop = self.context.hop
        request = self.context.request(conn, "udp", "")
        node = hop.select(request) if hop is not None else None
        if node is not None:
            part = Client(self.options, self.context, conn, str(getattr(node, "address", "")))
        else:
            part = Server(self.options, self.context, conn)
        while not conn.closed:
            try:
                part.run()
            except DeviceLost as error:
                if error.__cause__ is not None:
                    self.context.log.error(f"device {conn.name}: {error.__cause__}")
                return
            except (GostError, OSError) as error:
                self.context.log.error(str(error) or type(error).__name__)
            rest(conn, DELAY)
