"""Sockets of transparent proxies: conns and datagrams that were meant for somebody else (Linux).

REDIRECT (NAT) leaves the original destination in the kernel's tables, ``original_destination`` asks
for it. TPROXY leaves it in place: it is the local address of an accepted conn, and comes beside
each datagram (RECVORIGDSTADDR). Datagrams go back from sockets bound to it (IP_TRANSPARENT, which
needs CAP_NET_ADMIN), one per session.

A packet of one peer to one destination has the address ``peer>destination`` here.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
from collections.abc import Callable

from gostpy.net.conn import ConnInfo, format_address
from gostpy.net.dial import is_ip, split_address
from gostpy.net.packet import UDPSocket, bind_udp
from gostpy.net.sessions import Session, SessionLimits, Sessions
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket

__all__ = [
    "TransparentPackets",
    "TransparentSessions",
    "is_local",
    "listen_transparent",
    "original_destination",
]

_ORIGINAL_DST = 80
_IP_TRANSPARENT, _IP_RECVORIGDSTADDR = 19, 20
_IPV6_TRANSPARENT, _IPV6_RECVORIGDSTADDR = 75, 74
_IPV4 = struct.Struct("!2xH4s")  # sockaddr_in
_IPV6 = struct.Struct("!2xHI16s")  # sockaddr_in6 up to the address
_ANCILLARY = 256

_BUFFER = bytearray(65536)
_VIEW = memoryview(_BUFFER)


def original_destination(sock: _socket.socket, ipv6: bool) -> tuple[str, int]:
    """Where a redirected conn was going. Raises OSError: the kernel does not know."""
    try:
        if ipv6:
            return _ipv6(sock.getsockopt(_socket.IPPROTO_IPV6, _ORIGINAL_DST, 28))
        return _ipv4(sock.getsockopt(_socket.IPPROTO_IP, _ORIGINAL_DST, 16))
    except OSError as error:
        reason = f"no original destination (was it redirected?): {error.strerror}"
        raise OSError(error.errno, reason) from error


def is_local(host: str, sockets: SocketOptions = DEFAULT) -> bool:
    """Whether an IP address is one of this machine."""
    family = is_ip(host)
    probe = open_socket(family, _socket.SOCK_DGRAM, sockets)
    try:
        probe.bind((host, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def _ipv4(data: bytes) -> tuple[str, int]:
    port, host = _IPV4.unpack_from(data)
    return _socket.inet_ntop(_socket.AF_INET, host), port


def _ipv6(data: bytes) -> tuple[str, int]:
    port, _, host = _IPV6.unpack_from(data)
    return _socket.inet_ntop(_socket.AF_INET6, host), port


def listen_transparent(address: str, sockets: SocketOptions = DEFAULT) -> TransparentPackets:
    """Datagrams that TPROXY sends to ``host:port``. Raises OSError."""
    sock = bind_udp(address, sockets)
    try:
        _set(sock, _socket.IPPROTO_IP, _IP_TRANSPARENT, _IP_RECVORIGDSTADDR)
        if sock.family == _socket.AF_INET6:
            _set(sock, _socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, _IPV6_RECVORIGDSTADDR)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"listen redu {address}: {_reason(error)}") from error
    return TransparentPackets(sock, sockets)


def _set(sock: _socket.socket, level: int, *options: int) -> None:
    for option in options:
        sock.setsockopt(level, option, 1)


class TransparentPackets(UDPSocket):
    """The listening socket and the sockets that answer."""

    __slots__ = ("_replies", "_sockets")

    def __init__(self, sock: _socket.socket, sockets: SocketOptions) -> None:
        super().__init__(sock)
        self._sockets = sockets
        self._replies: dict[str, UDPSocket] = {}

    def _known(self, address: str) -> bool:
        return True

    def _receive(self) -> tuple[bytes, str]:
        size, ancillary, _, peer = self.sock.recvmsg_into([_BUFFER], _ANCILLARY)
        for level, kind, data in ancillary:
            if level == _socket.IPPROTO_IP and kind == _IP_RECVORIGDSTADDR:
                destination = _ipv4(data)
            elif level == _socket.IPPROTO_IPV6 and kind == _IPV6_RECVORIGDSTADDR:
                destination = _ipv6(data)
            else:
                continue
            return bytes(_VIEW[:size]), f"{format_address(peer)}>{format_address(destination)}"
        raise OSError(errno.EPROTO, "a datagram without its destination")

    def _send(self, data: bytes, address: str) -> None:
        reply = self._replies.get(address)
        if reply is None:
            reply = self._replies[address] = self._open(address)
        reply.send_now(data)

    def _open(self, address: str) -> UDPSocket:
        """The socket that speaks for the destination; what else the peer sends may reach it."""
        peer, destination = addresses(address)
        family = _socket.AF_INET6 if ":" in destination[0] else _socket.AF_INET
        sock = open_socket(family, _socket.SOCK_DGRAM, self._sockets)
        try:
            if family == _socket.AF_INET6:
                _set(sock, _socket.IPPROTO_IPV6, _IPV6_TRANSPARENT)
            else:
                _set(sock, _socket.IPPROTO_IP, _IP_TRANSPARENT)
            _set(sock, _socket.SOL_SOCKET, _socket.SO_REUSEADDR, _socket.SO_REUSEPORT)
            sock.bind(destination)
            sock.connect(peer)
        except OSError as error:
            sock.close()
            raise OSError(error.errno, f"answer as {destination[0]}: {_reason(error)}") from error
        reply = UDPSocket(sock, peer)
        reply.start(_Into(self, address))
        return reply

    def arrived(self, data: bytes, address: str) -> None:
        """A datagram that reached an answering socket."""
        if self.sink is not None:
            self.sink.datagram(data, address)

    def end(self, address: str) -> None:
        """A session is over."""
        reply = self._replies.pop(address, None)
        if reply is not None:
            reply.close()

    def _close(self) -> None:
        for address in list(self._replies):
            self.end(address)
        super()._close()


class _Into:
    """Datagrams of an answering socket are those of its session."""

    def __init__(self, packets: TransparentPackets, address: str) -> None:
        self._packets = packets
        self._address = address

    def datagram(self, data: bytes, address: str) -> None:
        self._packets.arrived(data, self._address)

    def ended(self, error: BaseException | None) -> None:
        self._packets.end(self._address)


class TransparentSessions(Sessions):
    """A session is what one peer sends to one destination; ``info.destination`` has the latter."""

    def __init__(
        self,
        packets: TransparentPackets,
        accepted: Callable[[Session], None],
        limits: SessionLimits,
    ) -> None:
        super().__init__(packets, accepted, limits)
        self._port = packets.info.local[1]
        self._sockets = packets._sockets
        self.left = packets.end

    def facts(self, address: str) -> ConnInfo:
        peer, destination = addresses(address)
        return ConnInfo(peer=peer, local=destination, destination=destination)

    def begin(self, address: str) -> Session | None:
        """None also for what was sent to this very listener: answering would never end."""
        _, (host, port) = addresses(address)
        if port == self._port and is_local(host, self._sockets):
            return None
        return super().begin(address)


def addresses(address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Peer and destination of ``peer>destination``."""
    peer, _, destination = address.partition(">")
    return split_address(peer), split_address(destination)


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "transparent sockets need root or CAP_NET_ADMIN"
    return error.strerror or os.strerror(error.errno or 0)
