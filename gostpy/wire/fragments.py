"""Putting IP packets together from their fragments (RFC 791, 8200, 5722).

Bounded: at most ``MOST_PACKETS`` packets wait for the rest of them, each for at most ``PATIENCE``
seconds and with no more than 64 KiB; the oldest goes first. Fragments that overlap spoil their
packet.
"""

from __future__ import annotations

import struct

from gostpy.wire.codec import Buffer
from gostpy.wire.ip import Packet, checksum, word_sum

__all__ = ["Reassembly"]

MOST_PACKETS = 64
PATIENCE = 30.0
_MOST_PIECES = 128
_MOST_BYTES = 65535

_Key = tuple[bytes, bytes, int, int]


class _Partial:
    """One packet of which some fragments are there."""

    __slots__ = ("head", "pieces", "since", "size", "total")

    def __init__(self, since: float) -> None:
        self.since = since
        self.head = b""
        self.pieces: dict[int, bytes] = {}
        self.size = 0
        self.total = -1

    def add(self, parsed: Packet, packet: Buffer) -> bool:
        """False: the packet is spoilt."""
        piece = bytes(packet[parsed.start : parsed.end])
        end = parsed.offset + len(piece)
        if parsed.offset in self.pieces:
            return self.pieces[parsed.offset] == piece  # the same once more is harmless
        if end > _MOST_BYTES or len(self.pieces) >= _MOST_PIECES:
            return False
        if parsed.more:
            if not piece or len(piece) % 8:
                return False
        elif self.total >= 0:
            return False
        else:
            self.total = end
        if parsed.offset == 0:
            self.head = bytes(packet[: parsed.unfragmentable])
        self.pieces[parsed.offset] = piece
        self.size += len(piece)
        return self.total < 0 or self.size <= self.total

    def joined(self) -> bytes | None:
        """The payload when all is there; empty when fragments overlap."""
        if self.total < 0 or self.size < self.total or not self.head:
            return None
        payload, expected = [], 0
        for offset in sorted(self.pieces):
            if offset != expected:
                return b""
            payload.append(self.pieces[offset])
            expected = offset + len(self.pieces[offset])
        return b"".join(payload) if expected == self.total else b""


class Reassembly:
    """The fragments of one device."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial: dict[_Key, _Partial] = {}

    def __len__(self) -> int:
        return len(self._partial)

    def add(self, parsed: Packet, packet: Buffer, now: float) -> bytes | None:
        """The whole packet, if this fragment was the last that it needed."""
        self._age(now)
        key = parsed.source, parsed.target, parsed.protocol, parsed.identity
        if parsed.version == 6:  # only the first fragment tells the protocol for certain
            key = parsed.source, parsed.target, 0, parsed.identity
        partial = self._partial.get(key)
        if partial is None:
            if len(self._partial) >= MOST_PACKETS:
                del self._partial[next(iter(self._partial))]
            partial = self._partial[key] = _Partial(now)
        if not partial.add(parsed, packet):
            del self._partial[key]
            return None
        payload = partial.joined()
        if payload is None:
            return None
        del self._partial[key]
        return _whole(partial.head, parsed, payload) if payload else None

    def _age(self, now: float) -> None:
        for key, partial in list(self._partial.items()):
            if now - partial.since < PATIENCE:
                break
            del self._partial[key]


def _whole(head: bytes, parsed: Packet, payload: bytes) -> bytes | None:
    """A packet with the header of its first fragment; None when it would be too long."""
    size = len(head) + len(payload)
    if parsed.version == 4:
        if size > _MOST_BYTES:
            return None
        made = bytearray(head)
        struct.pack_into(">HHH", made, 2, size, parsed.identity, 0)
        struct.pack_into(">H", made, 10, 0)
        struct.pack_into(">H", made, 10, checksum(word_sum(made)))
        return bytes(made) + payload
    if size - 40 > _MOST_BYTES or len(head) != 40:  # with options: nobody needs that here
        return None
    return head[:4] + struct.pack(">HB", size - 40, parsed.protocol) + head[7:] + payload
