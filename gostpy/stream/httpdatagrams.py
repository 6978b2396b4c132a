"""UDP on a request of HTTP/3: a packet conn with one peer.

What does not fit an HTTP datagram, or goes to a peer that takes none, travels in a capsule on the
stream; both are understood. gost takes datagrams only, so what is larger is lost there.
"""

from __future__ import annotations

import copy

from gevent import get_hub, sleep

from gostpy.errors import ConnectionClosed, GostError
from gostpy.net.queued import QueuedPackets
from gostpy.stream.http3 import Request
from gostpy.wire.codec import Buffer
from gostpy.wire.http3 import DATAGRAM_CAPSULE, FrameReader, frame
from gostpy.wire.masque import payload_of

__all__ = ["HttpDatagrams"]

_LARGEST = 65535 + 8
_CAPSULES = frozenset({DATAGRAM_CAPSULE})
_PAYLOAD = b"\x00"


class HttpDatagrams(QueuedPackets):
    """Takes over a stream whose request was answered by 200.

    Args:
        target: reported as the peer's address.
    """

    def __init__(self, stream: Request, target: str) -> None:
        conn = stream.conn
        assert conn is not None, "an open stream"
        super().__init__(copy.copy(conn.info))
        self.meter = conn.meter
        self.target = target
        self._stream = stream
        self._conn = conn
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
        if payload is not None and not self.closed:
            self.deliver(payload, self.target)

    def send_to(self, data: bytes, address: str = "") -> None:
        delay = self.send_now(data, address)
        if delay > 0.0:
            sleep(delay)

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("the request for UDP has ended")
        delay = 0.0
        if self.meter is not None:
            delay = self._sent(len(data))
            if delay < 0.0:
                return 0.0
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
        super()._close()
