"""UDP on a request of HTTP/3: a packet conn with one peer.

What does not fit an HTTP datagram, or goes to a peer that takes none, travels in a capsule on the
stream; both are understood. gost takes datagrams only, so what is larger is lost there.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

from gevent import get_hub, getcurrent, sleep

from gostpy.errors import ConnectionClosed, GostError
from gostpy.net import timers
from gostpy.net.metered import rounded
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.net.timers import timeout
from gostpy.stream.http3 import Request
from gostpy.wire.codec import Buffer
from gostpy.wire.http3 import DATAGRAM_CAPSULE, FrameReader, frame
from gostpy.wire.masque import payload_of

__all__ = ["HttpDatagrams"]

_MOST_WAITING = 256
_LARGEST = 65535 + 8
_CAPSULES = frozenset({DATAGRAM_CAPSULE})
_PAYLOAD = b"\x00"
_PAUSED, _RATE = 1, 2


class HttpDatagrams(PacketConn):
    """Takes over a stream whose request was answered by 200.

    Args:
        target: reported as the peer's address.
    """

    on_hub = True

    def __init__(self, stream: Request, target: str) -> None:
        conn = stream.conn
        assert conn is not None, "an open stream"
        super().__init__(copy.copy(conn.info))
        self.meter = conn.meter
        self.target = target
        self._stream = stream
        self._conn = conn
        self._waiting: deque[bytes] = deque()
        self._reader: Any = None
        self._hold = 0
        self._capsules = FrameReader(_CAPSULES, limit=_LARGEST)
        stream.on_datagram = self._datagram
        conn.sink = self
        self._sink_data(conn.take_buffer())
        stream.start()

    # -- sink of the stream ----------------------------------------------------------------------

    def data(self, data: Buffer) -> None:
        self._sink_data(data)

    def _sink_data(self, data: Buffer) -> None:
        for _, payload in self._capsules.feed(data):
            self._datagram(bytes(payload))

    def eof(self) -> None:
        get_hub().loop.run_callback(self.close)

    def fail(self, error: BaseException) -> None:
        get_hub().loop.run_callback(self.close)

    def _datagram(self, datagram: bytes) -> None:
        payload = payload_of(datagram)
        if payload is None or self.closed:
            return
        delay = 0.0
        if self.meter is not None:
            if not self.meter.admits(len(payload), False):
                return
            delay = self.meter.received(len(payload))
        if self.sink is not None and not self._hold:
            self.sink.datagram(payload, self.target)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(payload)
            if self._reader is not None:
                get_hub().loop.run_callback(self._wake)
        if delay > 0.0:
            self._hold |= _RATE
            timers.after(rounded(delay), lambda: self._release(_RATE))

    # -- in a green thread ---------------------------------------------------------------------

    def recv_from(self) -> tuple[bytes, str]:
        while not self._waiting or self._hold:
            if self.closed:
                raise ConnectionClosed("the request for UDP has ended")
            with timeout(self.timeout or 0.0, "no datagram in time"):
                self._reader = getcurrent()
                try:
                    get_hub().switch()
                finally:
                    self._reader = None
        return self._waiting.popleft(), self.target

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def send_to(self, data: bytes, address: str = "") -> None:
        delay = self.send_now(data, address)
        if delay > 0.0:
            sleep(delay)

    # -- on the hub ------------------------------------------------------------------------------

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
        if not self._hold and self._reader is not None:
            get_hub().loop.run_callback(self._wake)

    def _drain(self) -> None:
        waiting = self._waiting
        while waiting and self.sink is not None and not self._hold:
            self.sink.datagram(waiting.popleft(), self.target)

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("the request for UDP has ended")
        delay = 0.0
        if self.meter is not None:
            if not self.meter.admits(len(data), True):
                return 0.0
            delay = float(self.meter.sent(len(data)))
        payload = _PAYLOAD + data
        stream = self._stream
        if not stream.send_datagram(payload) and not stream.full:
            try:
                stream.write(frame(DATAGRAM_CAPSULE, payload))
            except (GostError, OSError):
                get_hub().loop.run_callback(self.close)
        return delay

    def _close(self) -> None:
        self._stream.on_datagram = None
        self._conn.close()
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake)
