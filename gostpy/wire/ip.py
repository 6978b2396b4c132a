"""IP packets as they come from a TUN device: headers, checksums, ICMP echo, UDP.

Only what is needed to route packets by their addresses and to answer some of them. Nothing here
raises: a packet that is cut off or no IP at all is None. Addresses are packed, 4 or 16 bytes.

Wire      RFC 791, 8200 (IP), 768 (UDP), 792, 4443 (ICMP echo), 1071, 1624 (checksums)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gostpy.wire.codec import Buffer

__all__ = [
    "ICMP",
    "ICMP6",
    "TCP",
    "UDP",
    "Packet",
    "addresses",
    "checksum",
    "echo_reply",
    "packed_address",
    "parse",
    "pseudo_sum",
    "reset_for",
    "udp_packet",
    "udp_payload",
    "word_sum",
]

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58

_MAPPED = bytes(10) + b"\xff\xff"
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})
"""Headers of IPv6 that are passed over: options, routing, mobility, HIP, shim."""
_FRAGMENT = 44
_MOST_EXTENSIONS = 8
_ECHO = {(4, ICMP): (8, 0), (6, ICMP6): (128, 129)}
_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Packet:
    """Where things are in one packet.

    Attributes:
        protocol: of the payload, behind extension headers.
        start, end: of the payload; what lies behind ``end`` is padding.
        offset: of a fragment, in bytes; 0 for whole packets and first fragments.
        more: further fragments follow.
        identity: tells the fragments of one packet from those of others.
        unfragmentable: bytes in front that every fragment repeats (IPv6: before the fragment
            header); the whole header for IPv4.
    """

    version: int
    source: bytes
    target: bytes
    protocol: int
    start: int
    end: int
    offset: int = 0
    more: bool = False
    identity: int = 0
    unfragmentable: int = 0

    @property
    def fragment(self) -> bool:
        return self.more or self.offset > 0


def packed_address(data: bytes) -> bytes:
    """The packed address of 4 or 16 bytes; an IPv4-mapped one is its IPv4 address."""
    return data[12:] if len(data) == 16 and data.startswith(_MAPPED) else data


def addresses(packet: Buffer) -> tuple[bytes, bytes] | None:
    """(source, target) of a packet; None for what is no IP packet or cut off in its header."""
    size = len(packet)
    if size < 20:
        return None
    version = packet[0] >> 4
    if version == 4:
        header = (packet[0] & 15) * 4
        if not 20 <= header <= size:
            return None
        return bytes(packet[12:16]), bytes(packet[16:20])
    if version == 6 and size >= 40:
        return bytes(packet[8:24]), bytes(packet[24:40])
    return None


def parse(packet: Buffer) -> Packet | None:
    """The parts of a packet; None for what is no IP packet or cut off."""
    if addresses(packet) is None:
        return None
    return _parse4(packet) if packet[0] >> 4 == 4 else _parse6(packet)


def _parse4(packet: Buffer) -> Packet | None:
    header = (packet[0] & 15) * 4
    total, identity, fragment = struct.unpack_from(">HHH", packet, 2)
    if not header <= total <= len(packet):
        return None
    return Packet(
        4,
        bytes(packet[12:16]),
        bytes(packet[16:20]),
        packet[9],
        header,
        total,
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
        identity,
        header,
    )


def _parse6(packet: Buffer) -> Packet | None:
    end = 40 + struct.unpack_from(">H", packet, 4)[0]
    if end > len(packet):
        return None
    protocol, start = packet[6], 40
    offset, more, identity, before = 0, False, 0, 40
    for _ in range(_MOST_EXTENSIONS):
        if protocol == _FRAGMENT:
            if start + 8 > end or offset or more:
                return None
            before = start
            fragment, identity = struct.unpack_from(">HI", packet, start + 2)
            offset, more = fragment & 0xFFF8, bool(fragment & 1)
            protocol, start = packet[start], start + 8
            if offset:
                break
        elif protocol in _EXTENSIONS:
            if start + 8 > end:
                return None
            protocol, start = packet[start], start + 8 + packet[start + 1] * 8
            if start > end:
                return None
        else:
            break
    else:
        return None
    source, target = bytes(packet[8:24]), bytes(packet[24:40])
    return Packet(6, source, target, protocol, start, end, offset, more, identity, before)


# -- checksums -----------------------------------------------------------------------------------


def word_sum(data: Buffer) -> int:
    """The sum of 16-bit words in ones' complement, 0-65534: 65536 is 1 modulo 65535."""
    if len(data) & 1:
        return (int.from_bytes(data, "big") << 8) % 65535
    return int.from_bytes(data, "big") % 65535


def checksum(total: int) -> int:
    """The checksum that makes words of this sum right."""
    return 65535 - total % 65535


def pseudo_sum(source: bytes, target: bytes, protocol: int, size: int) -> int:
    """The sum of the header that TCP, UDP and ICMPv6 add to their own."""
    return word_sum(source) + word_sum(target) + protocol + size


# -- messages ------------------------------------------------------------------------------------


def _header(source: bytes, target: bytes, protocol: int, size: int) -> bytes:
    """An IP header without options for a payload of ``size`` bytes."""
    if len(source) == 4:
        begin = struct.pack(">HHIBB", 0x4500, 20 + size, 0, _HOP_LIMIT, protocol)
        total = word_sum(begin) + word_sum(source) + word_sum(target)
        return begin + struct.pack(">H", checksum(total)) + source + target
    return struct.pack(">IHBB", 0x60000000, size, protocol, _HOP_LIMIT) + source + target


def udp_payload(packet: Buffer, parsed: Packet) -> tuple[int, int, bytes] | None:
    """(source port, target port, payload) of a UDP packet; None when it is cut off."""
    start = parsed.start
    if start + 8 > parsed.end:
        return None
    source, target, size = struct.unpack_from(">HHH", packet, start)
    if size < 8 or start + size > parsed.end:
        return None
    return source, target, bytes(packet[start + 8 : start + size])


def udp_packet(source: bytes, target: bytes, ports: tuple[int, int], payload: bytes) -> bytes:
    """A UDP packet whose checksum is that of its pseudo header: a device with checksum offload
    does the rest. Both addresses are of one family; the payload fits a packet."""
    size = 8 + len(payload)
    partial = pseudo_sum(source, target, UDP, size) % 65535
    begin = _header(source, target, UDP, size) + struct.pack(">HHHH", *ports, size, partial)
    return begin + payload


def echo_reply(packet: Buffer, parsed: Packet) -> bytes | None:
    """The answer to an ICMP echo request; None for everything else."""
    kinds = _ECHO.get((parsed.version, parsed.protocol))
    body = bytes(packet[parsed.start : parsed.end])
    if kinds is None or len(body) < 8 or body[0] != kinds[0] or body[1]:
        return None
    total = kinds[1] << 8
    if parsed.version == 6:
        total += pseudo_sum(parsed.source, parsed.target, ICMP6, len(body))
    code = checksum(total + word_sum(body[4:]))
    head = _header(parsed.target, parsed.source, parsed.protocol, len(body))
    return head + struct.pack(">BBH", kinds[1], 0, code) + body[4:]


def reset_for(packet: Buffer, parsed: Packet) -> bytes | None:
    """The answer to a TCP packet of a connection that does not exist (RFC 9293 3.10.7.1)."""
    start = parsed.start
    if start + 20 > parsed.end:
        return None
    source, target, number, acknowledged = struct.unpack_from(">HHII", packet, start)
    flags, header = packet[start + 13], (packet[start + 12] >> 4) * 4
    if flags & 0x04 or not 20 <= header <= parsed.end - start:
        return None
    if flags & 0x10:
        body = struct.pack(">HHIIBBHHH", target, source, acknowledged, 0, 0x50, 0x04, 0, 0, 0)
    else:
        size = parsed.end - start - header + (flags & 0x02) // 2 + (flags & 0x01)
        answered = (number + size) & 0xFFFFFFFF
        body = struct.pack(">HHIIBBHHH", target, source, 0, answered, 0x50, 0x14, 0, 0, 0)
    total = pseudo_sum(parsed.target, parsed.source, TCP, 20) + word_sum(body)
    head = _header(parsed.target, parsed.source, TCP, 20)
    return head + body[:16] + struct.pack(">H", checksum(total)) + body[18:]
