"""The listening side of fake TCP."""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import struct
from collections.abc import Callable
from typing import Any

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import ConnInfo, format_address
from gostpy.net.faketcp.system import (
    BUFFER,
    VIEW,
    System,
    new_flow,
    reason,
    select,
    unmapped,
)
from gostpy.net.listen import listen_tcp
from gostpy.net.packet import PacketSink, UDPSocket, no_datagram
from gostpy.net.queued import CallbackPackets
from gostpy.net.socketfilter import attach, refuse_flags, select_segments
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.wire.rawtcp import ACK, FIN, PSH, RST, Segment

__all__ = ["FakeTCPListener", "listen_fake_tcp"]

_IP_PKTINFO = 8
_IPV6_PKTINFO = 50
_MOST_SILENT = 1024
"""Connections from which no datagram has come yet; above, the oldest is closed."""


def listen_fake_tcp(
    address: str, options: SocketOptions = DEFAULT, *, idle: float = 60.0
) -> FakeTCPListener:
    """An unconnected packet conn whose peers are those that connected to ``host:port``.

    Args:
        idle: seconds; a flow that is unused for a whole period of this length ends.

    Raises OSError.
    """
    return FakeTCPListener(address, dataclasses.replace(options, mptcp=False).usual(), idle)


class FakeTCPListener(CallbackPackets):
    """The listening side. Datagrams can be sent to peers from whom some have come.

    Attributes:
        lost: told the address of each peer whose flow has ended.
    """

    most_waiting = 1024

    def __init__(self, address: str, options: SocketOptions, idle: float) -> None:
        self._peers: dict[str, _Peer] = {}
        self._silent: dict[str, None] = {}  # in order of arrival
        self._idle = idle
        self._raw: dict[int, _Raw] = {}
        self.lost: Callable[[str], Any] | None = None
        self._acceptor = listen_tcp(address, self._accepted, options)
        sock = self._acceptor.sock
        super().__init__(ConnInfo(local=self._acceptor.address))
        try:
            attach(sock, refuse_flags(PSH))
            host, port = sock.getsockname()[:2]
            families = [int(sock.family)]
            if host == "::":
                families.append(_socket.AF_INET)
            for family in families:
                self._raw[family] = self._open(family, host, port, options)
        except OSError as error:
            self.close()
            raise OSError(error.errno, f"listen ftcp {address}: {reason(error)}") from error
        self._acceptor.start()
        timers.after(idle, self._sweep)

    def _open(self, family: int, host: str, port: int, options: SocketOptions) -> _Raw:
        raw = open_socket(family, _socket.SOCK_RAW, options, _socket.IPPROTO_TCP)
        try:
            select(raw, select_segments(family, port, PSH | FIN | RST))
            if host not in ("::", "0.0.0.0"):
                raw.bind((host, 0))
            return _Raw(self, raw)
        except BaseException:
            raw.close()
            raise

    # -- flows ---------------------------------------------------------------------------------

    def _accepted(self, sock: _socket.socket, peer: Any) -> None:
        address = format_address(peer)
        known = self._peers.pop(address, None)
        if known is not None:
            known.system.close()
        self._peers[address] = _Peer(self, address, sock, peer)
        self._silent[address] = None
        if len(self._silent) > _MOST_SILENT:
            self.end(next(iter(self._silent)))

    def spoke(self, address: str) -> None:
        """The first datagram of a peer has come."""
        self._silent.pop(address, None)

    def find(self, address: str) -> _Peer | None:
        """The peer of a segment; its connection may still wait to be accepted."""
        peer = self._peers.get(address)
        if peer is None and not self.closed:
            self._acceptor.accept_now()
            peer = self._peers.get(address)
        return peer

    def end(self, address: str) -> None:
        """End a peer's flow."""
        peer = self._peers.pop(address, None)
        self._silent.pop(address, None)
        if peer is None:
            return
        with contextlib.suppress(OSError):
            if peer.flow.known:
                self._raw[peer.family].send_segment(peer, b"", FIN | ACK)
        peer.system.close()
        if self.lost is not None:
            self.lost(address)

    def _sweep(self) -> None:
        if self.closed:
            return
        for address, peer in list(self._peers.items()):
            if not peer.flow.used:
                self.end(address)
            peer.flow.used = False
        timers.after(self._idle, self._sweep)

    # -- datagrams -----------------------------------------------------------------------------

    def send_to(self, data: bytes, address: str = "") -> None:
        self.send_now(data, address)

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        for raw in self._raw.values():
            raw.start(sink)

    def _halt(self) -> None:
        for raw in self._raw.values():
            raw.pause()

    def _go_on(self) -> None:
        super()._go_on()
        for raw in self._raw.values():
            raw.resume()

    def send_now(self, data: bytes, address: str = "") -> float:
        peer = self._peers.get(address)
        if peer is None or not peer.flow.known:
            if self.closed:
                raise ConnectionClosed("packet conn is closed")
            return 0.0  # the peer is gone: the datagram is lost
        return self._raw[peer.family].send_now(data, address)

    def _close(self) -> None:
        self._acceptor.close()
        for address in list(self._peers):
            self.end(address)
        for raw in self._raw.values():
            raw.sink = None
            raw.close()
        super()._close()


class _Peer:
    """One flow of a listener."""

    __slots__ = ("control", "family", "flow", "system", "target")

    def __init__(
        self, listener: FakeTCPListener, address: str, sock: _socket.socket, peer: Any
    ) -> None:
        local, peer = unmapped(sock.getsockname()), unmapped(peer)
        self.family = int(_socket.AF_INET6 if ":" in peer[0] else _socket.AF_INET)
        self.flow = new_flow(self.family, local, peer)
        self.target = (peer[0], 0, *peer[2:])
        source = _socket.inet_pton(self.family, local[0].partition("%")[0])
        if self.family == _socket.AF_INET:
            place = _socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4x", 0, source)
        else:
            place = _socket.IPPROTO_IPV6, _IPV6_PKTINFO, struct.pack("=16sI", source, local[3])
        self.control = [place]
        self.system = System(sock, lambda: listener.end(address))


class _Raw(UDPSocket):
    """A raw socket of a listener, of one address family."""

    __slots__ = ("_listener",)

    def __init__(self, listener: FakeTCPListener, sock: _socket.socket) -> None:
        super().__init__(sock)
        self._listener = listener

    def _known(self, address: str) -> bool:
        return True

    def _receive(self) -> tuple[bytes, str]:
        size, sender = self.sock.recvfrom_into(BUFFER)
        start = (BUFFER[0] & 15) * 4 if len(sender) == 2 else 0
        try:
            segment = Segment.read(VIEW[start:size])
        except ProtocolError:
            raise no_datagram() from None
        address = format_address((sender[0].partition("%")[0], segment.source_port))
        peer = self._listener.find(address)
        if peer is None:
            raise no_datagram()
        known = peer.flow.known
        try:
            data = peer.flow.arrived(segment)
        except ProtocolError:
            self._listener.end(address)
            data = None
        if data is None:
            raise no_datagram()
        if not known:
            self._listener.spoke(address)
        return data, address

    def _send(self, data: bytes, address: str) -> None:
        peer = self._listener.find(address)
        if peer is not None:
            self.send_segment(peer, data, PSH | ACK)

    def send_segment(self, peer: _Peer, data: bytes, flags: int) -> None:
        self.sock.sendmsg([peer.flow.datagram(data, flags)], peer.control, 0, peer.target)
