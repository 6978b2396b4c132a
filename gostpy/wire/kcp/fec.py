"""Forward error correction as kcp-go has it: parity packets from which lost ones are made.

Wire      SEQID(4) | TYPE(2) | SHARD; TYPE 0xF1 data, 0xF2 parity. A data shard is SIZE(2) | packet,
          SIZE counting itself; parity shards are computed over data shards of equal length, the
          shorter ones filled with zeros. Groups begin at multiples of data + parity.
Source    xtaci/kcp-go 5.6.5 fec.go, autotune.go
Differs   What belongs to the latest groups is kept, not the latest packets in order. The numbers of
          shards that a peer uses are learned from one complete run of each kind.
"""

from __future__ import annotations

import struct

from gostpy.wire.kcp.galois import MOST_SHARDS, combine, lost_rows, parity_rows

__all__ = ["DATA", "FEC_OVERHEAD", "PARITY", "Decoder", "Encoder", "kind_of"]

DATA, PARITY = 0xF1, 0xF2
_HEADER = struct.Struct("<IH")
_HEADER_SIZE = _HEADER.size
_DATA_HEADER = struct.Struct("<IHH")
_SIZE = struct.Struct("<H")
FEC_OVERHEAD = _DATA_HEADER.size

_GROUPS = 3
_MOST_SHARD = 1500


def kind_of(packet: bytes) -> int:
    """DATA or PARITY; 0 for a packet without FEC, whose fifth byte is a command of KCP."""
    kind: int = _HEADER.unpack_from(packet)[1] if len(packet) >= FEC_OVERHEAD else 0
    return kind if kind in (DATA, PARITY) else 0


class Encoder:
    """Numbers packets and adds ``parity`` packets to each ``data`` of them."""

    __slots__ = ("_data", "_gathered", "_longest", "_next", "_rows", "_wrap")

    def __init__(self, data: int, parity: int) -> None:
        self._data = data
        self._rows = parity_rows(data, parity)
        self._wrap = 0xFFFFFFFF // (data + parity) * (data + parity)
        self._next = 0
        self._gathered: list[bytes] = []
        self._longest = 0

    def encode(self, packet: bytes, out: list[bytes]) -> None:
        """Append the packet with its header to ``out``, and parity when a group is complete."""
        size = len(packet) + 2
        made = _DATA_HEADER.pack(self._next, DATA, size) + packet
        out.append(made)
        self._next += 1
        gathered = self._gathered
        gathered.append(made[_HEADER_SIZE:])
        if size > self._longest:
            self._longest = size
        if len(gathered) < self._data:
            return
        for row in self._rows:
            shard = combine(row, gathered, self._longest)
            out.append(_HEADER.pack(self._next, PARITY) + shard)
            self._next += 1
        if self._next >= self._wrap:
            self._next = 0
        self._gathered = []
        self._longest = 0


class _Group:
    """Shards of one group that have come."""

    __slots__ = ("data", "done", "shards")

    def __init__(self) -> None:
        self.shards: dict[int, bytes] = {}
        self.data = 0
        self.done = False


class Decoder:
    """Makes lost packets from parity packets.

    Args:
        data, parity: shards of a group; what the peer uses instead is found out.
    """

    __slots__ = ("_data", "_groups", "_parity", "_runs")

    def __init__(self, data: int, parity: int) -> None:
        self._data = data
        self._parity = parity
        self._groups: dict[int, _Group] = {}
        self._runs: _Runs | None = None

    def decode(self, packet: bytes) -> list[bytes]:
        """Take a packet of either kind; the packets that were lost and can now be made."""
        number, kind = _HEADER.unpack_from(packet)
        if self._runs is not None:
            self._learn(number, kind)
        total = self._data + self._parity
        index = number % total
        if (kind == DATA) != (index < self._data):
            if self._runs is None:
                self._runs = _Runs()
            return []
        if len(packet) > _MOST_SHARD:
            return []
        group = self._group(number // total)
        if group.done or index in group.shards:
            return []
        shards = group.shards
        shards[index] = packet[_HEADER_SIZE:]
        if kind == DATA:
            group.data += 1
        if len(shards) < self._data:
            return []
        group.done = True
        group.shards = {}
        return self._recover(shards) if group.data < self._data else []

    def _group(self, key: int) -> _Group:
        """The group with this key; the oldest one gives way to a new one."""
        groups = self._groups
        group = groups.get(key)
        if group is None:
            if len(groups) >= _GROUPS:
                oldest = next(iter(groups))
                del groups[oldest]
            group = groups[key] = _Group()
        return group

    def _recover(self, shards: dict[int, bytes]) -> list[bytes]:
        present = tuple(sorted(shards))[: self._data]
        used: list[bytes] = [shards[index] for index in present]
        size = max(map(len, used))
        found: list[bytes] = []
        for row in lost_rows(self._data, self._parity, present):
            shard = combine(row, used, size)
            length = _SIZE.unpack_from(shard)[0]
            if 2 <= length <= size:
                found.append(shard[2:length])
        return found

    def _learn(self, number: int, kind: int) -> None:
        """The peer's numbers of shards are not ours: take them from its packets."""
        assert self._runs is not None
        found = self._runs.observe(number, kind)
        if found is None:
            return
        self._runs = None
        if found != (self._data, self._parity) and sum(found) <= MOST_SHARDS:
            self._data, self._parity = found
            self._groups.clear()


class _Runs:
    """Measures how many packets of one kind follow each other."""

    __slots__ = ("_kind", "_lengths", "_next", "_run", "_whole")

    def __init__(self) -> None:
        self._next = -1
        self._kind = 0
        self._run = 0
        self._whole = False  # the beginning of the run was seen
        self._lengths: dict[int, int] = {}

    def observe(self, number: int, kind: int) -> tuple[int, int] | None:
        """The next packet; (data, parity) once a whole run of each was seen."""
        if number != self._next:
            self._kind = 0
            self._lengths.clear()
        if kind != self._kind:
            if self._kind and self._whole:
                self._lengths[self._kind] = self._run
            self._whole = self._kind != 0
            self._kind = kind
            self._run = 0
        self._run += 1
        self._next = number + 1
        if len(self._lengths) < 2:
            return None
        return self._lengths[DATA], self._lengths[PARITY]
