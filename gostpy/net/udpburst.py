"""A UDP socket for protocols that send and receive many datagrams at a time (QUIC, KCP, tun).

Out   datagrams of one size to one address leave in one call (UDP_SEGMENT), up to 64 at once
In    the kernel hands over datagrams that came together as one (UDP_GRO); they are taken apart here

Where the kernel has neither, datagrams go one by one. What does not fit into the socket's buffer
is lost, as datagrams may be.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import struct
from collections.abc import Sequence
from typing import Any

from gostpy.errors import ConnectionClosed
from gostpy.net.conn import format_address
from gostpy.net.packet import _LOST, MAX_DATAGRAM, PacketConn, UDPSocket

__all__ = ["BurstSocket", "enlarge", "send_all"]

UDP_SEGMENT, UDP_GRO = 103, 104
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33

_BUFFER_SIZE = 4 << 20
_MOST_SEGMENTS = 64
_MOST_BYTES = 65000
_TURNS = 8
"""Reads from one socket before others get their turn: each may bring 64 datagrams."""

_NO_OFFLOAD = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP)

_received = bytearray(MAX_DATAGRAM)
_view = memoryview(_received)
_size = struct.Struct("=H")
_ancillary = _socket.CMSG_SPACE(4)


def send_all(packets: PacketConn, datagrams: Sequence[bytes], address: str) -> None:
    """Send datagrams on any packet conn that works on the hub. Raises OSError."""
    send_batch = getattr(packets, "send_batch", None)
    if send_batch is not None:
        send_batch(datagrams, address)
        return
    for datagram in datagrams:
        packets.send_now(datagram, address)


class BurstSocket(UDPSocket):
    """Takes over the OS socket of a UDPSocket, which is over by that. Empty datagrams are skipped,
    and those from port 0, which are forged.

    Args:
        together: receive many datagrams at a time; else a few in one turn of the loop, for users
            who are slow to handle one.

    Attributes:
        refused: answers in a row that said that nobody listens there (connected sockets only).
    """

    __slots__ = ("_segments", "refused")

    def __init__(self, packets: UDPSocket, together: bool = True) -> None:
        sock = packets.release()
        super().__init__(sock, packets.info.peer)
        self.info, self.meter, self.on_close = packets.info, packets.meter, packets.on_close
        self.refused = 0
        self._segments = True
        enlarge(sock)
        with contextlib.suppress(OSError):  # an old kernel: one datagram at a time
            sock.setsockopt(_socket.IPPROTO_UDP, UDP_GRO, int(together))

    # -- in --------------------------------------------------------------------------------------

    def _receive(self) -> tuple[bytes, str]:
        raise NotImplementedError("several datagrams may come at once: start() takes them")

    def _readable(self) -> None:
        try:
            for _ in range(_TURNS):
                try:
                    size, extra, _flags, sender = self.sock.recvmsg_into([_view], _ancillary)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno == errno.ECONNREFUSED:
                        self.refused += 1
                    if error.errno in _LOST:
                        continue
                    raise
                self.refused = 0
                if size and (self._peer or sender[1]):  # nobody can be answered at port 0
                    self._hand_over(size, extra, self._peer or format_address(sender))
                if self.closed or self._hold:
                    return
        except Exception as error:  # whatever it is, it ends this conn, not the loop
            self._broken(error)

    def read_now(self) -> None:
        """Hand over what has arrived already, without waiting for the loop to tell."""
        if self.sink is not None and not self.closed and not self._hold:
            self._readable()

    def _hand_over(self, size: int, extra: list[Any], sender: str) -> None:
        sink = self.sink
        if sink is None:
            return
        data = bytes(_view[:size])
        if not extra:
            sink.datagram(data, sender)
            return
        segment = int.from_bytes(extra[0][2][:4], "little")
        if not 0 < segment < size:
            sink.datagram(data, sender)
            return
        for start in range(0, size, segment):
            sink.datagram(data[start : start + segment], sender)

    # -- out -------------------------------------------------------------------------------------

    def send_batch(self, datagrams: Sequence[bytes], address: str) -> None:
        """Send without waiting; what the system has no room for is lost. Raises OSError."""
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        count = len(datagrams)
        if count == 1 or not self._segments or (not self._peer and not self._known(address)):
            for datagram in datagrams:
                self.send_now(datagram, address)
            return
        at = 0
        while at < count:
            size = len(datagrams[at])
            end = at + 1
            most = min(at + _MOST_SEGMENTS, at + _MOST_BYTES // size, count)
            while end < most and len(datagrams[end]) == size:
                end += 1
            if end < most and len(datagrams[end]) < size:  # the last one may be shorter
                end += 1
            if not self._send_segments(datagrams[at:end], size, address):
                return
            at = end

    def _send_segments(self, datagrams: Sequence[bytes], size: int, address: str) -> bool:
        """False: the system's buffer is full."""
        if len(datagrams) == 1:
            self.send_now(datagrams[0], address)
            return True
        extra = [(_socket.IPPROTO_UDP, UDP_SEGMENT, _size.pack(size))]
        try:
            if self._peer:
                self.sock.sendmsg(datagrams, extra)
            else:
                assert self._names is not None
                self.sock.sendmsg(datagrams, extra, 0, self._names[address])
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                self.refused += 1
            if error.errno in _NO_OFFLOAD:
                self._segments = False
                for datagram in datagrams:
                    self.send_now(datagram, address)
            elif error.errno not in _LOST:
                raise
        return True


def enlarge(sock: _socket.socket) -> None:
    """Room for bursts; beyond the system's limit only with the privilege for it."""
    for option, force in (
        (_socket.SO_RCVBUF, SO_RCVBUFFORCE),
        (_socket.SO_SNDBUF, SO_SNDBUFFORCE),
    ):
        try:
            sock.setsockopt(_socket.SOL_SOCKET, force, _BUFFER_SIZE)
        except OSError:
            with contextlib.suppress(OSError):
                sock.setsockopt(_socket.SOL_SOCKET, option, _BUFFER_SIZE)
