"""A UDP socket that sends and receives many datagrams of one peer at a time (Linux: UDP_SEGMENT,
UDP_GRO), for tunnels: the system then passes them on as one, as far as it can.

Where the system, or the way to the peer, does not take several at a time they are sent one by one.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import struct
from collections.abc import Sequence
from typing import Any

from gostpy.net.conn import format_address
from gostpy.net.packet import MAX_DATAGRAM, UDPSocket

__all__ = ["SegmentSocket"]

_SOL_UDP, _SEGMENT, _GRO = 17, 103, 104
_MOST_BYTES = 65000
_BURST = 8
_ANCILLARY = 64
_BUFFER = 4 << 20
_FORCED = ((_socket.SO_SNDBUF, 32), (_socket.SO_RCVBUF, 33))  # SO_SNDBUFFORCE, SO_RCVBUFFORCE
_NOT_TOGETHER = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP)
_size = struct.Struct("=H")

_received = bytearray(MAX_DATAGRAM + 1)
_view = memoryview(_received)


class SegmentSocket(UDPSocket):
    """Takes the socket of another packet conn over, which is closed then."""

    __slots__ = ("_together",)

    def __init__(self, conn: UDPSocket) -> None:
        super().__init__(conn.release(), conn.info.peer)
        self.info, self.meter, self.on_close = conn.info, conn.meter, conn.on_close
        self._together = True
        _make_room(self.sock)
        with contextlib.suppress(OSError):  # an old system: one at a time
            self.sock.setsockopt(_SOL_UDP, _GRO, 1)

    def _readable(self) -> None:
        sink: Any = self.sink
        try:
            for _ in range(_BURST):
                try:
                    size, ancillary, _, peer = self.sock.recvmsg_into([_received], _ANCILLARY)
                except BlockingIOError:
                    break
                except OSError as error:
                    if not self.is_loss(error):
                        raise
                    continue
                if not size:
                    continue
                sender = self._peer or format_address(peer)
                step = _step(ancillary) or size
                for begin in range(0, size, step):
                    sink.datagram(bytes(_view[begin : min(begin + step, size)]), sender)
                if self.closed or self._hold:
                    break
        except Exception as error:  # whatever it is, it ends this conn, not the loop
            self._broken(error)

    def send_segments(self, datagrams: Sequence[bytes], address: str = "") -> float:
        """Send datagrams of which all but the last are equally long; see ``send_now``."""
        delay = 0.0
        most = max(_MOST_BYTES // max(len(datagrams[0]), 1), 1)
        for begin in range(0, len(datagrams), most):
            group = datagrams[begin : begin + most]
            if len(group) == 1 or not self._send_together(group, address):
                for data in group:
                    delay = max(delay, self.send_now(data, address))
        return delay

    def _send_together(self, group: Sequence[bytes], address: str) -> bool:
        """False: they have to be sent one by one."""
        if not self._together or not (self._peer or self._known(address)):
            return False
        ancillary = [(_SOL_UDP, _SEGMENT, _size.pack(len(group[0])))]
        try:
            if self._peer:
                self.sock.sendmsg(group, ancillary)
            else:
                assert self._names is not None
                self.sock.sendmsg(group, ancillary, 0, self._names[address])
        except BlockingIOError:
            return True  # lost, as datagrams may be
        except OSError as error:
            if error.errno in _NOT_TOGETHER:
                self._together = False
                return False
            if not self.is_loss(error):
                raise
        return True


def _step(ancillary: list[tuple[int, int, bytes]]) -> int:
    """How long the datagrams are that came as one; 0 when it is only one."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_UDP, _GRO):
            return int(struct.unpack_from("=i", data)[0])
    return 0


def _make_room(sock: _socket.socket) -> None:
    """Let bursts of a whole tunnel wait in the socket's buffers: a packet lost there is lost."""
    for usual, forced in _FORCED:
        try:
            sock.setsockopt(_socket.SOL_SOCKET, forced, _BUFFER)
        except OSError:  # without the capability, as far as the system lets us
            with contextlib.suppress(OSError):
                sock.setsockopt(_socket.SOL_SOCKET, usual, _BUFFER)
