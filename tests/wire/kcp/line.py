"""Two cores joined by a line that loses, delays and reorders, in time that only the test knows."""

from __future__ import annotations

import heapq
import random

from gostpy.wire.kcp import Core, Decoder, Encoder, Settings
from gostpy.wire.kcp.fec import DATA, FEC_OVERHEAD, kind_of


class Side:
    """A core with its FEC, if any."""

    def __init__(self, settings: Settings, shards: tuple[int, int] | None) -> None:
        self.core = Core(7, settings)
        self.interval = settings.interval
        self.encoder = Encoder(*shards) if shards else None
        self.decoder = Decoder(*shards) if shards else None
        self.got = bytearray()
        self.packets = 0

    def coded(self, packets: list[bytes]) -> list[bytes]:
        self.packets += len(packets)
        if self.encoder is None:
            return packets
        made: list[bytes] = []
        for packet in packets:
            self.encoder.encode(packet, made)
        return made

    def take(self, datagram: bytes, now: int) -> None:
        kind = kind_of(datagram)
        core = self.core
        if not kind:
            core.input(datagram, now)
        elif kind == DATA:
            core.input(datagram[FEC_OVERHEAD:], now)
        if kind and self.decoder is not None:
            for packet in self.decoder.decode(datagram):
                core.input(packet, now, False)
        self.got += b"".join(core.received)
        core.received = []
        core.keep(0)


def carry(
    data: bytes,
    settings: Settings,
    *,
    shards: tuple[int, int] | None = None,
    loss: float = 0.0,
    delay: int = 0,
    jitter: int = 0,
    copies: float = 0.0,
    seed: int = 1,
    limit: int = 120_000,
    start: int = 0,
) -> tuple[Side, Side, int]:
    """Both sides after ``data`` went from the first to the second, and the milliseconds it took."""
    chance = random.Random(seed)
    left, right = Side(settings, shards), Side(settings, shards)
    other = {left: right, right: left}
    on_the_way: list[tuple[int, int, Side, bytes]] = []
    count = 0
    left.core.send(data)
    for elapsed in range(limit):
        now = (start + elapsed) & 0xFFFFFFFF
        taken = set()
        while on_the_way and on_the_way[0][0] <= elapsed:
            _, _, side, datagram = heapq.heappop(on_the_way)
            side.take(datagram, now)
            taken.add(side)
        for side in (left, right):
            packets: list[bytes] = []
            if elapsed % side.interval == 0 and not side.core.idle:
                packets = side.core.tick(now)
            elif side in taken:
                packets = side.core.flush(now)
            for datagram in side.coded(packets):
                for _ in range(2 if chance.random() < copies else 1):
                    if chance.random() >= loss:
                        count += 1
                        due = elapsed + delay + chance.randint(0, jitter)
                        heapq.heappush(on_the_way, (due, count, other[side], datagram))
        if len(right.got) >= len(data) and left.core.idle:
            return left, right, elapsed
    return left, right, limit
