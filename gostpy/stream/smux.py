"""smux sessions over a conn, versions 1 and 2.

Wire      see gostpy/wire/smux.py
Source    xtaci/smux session.go, stream.go (behaviour of version 1.5)
Differs   A stream may not have more than its window waiting here: it is closed when it has. A peer
          is given up after ``keepalive_timeout`` of silence, not after up to twice that time. Data
          that waits for window when a stream is closed is sent first, for 30 s at most.

Streams of version 1 have no windows: a reader that is stuck stops the whole session when
``max_receive_buffer`` bytes wait. In version 2 that happens only when many are stuck at once.

There is no half-close: after the peer's FIN what it sent can still be read, but nothing written.
"""

from __future__ import annotations

from dataclasses import dataclass

from gevent import sleep

from gostpy.errors import ConfigError, ConnectionClosed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import StreamEndpoint
from gostpy.stream.session import Delivered, MuxSession
from gostpy.wire.codec import Buffer
from gostpy.wire.smux import (
    FIN,
    INITIAL_WINDOW,
    MAX_PAYLOAD,
    NOP,
    PSH,
    SYN,
    FrameReader,
    header,
    window_update,
)

__all__ = ["Config", "Session"]

"""Streams that may wait to be accepted."""

_BURST, _BURST_TIME = 64, 0.01
"""Streams opened in so many seconds. gost's listeners drop those that find 128 others waiting."""

_MAX_ID = 0xFFFFFFFF
_MAX_WINDOW = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a session; the defaults are the library's.

    Attributes:
        version: 1 or 2, the same at both ends.
        keepalive: send NOP frames and end a session whose peer is silent.
        keepalive_interval: seconds between NOP frames.
        keepalive_timeout: seconds of silence that end the session.
        max_frame_size: most data bytes in a frame that is sent.
        max_receive_buffer: bytes of all streams that may wait here; above, nothing is read.
        max_stream_buffer: the window of a stream of version 2, in bytes.
    """

    version: int = 1
    keepalive: bool = True
    keepalive_interval: float = 10.0
    keepalive_timeout: float = 30.0
    max_frame_size: int = 32768
    max_receive_buffer: int = 4194304
    max_stream_buffer: int = 65536

    def check(self) -> None:
        """Raises ConfigError: values that the Go library refuses too."""
        if self.version not in (1, 2):
            raise ConfigError(f"smux version {self.version}, expected 1 or 2", "mux.version")
        if self.keepalive and not 0 < self.keepalive_interval <= self.keepalive_timeout:
            raise ConfigError(
                "must be positive and not larger than mux.keepaliveTimeout", "mux.keepaliveInterval"
            )
        if not 0 < self.max_frame_size <= MAX_PAYLOAD:
            raise ConfigError(f"expected 1 to {MAX_PAYLOAD} bytes", "mux.maxFrameSize")
        if not 0 < self.max_stream_buffer <= min(self.max_receive_buffer, _MAX_WINDOW):
            raise ConfigError(
                "must be positive and not larger than mux.maxReceiveBuffer", "mux.maxStreamBuffer"
            )


class Session(MuxSession):
    """A smux session; see :class:`MuxSession` for its arguments and attributes."""

    name = "smux"

    def __init__(
        self,
        conn: Conn,
        config: Config,
        client: bool,
        deliver: Delivered | None = None,
    ) -> None:
        config.check()
        super().__init__(conn, client, deliver, config.max_receive_buffer)
        self.config = config
        self.version = config.version
        self.max_frame_size = config.max_frame_size
        self._stream_type = _WindowedStream if config.version == 2 else _Stream
        self._next = 3 if client else 2
        self._recent = 0  # streams opened in the last moment
        self._frames = FrameReader(config.version, self)

    def start(self) -> None:
        super().start()
        if self.config.keepalive:
            self.keep_alive(self.config.keepalive_interval, self.config.keepalive_timeout)

    @property
    def busy(self) -> bool:
        return self._next > _MAX_ID or super().busy

    def open(self) -> Conn:
        """A new stream; waits a little if there were many just now.

        Raises ConnectionClosed: the session is gone or its ids are used up.
        """
        while self._recent >= _BURST and self.alive:
            sleep(_BURST_TIME)
        if not self.alive or self._next > _MAX_ID:
            raise ConnectionClosed(str(self.error or "session has no more stream ids"))
        if not self._recent:
            timers.after(_BURST_TIME, self._calm_down)
        self._recent += 1
        stream = self._add(self._next)
        self._next += 2
        self.send(header(self.version, SYN, stream.id))
        return self.make_conn(stream)

    def _calm_down(self) -> None:
        self._recent = 0

    def _add(self, stream_id: int) -> _Stream:
        stream = self._stream_type(self, stream_id)
        self._streams[stream_id] = stream
        return stream

    def feed(self, data: Buffer) -> None:
        self._frames.feed(data)

    def probe(self) -> None:
        self.send(header(self.version, NOP, 0))

    def forget(self, stream: _Stream) -> None:
        """Our side of a stream has ended: tell the peer; what still comes for it is discarded."""
        if self._streams.pop(stream.id, None) is not None:
            self.send(header(self.version, FIN, stream.id))

    # -- receiver of frames ----------------------------------------------------------------------

    def opened(self, stream_id: int) -> None:
        if stream_id & 1 == (1 if self.client else 0):
            raise ProtocolError(f"smux peer opened stream {stream_id}, an id of this side")
        if stream_id in self._streams:
            return  # as the library
        if not self.accepts:
            self.send(header(self.version, FIN, stream_id))
            return
        self.admit(self._add(stream_id))

    def arrived(self, stream_id: int, data: Buffer) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.deliver(data)

    def ended(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.peer_end()

    def credited(self, stream_id: int, consumed: int, window: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.credit(consumed, window)


class _Stream(StreamEndpoint):
    """A stream of version 1: what is written leaves with the session."""

    __slots__ = ("id", "session")

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session.level)
        self.session = session
        self.id = stream_id

    def _send(self, data: Buffer) -> bool:
        if self.peer_ended:
            return self._discard()
        return self._push(data)

    def _discard(self) -> bool:
        """The peer takes no more data. That is an error only once all of its own was read."""
        if self.waiting:
            return True
        raise ConnectionClosed("stream was closed by the peer")

    def _push(self, data: Buffer) -> bool:
        session = self.session
        size = len(data)
        limit = session.max_frame_size
        if size <= limit:
            return session.send_data(self, header(session.version, PSH, self.id, size), data)
        view = memoryview(data)
        frames: list[Buffer] = []
        for start in range(0, size, limit):
            piece = view[start : start + limit]
            frames.append(header(session.version, PSH, self.id, len(piece)))
            frames.append(piece)
        return session.send_now(self, frames)

    def credit(self, consumed: int, window: int) -> None:
        """Version 1 has no windows; the library takes no notice either."""

    def kept(self, size: int) -> None:
        self.session.hold(size)

    def _finish_sending(self) -> None:
        self.session.forget(self)


class _WindowedStream(_Stream):
    """A stream of version 2: both sides say how much they have consumed.

    ``_out`` holds what the peer's window does not allow yet; the source has been told to stop.
    """

    __slots__ = (
        "_consumed",
        "_out",
        "_peer_consumed",
        "_peer_window",
        "_reported",
        "_sent",
    )

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self._sent = 0
        self._peer_consumed = 0
        self._peer_window = INITIAL_WINDOW
        self._out: bytearray | None = None
        self._consumed = 0
        self._reported = 0

    # -- out ---------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        if self.peer_ended:
            return self._discard()
        if self._out is not None:
            self._out += data
            return False
        size = len(data)
        room = self._room()
        if size <= room:
            self._sent += size
            return self._push(data)
        view = memoryview(data)
        if room > 0:
            self._sent += room
            self._push(view[:room])
        self._out = bytearray(view[max(room, 0) :])
        return False

    def _room(self) -> int:
        return self._peer_window - (self._sent - self._peer_consumed)

    def credit(self, consumed: int, window: int) -> None:
        """The peer has read ``consumed`` bytes in all, modulo 2^32."""
        in_flight = (self._sent - consumed) & 0xFFFFFFFF
        if in_flight > _MAX_WINDOW:
            self._broken(f"peer of stream {self.id} consumed more than was sent")
            return
        self._peer_consumed = self._sent - in_flight
        self._peer_window = min(window, _MAX_WINDOW)
        out = self._out
        if out is None:
            return
        room = self._room()
        if room <= 0:
            return
        if room < len(out):
            piece = bytes(memoryview(out)[:room])
            del out[:room]
            self._sent += room
            self._push(piece)
            return
        self._out = None
        self._sent += len(out)
        accepted = self._push(out)
        if self.local_ended:
            self.session.forget(self)
        elif accepted:
            self.drained()

    def drained(self) -> None:
        if self._out is None:  # else the window is what is waited for
            super().drained()

    def peer_end(self) -> None:
        if self._out is not None:  # it would not be read
            self._out = None
            self._dropped = True
            self._wake_writer()
        if self.local_ended:
            self.session.forget(self)
        super().peer_end()

    def _finish_sending(self) -> None:
        if self._out is None:
            self.session.forget(self)

    def _closed(self, now: bool) -> None:
        if self._out is None:
            return
        if now:
            self._give_up()
        else:
            timers.after(LINGER, self._give_up)

    def _give_up(self) -> None:
        """Close although the peer did not take everything."""
        self._out = None
        self.session.forget(self)

    # -- in ----------------------------------------------------------------------------------------

    def consumed(self, size: int) -> None:
        """Tell the peer at the first data, and then whenever half a window was consumed."""
        session = self.session
        self._consumed = consumed = self._consumed + size
        window = session.config.max_stream_buffer
        news = consumed - self._reported
        if (news >= window // 2 or news == consumed) and self.conn is not None:
            self._reported = consumed
            session.send(window_update(2, self.id, consumed, window))

    def kept(self, size: int) -> None:
        self.session.hold(size)
        if size > 0 and self.waiting > max(INITIAL_WINDOW, self.session.config.max_stream_buffer):
            self._broken(f"peer of stream {self.id} overran its window")

    def _broken(self, problem: str) -> None:
        """The peer broke the rules of this stream: it ends, the others go on."""
        self._out = None
        self.session.forget(self)
        self.abort(ProtocolError(problem))
