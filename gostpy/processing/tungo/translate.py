"""TCP for tungo: the kernel's, reached by rewriting addresses.

A packet of a client C for a target T, read from the device, gets the addresses of a connection from
a made-up neighbour N to a listener L on the device's own address, and is written back::

    C:c -> T:t   becomes   N:n -> L:l        what the kernel answers,   L:l -> N:n
                                             becomes   T:t -> C:c

So the kernel's TCP ends the connection here, and the listener accepts it; the neighbour's port says
which flow it is. N is a free address of the device's network, so that its packets are routed to
the device. Each packet costs one look-up and a correction of its checksums by a constant of the
flow (RFC 1624); packets of up to 64 KiB pass whole, with checksums that nobody has computed yet.

Bounds: ``MOST_FLOWS`` flows of one family. A flow goes ``LINGER`` seconds after its conn, when TCP
has forgotten it too, or when nobody accepted it in that time; when all are taken, the oldest of
those whose conns have ended makes room, else the newcomer is dropped.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from gostpy.net import timers

__all__ = ["Flow", "Translator"]

MOST_FLOWS = 16384
LINGER = 60.0
_SWEEP = 10.0
_FIRST_PORT, _PORTS = 1024, 64512

_word = struct.Struct(">H")
_read, _write = _word.unpack_from, _word.pack_into


class Flow:
    """One connection of a client.

    Attributes:
        client, target: packed address and port.
        port: of the neighbour that stands for the client.
        accepted: the listener has its conn.
        ended: the conn is closed.
    """

    __slots__ = ("accepted", "back", "client", "due", "ended", "forth", "port", "target")

    def __init__(self, client: tuple[bytes, int], target: tuple[bytes, int], port: int) -> None:
        self.client = client
        self.target = target
        self.port = port
        self.accepted = False
        self.ended = False
        self.due = 0.0
        self.forth: _Rewrite
        self.back: _Rewrite


class _Rewrite:
    """One direction of a flow: the new addresses and ports, and what they add to checksums."""

    __slots__ = ("addresses", "key", "ports")

    def __init__(self, old: bytes, new: bytes, width: int) -> None:
        self.key = new
        self.addresses = _sum(new[:width]) - _sum(old[:width])
        self.ports = self.addresses + _sum(new[width:]) - _sum(old[width:])


def _sum(data: bytes) -> int:
    return int.from_bytes(data, "big") % 65535


class Translator:
    """The flows of one family.

    Args:
        own: the device's address, where the listener is.
        neighbour: N above.
        port: of the listener.
        head: bytes in front of the packets.
    """

    def __init__(self, own: bytes, neighbour: bytes, port: int, head: int) -> None:
        self.own = own
        self.neighbour = neighbour
        self._width = 2 * len(own)
        self._listening = struct.pack(">H", port)
        self._port = port
        ipv4 = len(own) == 4
        start = head + (12 if ipv4 else 8)
        self._slice = slice(start, start + self._width + 4)
        self._head = head
        self._tcp = start + self._width
        self._sum = self._tcp + 16
        self._ip_sum = head + 10 if ipv4 else 0
        self._rewrites: dict[bytes, _Rewrite] = {}
        self._by_port: dict[int, Flow] = {}
        self._next = 0
        self._ending: deque[tuple[float, Flow]] = deque()  # soonest first
        self._sweeping = False

    def __len__(self) -> int:
        return len(self._by_port)

    def translate(self, frame: memoryview) -> bool:
        """Rewrite a whole TCP packet in place; False: there is no such flow, it is as it was.

        The packet has an IP header without options, and at least a TCP header.
        """
        rewrite = self._rewrites.get(bytes(frame[self._slice]))
        if rewrite is None:
            if frame[self._tcp + 13] & 0x12 != 2:  # neither a first SYN
                return False
            rewrite = self._begin(bytes(frame[self._slice]))
            if rewrite is None:
                return False
        frame[self._slice] = rewrite.key
        at = self._ip_sum
        if at:
            total = 65535 - _read(frame, at)[0] + rewrite.addresses
            _write(frame, at, 65535 - total % 65535)
        at = self._sum
        if self._head and frame[0] & 1:  # a sum of the pseudo header only
            _write(frame, at, (_read(frame, at)[0] + rewrite.addresses) % 65535)
        else:
            total = 65535 - _read(frame, at)[0] + rewrite.ports
            _write(frame, at, 65535 - total % 65535)
        return True

    def _begin(self, key: bytes) -> _Rewrite | None:
        """A new flow for a SYN; None when there is no room, or it is for the listener itself."""
        half = len(self.own)
        source, target = key[:half], key[half : 2 * half]
        source_port, target_port = struct.unpack_from(">HH", key, self._width)
        if target == self.own or source == target:
            return None
        port = self._free_port(source_port)
        if port is None:
            return None
        flow = Flow((source, source_port), (target, target_port), port)
        inner = self.neighbour + self.own + struct.pack(">HH", port, self._port)
        reply = self.own + self.neighbour + struct.pack(">HH", self._port, port)
        answer = target + source + struct.pack(">HH", target_port, source_port)
        flow.forth = _Rewrite(key, inner, self._width)
        flow.back = _Rewrite(reply, answer, self._width)
        self._rewrites[key] = flow.forth
        self._rewrites[reply] = flow.back
        self._by_port[port] = flow
        self._end_later(flow)
        return flow.forth

    def _free_port(self, wanted: int) -> int | None:
        taken = self._by_port
        if len(taken) >= MOST_FLOWS and not self._make_room():
            return None
        if wanted >= _FIRST_PORT and wanted not in taken:
            return wanted
        for _ in range(_PORTS):
            self._next = (self._next + 1) % _PORTS
            if _FIRST_PORT + self._next not in taken:
                return _FIRST_PORT + self._next
        return None

    # -- the life of flows -------------------------------------------------------------------------

    def accepted(self, peer: tuple[Any, ...]) -> Flow | None:
        """The flow whose conn the listener has accepted from ``peer``; None for strangers."""
        flow = self._by_port.get(peer[1])
        if flow is None or (flow.accepted and not flow.ended):
            return None
        flow.accepted, flow.ended = True, False  # a client may use its port once more
        return flow

    def ended(self, flow: Flow) -> None:
        """The flow's conn is closed."""
        flow.ended = True
        self._end_later(flow)

    def _end_later(self, flow: Flow) -> None:
        flow.due = timers.now() + LINGER
        self._ending.append((flow.due, flow))
        if not self._sweeping:
            self._sweeping = True
            timers.after(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        now, ending = timers.now(), self._ending
        while ending and ending[0][0] <= now:
            self._over(*ending.popleft())
        self._sweeping = bool(ending)
        if self._sweeping:
            timers.after(_SWEEP, self._sweep)

    def _make_room(self) -> bool:
        """Drop the oldest flow that is over, or that nobody has accepted."""
        while self._ending:
            if self._over(*self._ending.popleft()):
                return True
        return False

    def _over(self, due: float, flow: Flow) -> bool:
        """The time of a flow has come; it is dropped unless it has begun anew since."""
        if due != flow.due or (flow.accepted and not flow.ended):
            return False  # it comes back when its conn is closed
        return self._forget(flow)

    def _forget(self, flow: Flow) -> bool:
        """False: it was forgotten already."""
        if self._by_port.get(flow.port) is not flow:
            return False
        del self._by_port[flow.port]
        for one, other in ((flow.forth, flow.back), (flow.back, flow.forth)):
            key = self._swapped(other.key)
            if self._rewrites.get(key) is one:
                del self._rewrites[key]
        return True

    def _swapped(self, key: bytes) -> bytes:
        """The same four with source and target exchanged."""
        half, width = len(self.own), self._width
        return key[half:width] + key[:half] + key[width + 2 : width + 4] + key[width : width + 2]

    def clear(self) -> None:
        self._rewrites.clear()
        self._by_port.clear()
        self._ending.clear()
