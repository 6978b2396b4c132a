"""UDP for tungo: each pair of a client's port and a target's is a flow, a packet conn to relay.

Bounds: ``MOST_FLOWS`` flows; those that nobody relays yet keep ``_MOST_WAITING`` datagrams each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.conn import ConnInfo
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.net.timers import timeout
from gostpy.wire.ip import udp_packet

__all__ = ["Flows", "UDPFlow"]

MOST_FLOWS = 4096
_MOST_WAITING = 64
_LARGEST = 65507
_PAUSED, _RATE = 1, 2

Key = tuple[bytes, int, bytes, int]


class UDPFlow(PacketConn):
    """The datagrams of one client to one target; what is sent goes back to the client."""

    on_hub = True

    def __init__(self, flows: Flows, key: Key, info: ConnInfo) -> None:
        super().__init__(info)
        self.key = key
        self._flows = flows
        self._target = info.destination
        self._queue: deque[bytes] = deque()
        self._reader: Any = None
        self._hold = 0

    def deliver(self, data: bytes) -> None:
        """A datagram of the client; lost when too many wait."""
        meter = self.meter
        delay = 0.0
        if meter is not None:
            if not meter.admits(len(data), False):
                return
            delay = meter.received(len(data))
        if self.sink is not None and not self._hold:
            self.sink.datagram(data, "")
        elif len(self._queue) < _MOST_WAITING:
            self._queue.append(data)
            if self._reader is not None:
                get_hub().loop.run_callback(self._wake)
        if delay > 0.0:
            self._hold |= _RATE
            timers.after(rounded(delay), lambda: self._release(_RATE))

    def recv_from(self) -> tuple[bytes, str]:
        while not self._queue:
            if self.closed:
                raise ConnectionClosed("the flow is closed")
            with timeout(self.timeout or 0.0, "no datagram in time"):
                self._reader = getcurrent()
                try:
                    get_hub().switch()
                finally:
                    self._reader = None
        return self._queue.popleft(), ""

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def send_to(self, data: bytes, address: str = "") -> None:
        self.send_now(data)

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        self._drain()

    def pause(self) -> None:
        self._hold |= _PAUSED

    def resume(self) -> None:
        self._release(_PAUSED)

    def _release(self, reason: int) -> None:
        self._hold &= ~reason
        self._drain()

    def _drain(self) -> None:
        queue = self._queue
        while queue and self.sink is not None and not self._hold:
            self.sink.datagram(queue.popleft(), "")

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("the flow is closed")
        if len(data) > _LARGEST:
            return 0.0
        delay = 0.0
        if self.meter is not None:
            if not self.meter.admits(len(data), True):
                return 0.0
            delay = self.meter.sent(len(data))
        source, source_port, target, target_port = self.key
        packet = udp_packet(target, source, (target_port, source_port), data)
        return max(self._flows.write(packet), delay)

    def _close(self) -> None:
        self._queue.clear()
        self._flows.forget(self)
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake)


class Flows:
    """All flows of a device.

    Args:
        write: takes a packet for the device whose checksum is unfinished.
        accepted: gets each new flow; must not block.
    """

    def __init__(self, write: Callable[[bytes], float], accepted: Callable[[UDPFlow], Any]) -> None:
        self.write = write
        self._accepted = accepted
        self._flows: dict[Key, UDPFlow] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def datagram(self, key: Key, data: bytes, info: Callable[[], ConnInfo]) -> None:
        """A datagram of (source, source port, target, target port)."""
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                return  # gost has no limit
            flow = self._flows[key] = UDPFlow(self, key, info())
            self._accepted(flow)
        flow.deliver(data)

    def forget(self, flow: UDPFlow) -> None:
        if self._flows.get(flow.key) is flow:
            del self._flows[flow.key]

    def close(self) -> None:
        for flow in list(self._flows.values()):
            flow.close()
