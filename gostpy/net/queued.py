"""Packet conns whose datagrams are handed in: they wait until somebody takes them.

Whoever sorts the datagrams of many peers, or takes them out of a stream, gives each to ``deliver``.
Those of a conn that is not read, or held back, wait in a queue; what does not fit is lost.
"""

from __future__ import annotations

from collections import deque

from gostpy.errors import ConnectionClosed
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import HubPackets, PacketSink

__all__ = ["CallbackPackets", "QueuedPackets"]


class QueuedPackets(HubPackets):
    """Base. Class attribute: ``most_waiting``, in datagrams."""

    most_waiting = 256

    __slots__ = ("_queue",)

    def __init__(self, info: ConnInfo | None = None) -> None:
        super().__init__(info)
        self._queue: deque[tuple[bytes, str]] = deque()

    def deliver(self, data: bytes, address: str) -> None:
        """A datagram and its sender. On the hub."""
        held = self._hold
        if self.meter is not None and not self._received(len(data)):
            return
        sink = self.sink
        if sink is not None and not held:
            sink.datagram(data, address)
        elif self._put(data, address):
            self._wake_soon()

    def _put(self, data: bytes, address: str) -> bool:
        """Keep a datagram; False: it is lost."""
        if len(self._queue) >= self.most_waiting:
            return False
        self._queue.append((data, address))
        return True

    def _next(self) -> tuple[bytes, str]:
        """Take the first that waits."""
        return self._queue.popleft()

    def _expect(self) -> None:
        """Somebody is about to wait for a datagram. Raises ConnectionClosed: none will come."""
        if self.closed:
            raise ConnectionClosed("packet conn is closed")

    def recv_from(self) -> tuple[bytes, str]:
        while not self._queue or self._hold:
            self._expect()
            self._wait()
        return self._next()

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        self._drain()

    def _go_on(self) -> None:
        self._drain()
        self._wake_soon()

    def _drain(self) -> None:
        queue = self._queue
        while queue and self.sink is not None and not self._hold:
            self.sink.datagram(*self._next())

    def _close(self) -> None:
        self._queue.clear()
        self._wake_soon()


class CallbackPackets(QueuedPackets):
    """Base of packet conns that only hand over by callback: a green thread that reads is served by
    a sink of its own."""

    __slots__ = ()

    def recv_from(self) -> tuple[bytes, str]:
        if self.sink is None and not self.closed:
            self.start(_IntoQueue(self))
        return super().recv_from()

    def _go_on(self) -> None:
        self._wake_soon()


class _IntoQueue:
    __slots__ = ("_owner",)

    def __init__(self, owner: CallbackPackets) -> None:
        self._owner = owner

    def datagram(self, data: bytes, address: str) -> None:
        if self._owner._put(data, address):
            self._owner._wake_soon()

    def ended(self, error: BaseException | None) -> None:
        self._owner._wake_soon()
