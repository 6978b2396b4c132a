"""A packet conn that only works in green threads, made to work on the hub."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import spawn_raw
from gevent.event import Event

from gostpy.errors import ConnectionClosed
from gostpy.net.packet import PacketConn, PacketSink

__all__ = ["hubbed"]

_MOST_WAITING = 128


def hubbed(packets: PacketConn) -> PacketConn:
    """The packet conn itself, or one around it that works on the hub."""
    return packets if packets.on_hub else _Threaded(packets)


class _Threaded(PacketConn):
    """Two green threads: one receives, one sends what waits."""

    on_hub = True

    def __init__(self, inner: PacketConn) -> None:
        super().__init__(inner.info)
        self._inner = inner
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._ready = Event()
        self._going = Event()
        self._going.set()

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        spawn_raw(self._run, self._receive)
        spawn_raw(self._run, self._send)

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        if len(self._waiting) < _MOST_WAITING:  # above, the datagram is lost
            self._waiting.append((data, address))
            self._ready.set()
        return 0.0

    def _run(self, step: Callable[[], Any]) -> None:
        """One direction, until the conn is closed."""
        error: BaseException | None = None
        try:
            while not self.closed:
                step()
        except ConnectionClosed as closed:
            error = closed.__cause__
        except Exception as failure:
            error = failure
        sink, self.sink = self.sink, None
        self.close()
        if sink is not None:
            sink.ended(error)

    def _receive(self) -> None:
        self._going.wait()
        data, address = self._inner.recv_from()
        if self.sink is not None:
            self.sink.datagram(data, address)

    def _send(self) -> None:
        self._ready.wait()
        while self._waiting:
            self._inner.send_to(*self._waiting.popleft())
        self._ready.clear()

    def _close(self) -> None:
        self._ready.set()
        self._going.set()
        self._inner.close()
