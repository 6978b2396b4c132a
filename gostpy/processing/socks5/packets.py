"""Packet conns of UDP ASSOCIATE: a UDP socket and the control connection that keeps it alive.

A datagram that cannot be read is dropped; in gost it ends the direction for good.
"""

from __future__ import annotations

import copy

from gostpy.errors import ProtocolError
from gostpy.net.conn import Conn
from gostpy.net.control import watch
from gostpy.net.packet import PacketConn
from gostpy.net.wrapped import WrappedPackets
from gostpy.wire import socks5
from gostpy.wire.address import split_target

__all__ = ["AssociatedConn", "ClientPackets"]


class AssociatedConn(WrappedPackets):
    """The asking side: ``packets`` has the node's relay address as its peer.

    Args:
        control: both live as long as it does.
        peer: the one target of a connected conn; empty for any.
    """

    def __init__(self, packets: PacketConn, control: Conn, peer: str = "") -> None:
        super().__init__(packets, copy.copy(packets.info))
        self._control = control
        self._peer = peer
        watch(control, self.close)

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        try:
            payload, sender = socks5.read_datagram(data)
        except ProtocolError:
            return None
        return payload, self._peer or sender

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        return socks5.datagram(data, self._peer or address), ""

    def _close(self) -> None:
        super()._close()
        self._control.close()


class ClientPackets(WrappedPackets):
    """The serving side: ``packets`` is bound for one client.

    Datagrams from other hosts are dropped. Answers go to the port that the client used last.

    Args:
        host: the client's IP; empty takes datagrams from anywhere.
        control: both live as long as it does.
    """

    def __init__(self, packets: PacketConn, host: str, control: Conn) -> None:
        super().__init__(packets, copy.copy(control.info))
        self._control = control
        self._host = host
        self._client = ""
        watch(control, self.close)

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        if address != self._client and self._host and split_target(address)[0] != self._host:
            return None
        try:
            datagram = socks5.read_datagram(data)
        except ProtocolError:
            return None
        self._client = address
        return datagram

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        if not self._client:
            return None
        return socks5.datagram(data, address), self._client

    def _close(self) -> None:
        super()._close()
        self._control.close()
