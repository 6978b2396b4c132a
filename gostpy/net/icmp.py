"""Raw ICMP sockets as packet conns: datagrams in echo messages.

A peer's address is ``ip:id``, the id of its echo messages in the place of a port. The server
answers with replies that carry the number of the last request; the kernel's own replies to the same
requests lack a flag and are passed over.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import random
import struct
from typing import Any

from gostpy.errors import DialFailed, ProtocolError
from gostpy.net.conn import format_address
from gostpy.net.dial import resolve, split_address
from gostpy.net.packet import UDPSocket, no_datagram
from gostpy.net.sockopt import DEFAULT, SocketOptions, in_namespace
from gostpy.net.udpburst import enlarge
from gostpy.wire.icmp import Echo, echo_type, payload_of

__all__ = ["ICMPPackets", "dial_icmp", "listen_icmp"]

_MOST_PEERS = 4096
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1

_received = bytearray(65536)
_view = memoryview(_received)


class ICMPPackets(UDPSocket):
    """One side of a datagram exchange in echo messages.

    Args:
        sock: raw, non-blocking.
        peer: (ip, id) of the server, for a client; None for a server.
    """

    __slots__ = ("_ident", "_ipv6", "_sequence", "_sequences")

    def __init__(self, sock: _socket.socket, peer: tuple[str, int] | None, local: Any) -> None:
        super().__init__(sock, peer)
        self.info.local = local
        self._ipv6 = sock.family == _socket.AF_INET6
        self._ident = peer[1] if peer is not None else 0
        self._sequence = 0
        self._sequences: dict[str, int] = {}
        enlarge(sock)
        _only(sock, echo_type(self._ipv6, peer is not None))

    def _known(self, address: str) -> bool:
        return True

    def _receive(self) -> tuple[bytes, str]:
        try:
            size, sender = self.sock.recvfrom_into(_received)
            packet = bytes(_view[:size])
            echo = Echo.read(packet if self._ipv6 else payload_of(packet), self._ipv6)
        except ProtocolError:  # of another program
            raise no_datagram() from None
        if echo.reply != bool(self._ident) or (self._ident and echo.ident != self._ident):
            raise no_datagram()
        address = format_address((sender[0], echo.ident))
        if not self._ident:
            if len(self._sequences) >= _MOST_PEERS and address not in self._sequences:
                del self._sequences[next(iter(self._sequences))]
            self._sequences[address] = echo.sequence
        return echo.data, address

    def read_now(self) -> None:
        """Hand over what has arrived already, without waiting for the loop to tell."""
        if self.sink is not None and not self.closed and not self._hold:
            self._readable()

    def _send(self, data: bytes, address: str) -> None:
        if self._ident:
            self._sequence += 1
            host, ident, sequence = self.info.peer[0], self._ident, self._sequence
        else:
            host, ident = split_address(address)
            sequence = self._sequences.get(address, 0)
        message = Echo(not self._ident, ident, sequence, data).encode(self._ipv6)
        try:
            self.sock.sendto(message, (host, 0))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:  # which is lost, as datagrams may be
                raise


def _only(sock: _socket.socket, kind: int) -> None:
    """Let the socket see messages of one type only."""
    with contextlib.suppress(OSError):  # without it, others are passed over one by one
        if sock.family == _socket.AF_INET6:
            words = [0xFFFFFFFF] * 8
            words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
            sock.setsockopt(_socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
        else:
            mask = ~(1 << kind) & 0xFFFFFFFF
            sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", mask))


def _open(ipv6: bool, options: SocketOptions) -> _socket.socket:
    family = _socket.AF_INET6 if ipv6 else _socket.AF_INET
    protocol = _socket.IPPROTO_ICMPV6 if ipv6 else _socket.IPPROTO_ICMP
    kind = _socket.SOCK_RAW | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    with in_namespace(options.netns):
        return _socket.socket(family, kind, protocol)


def _host(host: str, ipv6: bool) -> str:
    """An address of the family. Raises DialFailed."""
    wanted = _socket.AF_INET6 if ipv6 else _socket.AF_INET
    for family, target in resolve(host, 0, _socket.SOCK_DGRAM):
        if family == wanted:
            return str(target[0])
    raise DialFailed(f"no address of IPv{6 if ipv6 else 4} for {host!r}", address=host)


def dial_icmp(address: str, ipv6: bool, options: SocketOptions = DEFAULT) -> ICMPPackets:
    """A client; the port is its id, 0 a random one. Raises DialFailed."""
    try:
        host, ident = split_address(address)
        peer = (_host(host, ipv6), ident or random.randint(1, 65535))
        return ICMPPackets(_open(ipv6, options), peer, None)
    except OSError as error:
        reason = error.strerror or error
        raise DialFailed(f"dial icmp {address}: {reason}", address=address) from error


def listen_icmp(address: str, ipv6: bool, options: SocketOptions = DEFAULT) -> ICMPPackets:
    """A server on the host of ``address``, every address without one. Raises OSError."""
    host, _ = split_address(address)
    any_host = "::" if ipv6 else "0.0.0.0"
    try:
        sock = _open(ipv6, options)
        try:
            sock.bind((_host(host, ipv6) if host else any_host, 0))
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise OSError(error.errno, f"listen icmp {address}: {error.strerror or error}") from error
    return ICMPPackets(sock, None, (sock.getsockname()[0], 0))
