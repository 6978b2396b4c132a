"""The sessions of ``ssh``: gost's own channels, each of which is a conn.

Wire      channels of type ``gost-tunnel`` without further fields; any other type is refused, any
          request that belongs to no channel is answered with failure (which a keep-alive takes)
"""

from __future__ import annotations

from gostpy.net.conn import Conn
from gostpy.stream.session import Delivered
from gostpy.stream.ssh.channel import Channel
from gostpy.stream.ssh.link import Link
from gostpy.stream.ssh.session import Session
from gostpy.wire.ssh.messages import Open

__all__ = ["TUNNEL", "TunnelClient", "TunnelServer"]

TUNNEL = "gost-tunnel"


class TunnelServer(Session):
    """Delivers each tunnel that the peer opens."""

    def __init__(self, link: Link, deliver: Delivered) -> None:
        super().__init__(link, False, deliver)

    def channel_asked(self, asked: Open, channel: Channel) -> None:
        if asked.kind != TUNNEL:
            super().channel_asked(asked, channel)
        self.accept_open(channel)
        self.admit(channel)


class TunnelClient(Session):
    """Opens tunnels."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, True, _refuse)

    def open(self) -> Conn:
        """Raises OpenRefused, ConnectionClosed, TimeoutError."""
        return self.open_channel(TUNNEL)


def _refuse(conn: Conn) -> None:
    """A server opens no tunnels; none gets here."""
    conn.close(True)
