"""TCP segments that carry one datagram each, as ftcp and ``kcp.tcp`` put them on raw sockets.

Wire      RFC 9293 §3.1 without options: SRC PORT(2) | DST PORT(2) | SEQ(4) | ACK(4) | 0x50 |
          FLAGS = PSH ACK | WINDOW(2), at random above 32767 | CHECKSUM(2) | 0(2) | datagram
Source    xtaci/tcpraw tcp_linux.go
Differs   nothing on the wire. tcpraw's acknowledgement stays where it is after the first lost
          datagram; here it goes on, as a firewall that follows the flow expects.

The numbers of a flow begin where the handshake of the system's own connection left them.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.codec import Buffer

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "Flow", "Segment", "checksum"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

_HEADER = struct.Struct("!HHIIBBHHH")
_NO_OPTIONS = _HEADER.size << 2
_PROTOCOL = 6
_MODULUS = 1 << 32
_HALF = 1 << 31


def checksum(source: bytes, destination: bytes, segment: bytes) -> int:
    """The checksum of a segment whose checksum field is zero; addresses as packed bytes.

    The sum of 16-bit words with end-around carry is the number itself modulo 65535.
    """
    total = int.from_bytes(source + destination, "big") + _PROTOCOL + len(segment)
    total += int.from_bytes(segment, "big") << (len(segment) % 2 * 8)
    return -total % 0xFFFF


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; options are skipped and never written."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int = PSH | ACK
    window: int = 0xFFFF
    payload: bytes = b""

    def encode(self, source: bytes, destination: bytes) -> bytes:
        """The bytes after the IP header; the addresses are packed, for the checksum."""
        return _encode(self, checksum(source, destination, _encode(self, 0)))

    @classmethod
    def read(cls, data: Buffer) -> Segment:
        """Raises Truncated, ProtocolError. The checksum is not looked at: the system has its own
        where it hands over segments that never left the machine."""
        if len(data) < _HEADER.size:
            raise Truncated(f"TCP segment of {len(data)} bytes")
        source, destination, seq, ack, offset, flags, window, _, _ = _HEADER.unpack_from(data)
        start = (offset >> 4) * 4
        if not _HEADER.size <= start <= len(data):
            raise ProtocolError(f"TCP header of {start} bytes in a segment of {len(data)}")
        return cls(source, destination, seq, ack, flags, window, bytes(data[start:]))


def _encode(segment: Segment, total: int) -> bytes:
    return (
        _HEADER.pack(
            segment.source_port,
            segment.destination_port,
            segment.seq,
            segment.ack,
            _NO_OPTIONS,
            segment.flags,
            segment.window,
            total,
            0,
        )
        + segment.payload
    )


class Flow:
    """The numbers of one flow, from segments that arrive to segments that leave.

    Args:
        source, destination: packed addresses of what leaves.

    Attributes:
        known: a segment has arrived, so that there are numbers to go on with.
        used: a datagram came or went; whoever looks after idle flows clears it.
    """

    __slots__ = ("_ack", "_base", "_first", "_ports", "_seq", "known", "used")

    def __init__(
        self, source: bytes, source_port: int, destination: bytes, destination_port: int
    ) -> None:
        self._ports = source_port, destination_port
        self._base = int.from_bytes(source + destination, "big") % 0xFFFF
        self._base += _PROTOCOL + _HEADER.size + source_port + destination_port
        self._seq = self._ack = self._first = 0
        self.known = False
        self.used = True

    def arrived(self, segment: Segment) -> bytes | None:
        """The datagram in a segment of the peer, None when it has none.

        Raises ProtocolError: it ends the flow. Only segments that fit the flow can.
        """
        flags, seq = segment.flags, segment.seq
        if flags & (FIN | RST):
            if self.known and seq in (self._ack, self._first):
                raise ProtocolError("the peer closed the flow")
            return None
        if flags & ACK:
            self._seq = segment.ack
        if flags & SYN:
            self._first = self._ack = (seq + 1) % _MODULUS
            self.known = True
        if not flags & PSH:
            return None
        end = (seq + len(segment.payload)) % _MODULUS
        if not self.known:
            self.known = True
            self._first, self._ack = seq, end
        elif (end - self._ack) % _MODULUS < _HALF:
            self._ack = end
        self.used = True
        return segment.payload

    def datagram(self, data: bytes, flags: int = PSH | ACK) -> bytes:
        """The segment for the next datagram."""
        seq, ack, size = self._seq, self._ack, len(data)
        window = random.getrandbits(15) | 0x8000
        # small numbers only: adding to the datagram as a number would copy it each time
        words = int.from_bytes(data, "big") % 0xFFFF << (size % 2 * 8)
        total = self._base + size + seq + ack + (_NO_OPTIONS << 8 | flags) + window + words
        self._seq = (seq + size) % _MODULUS
        self.used = True
        numbers = (seq, ack, _NO_OPTIONS, flags, window, -total % 0xFFFF, 0)
        return _HEADER.pack(*self._ports, *numbers) + data
