"""UDP for tungo: each pair of a client's port and a target's is a flow, a packet conn to relay.

Bounds: ``MOST_FLOWS`` flows; those that nobody relays yet keep ``_MOST_WAITING`` datagrams each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gostpy.errors import ConnectionClosed
from gostpy.net.conn import ConnInfo
from gostpy.net.queued import QueuedPackets
from gostpy.wire.ip import udp_packet

__all__ = ["Flows", "UDPFlow"]

MOST_FLOWS = 4096
_MOST_WAITING = 64
_LARGEST = 65507

Key = tuple[bytes, int, bytes, int]


class UDPFlow(QueuedPackets):
    """The datagrams of one client to one target; what is sent goes back to the client."""

    most_waiting = _MOST_WAITING

    def __init__(self, flows: Flows, key: Key, info: ConnInfo) -> None:
        super().__init__(info)
        self.key = key
        self._flows = flows

    def send_to(self, data: bytes, address: str = "") -> None:
        self.send_now(data)

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("the flow is closed")
        if len(data) > _LARGEST:
            return 0.0
        delay = 0.0
        if self.meter is not None:
            delay = self._sent(len(data))
            if delay < 0.0:
                return 0.0
        source, source_port, target, target_port = self.key
        packet = udp_packet(target, source, (target_port, source_port), data)
        return max(self._flows.write(packet), delay)

    def _close(self) -> None:
        self._flows.forget(self)
        super()._close()


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
        flow.deliver(data, "")

    def forget(self, flow: UDPFlow) -> None:
        if self._flows.get(flow.key) is flow:
            del self._flows[flow.key]

    def close(self) -> None:
        for flow in list(self._flows.values()):
            flow.close()
