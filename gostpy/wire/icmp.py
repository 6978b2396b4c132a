"""Datagrams in ICMP echo messages, as gost's icmp carries QUIC.

Wire     TYPE(1) | CODE(1)=0 | checksum(2) | ID(2) | SEQ(2), then "GOST" | FLAGS(2), 1 = of the
         server | 0(2) | LEN(2) | datagram; all big-endian
Types    request 8, reply 0; over IPv6 128 and 129
Source   gost's internal/util/icmp; RFC 792, RFC 4443
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.ip import checksum, word_sum

__all__ = ["HEADER_SIZE", "Echo", "echo_type", "payload_of"]

_ECHO = struct.Struct("!BBHHH")
_MESSAGE = struct.Struct("!4sHHH")
_MAGIC = b"GOST"
_OF_SERVER = 1

HEADER_SIZE = _ECHO.size + _MESSAGE.size


def echo_type(ipv6: bool, reply: bool) -> int:
    """The type of an echo message."""
    if ipv6:
        return 129 if reply else 128
    return 0 if reply else 8


def payload_of(packet: bytes) -> bytes:
    """What an IPv4 packet carries; raw sockets show its header. Raises Truncated."""
    size = (packet[0] & 15) * 4 if packet else 0
    if size < 20 or len(packet) < size:
        raise Truncated("IPv4 packet is cut off")
    return packet[size:]


@dataclass(frozen=True, slots=True)
class Echo:
    """One echo message with a datagram in it.

    Attributes:
        reply: it is a reply, which is what a server sends.
        ident: tells the clients of one host apart; 1 to 65535.
    """

    reply: bool
    ident: int
    sequence: int
    data: bytes

    def encode(self, ipv6: bool) -> bytes:
        """The ICMP message. That of IPv6 has no checksum: the kernel makes it."""
        kind = echo_type(ipv6, self.reply)
        sequence = self.sequence & 0xFFFF
        flags = _OF_SERVER if self.reply else 0
        body = _MESSAGE.pack(_MAGIC, flags, 0, len(self.data)) + self.data
        message = _ECHO.pack(kind, 0, 0, self.ident, sequence) + body
        if ipv6:
            return message
        return _ECHO.pack(kind, 0, checksum(word_sum(message)), self.ident, sequence) + body

    @classmethod
    def read(cls, message: bytes, ipv6: bool) -> Echo:
        """Raises ProtocolError: any other ICMP message."""
        if len(message) < HEADER_SIZE:
            raise Truncated("ICMP message is cut off")
        kind, _code, _sum, ident, sequence = _ECHO.unpack_from(message)
        magic, flags, _reserved, size = _MESSAGE.unpack_from(message, _ECHO.size)
        reply = bool(flags & _OF_SERVER)
        if magic != _MAGIC or not ident or kind != echo_type(ipv6, reply):
            raise ProtocolError("an ICMP message of somebody else")
        data = message[HEADER_SIZE : HEADER_SIZE + size]
        if len(data) < size:
            raise Truncated("the datagram in an ICMP message is cut off")
        return cls(reply, ident, sequence, data)
