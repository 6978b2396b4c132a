"""Large TCP packets of a TUN device: taken apart, and put together, as a network card does.

Wire      virtio_net_hdr FLAGS(1) GSO_TYPE(1) HDR_LEN(2) GSO_SIZE(2) CSUM_START(2) CSUM_OFFSET(2)
          in the machine's byte order, in front of an IP packet. FLAGS 1: the checksum at
          CSUM_START + CSUM_OFFSET is only that of the pseudo header. GSO_TYPE 1, 4: TCP over IPv4,
          IPv6 in segments of GSO_SIZE.
Source    linux/virtio_net.h
"""

from __future__ import annotations

import struct

from gostpy.wire.ip import TCP, checksum, pseudo_sum, word_sum

__all__ = ["HEADER", "Coalescer", "split"]

HEADER = 10
_layout = struct.Struct("=BBHHHH")
_word, _long = struct.Struct(">H"), struct.Struct(">I")
_PLAIN = bytes(HEADER)
_PARTIAL = 1
_TYPE4, _TYPE6 = 1, 4
_FIN, _PUSH, _ACK = 0x01, 0x08, 0x10
_MOST_BYTES = 65000
_MOST_SEGMENTS = 60


def split(frame: memoryview) -> list[bytes]:
    """The packets of one frame, each with its checksums; all but the last are equally long."""
    flags, kind, _, size, start, offset = _layout.unpack_from(frame)
    packet = frame[HEADER:]
    if kind and size and start + 20 <= len(packet):
        return _segments(packet, size, start)
    if not flags & _PARTIAL or start + offset + 2 > len(packet):
        return [bytes(packet)]
    made = bytearray(packet)
    _word.pack_into(made, start + offset, checksum(word_sum(made[start:])))
    return [bytes(made)]


def _segments(packet: memoryview, size: int, at: int) -> list[bytes]:
    """TCP whose header is at ``at``, in segments of ``size`` bytes of payload."""
    width = (packet[at + 12] >> 4) * 4
    head = bytearray(packet[: at + width])
    payload = packet[at + width :]
    ipv4 = head[0] >> 4 == 4
    number, flags, identity = _long.unpack_from(head, at + 4)[0], head[at + 13], 0
    if ipv4:
        identity = _word.unpack_from(head, 4)[0]
        head[2:6] = bytes(4)
        _word.pack_into(head, 10, 0)
        ip_sum = word_sum(head[:at])
        source, target = bytes(head[12:16]), bytes(head[16:20])
    else:
        source, target = bytes(head[8:24]), bytes(head[24:40])
    # what all segments have in common is added up once
    _long.pack_into(head, at + 4, 0)
    _word.pack_into(head, at + 16, 0)
    head[at + 13] = 0
    tcp_sum = word_sum(head[at:]) + pseudo_sum(source, target, TCP, width)
    found: list[bytes] = []
    for begin in range(0, len(payload), size):
        piece = payload[begin : begin + size]
        sequence = (number + begin) & 0xFFFFFFFF
        last = begin + size >= len(payload)
        now = flags if last else flags & ~(_FIN | _PUSH)
        if ipv4:
            total, name = at + width + len(piece), (identity + len(found)) & 0xFFFF
            _word.pack_into(head, 2, total)
            _word.pack_into(head, 4, name)
            _word.pack_into(head, 10, checksum(ip_sum + total + name))
        else:
            _word.pack_into(head, 4, at - 40 + width + len(piece))
        _long.pack_into(head, at + 4, sequence)
        head[at + 13] = now
        whole = tcp_sum + (sequence >> 16) + (sequence & 0xFFFF) + now + len(piece)
        _word.pack_into(head, at + 16, checksum(whole + word_sum(piece)))
        found.append(bytes(head) + piece)
    return found


class Coalescer:
    """Puts TCP segments that follow each other together, as far as they are alike and right.

    A caller adds packets until one is not taken, takes what there is, and goes on with that one.
    """

    __slots__ = ("_at", "_closed", "_first", "_like", "_next", "_pieces", "_size", "_total")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._first = b""
        self._like: tuple[bytes, ...] = ()
        self._at = self._next = self._size = self._total = 0
        self._closed = False  # the last one was shorter, or wants to be seen at once

    def add(self, packet: bytes) -> bool:
        """Whether the packet was taken; False: it does not follow, or is none for us."""
        at = 20 if packet[:1] == b"\x45" else 40
        if self._closed or len(packet) <= at + 20 or packet[9 if at == 20 else 6] != TCP:
            return False
        start = at + (packet[at + 12] >> 4) * 4
        payload = len(packet) - start
        flags = packet[at + 13]
        if payload <= 0 or start < at + 20 or flags & ~_PUSH != _ACK:
            return False
        number = _long.unpack_from(packet, at + 4)[0]
        like = _likeness(packet, at, start)
        if self._pieces and (
            number != self._next
            or payload > self._size
            or like != self._like
            or self._total + payload > _MOST_BYTES
            or len(self._pieces) >= _MOST_SEGMENTS
        ):
            return False
        if not _is_right(packet, at):
            return False
        if not self._pieces:
            self._first, self._like, self._at, self._size = packet, like, at, payload
            self._total = start
        self._pieces.append(packet[start:] if self._pieces else packet)
        self._next = (number + payload) & 0xFFFFFFFF
        self._total += payload
        self._closed = payload < self._size or bool(flags & _PUSH)
        return True

    def take(self) -> bytes:
        """The frame of what was added; empty when that is nothing."""
        pieces, self._pieces = self._pieces, []
        pushed, self._closed = self._closed, False
        if len(pieces) < 2:
            return _PLAIN + pieces[0] if pieces else b""
        at, first = self._at, self._first
        start = at + (first[at + 12] >> 4) * 4
        head = bytearray(first[:start])
        if at == 20:
            _word.pack_into(head, 2, self._total)
            _word.pack_into(head, 10, 0)
            _word.pack_into(head, 10, checksum(word_sum(head[:20])))
            source, target, kind = bytes(head[12:16]), bytes(head[16:20]), _TYPE4
        else:
            _word.pack_into(head, 4, self._total - 40)
            source, target, kind = bytes(head[8:24]), bytes(head[24:40]), _TYPE6
        if pushed:
            head[at + 13] |= _PUSH
        partial = pseudo_sum(source, target, TCP, self._total - at) % 65535
        _word.pack_into(head, at + 16, partial)
        pieces[0] = first[start:]
        before = _layout.pack(_PARTIAL, kind, start, self._size, at, 16)
        return b"".join((before, head, *pieces))


def _likeness(packet: bytes, at: int, start: int) -> tuple[bytes, ...]:
    """What has to be the same in packets that are put together."""
    tcp = packet[at : at + 4], packet[at + 8 : at + 13], packet[at + 14 : at + 16]
    options = packet[at + 18 : start]
    if at == 20:
        return packet[1:2], packet[6:9], packet[12:20], *tcp, options
    return packet[:4], packet[7:40], *tcp, options


def _is_right(packet: bytes, at: int) -> bool:
    """Lengths and checksums; no fragment."""
    if at == 20:
        if _word.unpack_from(packet, 2)[0] != len(packet) or packet[6] & 0x3F or packet[7]:
            return False
        if word_sum(packet[:20]):
            return False
        addresses = word_sum(packet[12:20])
    else:
        if packet[0] >> 4 != 6 or _word.unpack_from(packet, 4)[0] != len(packet) - 40:
            return False
        addresses = word_sum(packet[8:40])
    return not (addresses + TCP + len(packet) - at + word_sum(packet[at:])) % 65535
