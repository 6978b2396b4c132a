"""yamux sessions over a conn; gost has them since 3.3.

Wire      see gostpy/wire/yamux.py
Source    hashicorp/yamux spec.md; behaviour of its version 0.1
Differs   FIN ends one direction, as the specification says; the Go library's ``Close`` sends FIN
          and reads no more, so a peer that has ended its direction and takes no data for 30 s is
          reset. A stream that is closed here while the peer goes on is reset after 30 s (library:
          5 minutes). All streams together may keep 64 MiB; above, nothing is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from gevent.event import Event

from gostpy.errors import ConfigError, ConnectionClosed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import StreamEndpoint
from gostpy.stream.session import Delivered, MuxSession
from gostpy.wire.codec import Buffer
from gostpy.wire.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    INITIAL_WINDOW,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW,
    FrameReader,
    frame,
)

__all__ = ["BACKLOG", "Config", "Session"]

BACKLOG = 256
"""Streams that may wait to be accepted; a side opens no more than that before answers come."""

_HELD_LIMIT = 64 << 20
_ANSWER_TIME = 10.0  # the library's limit for the answer to a ping
_MAX_ID = 0xFFFFFFFE
_MAX_WINDOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of a session; the defaults are the library's.

    Attributes:
        keepalive: send pings and end a session whose peer is silent.
        keepalive_interval: seconds between pings.
        max_stream_window: most bytes in flight towards us on one stream.
    """

    keepalive: bool = True
    keepalive_interval: float = 30.0
    max_stream_window: int = INITIAL_WINDOW

    def check(self) -> None:
        """Raises ConfigError: values that the Go library refuses too."""
        if self.keepalive_interval <= 0:
            raise ConfigError("must be positive", "mux.keepaliveInterval")
        if not INITIAL_WINDOW <= self.max_stream_window <= _MAX_WINDOW:
            raise ConfigError(f"expected {INITIAL_WINDOW} bytes or more", "mux.maxStreamWindow")


class Session(MuxSession):
    """A yamux session; see :class:`MuxSession` for its arguments and attributes."""

    name = "yamux"

    def __init__(
        self,
        conn: Conn,
        config: Config,
        client: bool,
        deliver: Delivered | None = None,
    ) -> None:
        config.check()
        super().__init__(conn, client, deliver, _HELD_LIMIT)
        self.window = config.max_stream_window
        self._config = config
        self._next = 1 if client else 2
        self._unanswered: set[int] = set()  # streams that the peer has not accepted yet
        self._answer = Event()
        self._pings = 0
        self._leaving = False  # the peer wants no more streams
        self._frames = FrameReader(self)

    def start(self) -> None:
        super().start()
        if self._config.keepalive:
            interval = self._config.keepalive_interval
            self.keep_alive(interval, max(interval, _ANSWER_TIME))

    @property
    def busy(self) -> bool:
        return (
            self._leaving
            or self._next > _MAX_ID
            or len(self._unanswered) >= BACKLOG
            or super().busy
        )

    def open(self) -> Conn:
        """A new stream; waits while too many are unanswered. Raises ConnectionClosed."""
        while self.alive and len(self._unanswered) >= BACKLOG:
            self._answer.clear()
            self._answer.wait()
        if not self.alive or self._leaving or self._next > _MAX_ID:
            raise ConnectionClosed(str(self.error or "session takes no more streams"))
        stream = self._add(self._next)
        self._next += 2
        self._unanswered.add(stream.id)
        self.send(frame(WINDOW, SYN, stream.id, self.window - INITIAL_WINDOW))
        return self.make_conn(stream)

    def _add(self, stream_id: int) -> _Stream:
        stream = _Stream(self, stream_id)
        self._streams[stream_id] = stream
        return stream

    def feed(self, data: Buffer) -> None:
        self._frames.feed(data)

    def fail(self, error: BaseException) -> None:
        if self.alive and isinstance(error, ProtocolError):
            self._corked.append(frame(GO_AWAY, 0, 0, PROTOCOL_ERROR))
            self.flush()
            self._end(error, False)
        else:
            super().fail(error)

    def _bury(self) -> None:
        self._answer.set()
        super()._bury()

    def probe(self) -> None:
        self._pings = (self._pings + 1) & 0xFFFFFFFF
        self.send(frame(PING, SYN, 0, self._pings))

    def forget(self, stream: _Stream) -> None:
        """Both directions of a stream have ended."""
        self._streams.pop(stream.id, None)
        self._answered(stream.id)
        if self._leaving and not self._streams:
            self.close()

    def _answered(self, stream_id: int) -> None:
        if stream_id in self._unanswered:
            self._unanswered.discard(stream_id)
            self._answer.set()

    # -- receiver of frames ----------------------------------------------------------------------

    def opened(self, stream_id: int) -> None:
        if stream_id in self._streams or stream_id & 1 == (1 if self.client else 0):
            raise ProtocolError(f"yamux peer opened stream {stream_id} against the rules")
        if not stream_id:
            raise ProtocolError("yamux peer opened stream 0")
        if not self.accepts:
            self.send(frame(WINDOW, RST, stream_id))
            return
        stream = self._add(stream_id)
        self.send(frame(WINDOW, ACK, stream.id, self.window - INITIAL_WINDOW))
        self.admit(stream)

    def accepted(self, stream_id: int) -> None:
        self._answered(stream_id)

    def announced(self, stream_id: int, size: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.announce(size)

    def arrived(self, stream_id: int, data: Buffer) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.deliver(data)

    def credited(self, stream_id: int, size: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.credit(size)

    def ended(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.peer_end()

    def was_reset(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.forget(stream)
            stream.abort(ConnectionClosed("stream was reset by the peer"))

    def pinged(self, value: int, answer: bool) -> None:
        if not answer:
            self.send(frame(PING, ACK, 0, value))

    def told_to_leave(self, reason: int) -> None:
        if reason != NORMAL:
            self._end(ConnectionClosed(f"yamux peer went away with code {reason}"), True)
            return
        self._leaving = True
        if not self._streams:
            self.close()


class _Stream(StreamEndpoint):
    """A stream; ``_out`` holds what the peer's window does not allow yet."""

    __slots__ = ("_allowed", "_consumed", "_finished", "_out", "_room", "_timer", "id", "session")

    can_half = True

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session.level)
        self.session = session
        self.id = stream_id
        self._room = INITIAL_WINDOW  # we may send
        self._allowed = session.window  # the peer may send
        self._consumed = 0  # not yet reported
        self._out: bytearray | None = None
        self._finished = False  # FIN was sent
        self._timer: timers.Entry | None = None

    # -- out ---------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        if self._out is not None:
            self._out += data
            return False
        size = len(data)
        room = self._room
        if size <= room:
            return self._push(data)
        view = memoryview(data)
        if room:
            self._push(view[:room])
        self._out = bytearray(view[room:])
        self._watch()
        return False

    def _push(self, data: Buffer) -> bool:
        size = len(data)
        if not size:
            return True
        self._room -= size
        return self.session.send_data(self, frame(DATA, 0, self.id, size), data)

    def credit(self, size: int) -> None:
        """The peer may be sent ``size`` more bytes."""
        self._room += size
        if self._room > _MAX_WINDOW:
            raise ProtocolError(f"yamux window of stream {self.id} is too large")
        out = self._out
        if out is None:
            return
        self._unwatch()
        room = self._room
        if room < len(out):
            piece = bytes(memoryview(out)[:room])
            del out[:room]
            self._push(piece)
            self._watch()
            return
        self._out = None
        accepted = self._push(out)
        if self.local_ended:
            self._finish_sending()
            if self.conn is None:
                self._watch()
        elif accepted:
            self.drained()

    def drained(self) -> None:
        if self._out is None:  # else the window is what is waited for
            super().drained()

    def _finish_sending(self) -> None:
        if self._out is not None or self._finished:
            return
        self._finished = True
        self.session.send(frame(WINDOW, FIN, self.id))
        if self.peer_ended:
            self._gone()

    def peer_end(self) -> None:
        super().peer_end()
        if self._finished:
            self._gone()
        else:
            self._watch()

    def abort(self, error: BaseException) -> None:
        self._unwatch()
        self._out = None
        super().abort(error)

    def _closed(self, now: bool) -> None:
        if self.reason is not None or (self._finished and self.peer_ended):
            return
        if now:
            self._reset()
        else:
            self._watch()

    # -- peers that do not come to an end ----------------------------------------------------------

    def _watch(self) -> None:
        """Give the peer some time, if it has to end the stream or to make room for its rest."""
        if self._timer is not None or (self._finished and self.peer_ended):
            return
        if self.conn is None or (self.peer_ended and self._out is not None):
            self._timer = timers.after(LINGER, self._reset)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _reset(self) -> None:
        self._timer = None
        self._out = None
        self.session.send(frame(WINDOW, RST, self.id))
        self.session.forget(self)
        self.abort(ConnectionClosed("the peer of the stream did not react in time"))

    def _gone(self) -> None:
        self._unwatch()
        self.session.forget(self)

    # -- in ----------------------------------------------------------------------------------------

    def announce(self, size: int) -> None:
        """A data frame begins. Raises ProtocolError: it is more than the window."""
        self._allowed -= size
        if self._allowed < 0:
            raise ProtocolError(f"yamux peer overran the window of stream {self.id}")

    def consumed(self, size: int) -> None:
        if self.conn is None or self.peer_ended:
            return
        consumed = self._consumed = self._consumed + size
        if consumed >= self.session.window // 2:
            self._consumed = 0
            self._allowed += consumed
            self.session.send(frame(WINDOW, 0, self.id, consumed))

    def kept(self, size: int) -> None:
        self.session.hold(size)
