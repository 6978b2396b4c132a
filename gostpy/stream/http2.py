"""HTTP/2 sessions over a conn: both sides, streams with headers, flow control, errors.

Wire      see gostpy/wire/http2.py; streams are in stream/http2stream.py
Source    RFC 9113
Differs   Go's server takes 1 MiB a stream and connection. Control frames that come in thousands
          without data between them, and streams that are reset before they were served, end the
          connection with ENHANCE_YOUR_CALM.

A client calls ``open`` (a stream with no request yet) or ``request``; a server's ``deliver`` gets
each :class:`Stream` with its ``request``, on the hub. ``stream.conn`` is the byte stream in both.

Windows are given back as the application reads: a stream that nobody reads stops its peer after
``Config.stream_window`` bytes, and streams together after ``Config.window``, which is all that a
peer can make a session keep. The session never stops reading, so control frames pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gevent import get_hub, sleep
from gevent.event import Event

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.stream.http2stream import Stream
from gostpy.stream.parting import Parting
from gostpy.stream.session import MuxSession
from gostpy.wire.codec import Buffer
from gostpy.wire.http2 import (
    ACK,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    NO_ERROR,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    Http2Error,
    StreamReset,
    frame,
    goaway,
    header_frames,
    rst_stream,
    settings,
    window_update,
)
from gostpy.wire.http2frames import FrameReader
from gostpy.wire.http2headers import LIST_LIMIT, HeaderCodec, Malformed, check_trailers
from gostpy.wire.http2history import ClosedStreams

__all__ = ["Config", "Session", "Stream", "StreamReset"]

_MAX_ID = 0x7FFFFFFF
_FIRST_MAX_STREAMS = 99  # of the peer, until its settings are there
_SLOT_TIMEOUT = 15.0
_BURST, _BURST_TIME = 32, 0.01
"""Streams opened on a gost node in so many seconds: it drops those that find 128 others waiting."""

_GO_FRAME_SIZE = 1 << 20  # what Go's servers announce
_MOST_IDLE = 1000
_IDLE_TIME = 10.0
"""So many control frames without data between them may come in so many seconds."""

_SETTINGS_ACK = frame(SETTINGS, ACK, 0)


@dataclass(frozen=True, slots=True)
class Config:
    """What a session tells its peer.

    Attributes:
        stream_window: bytes that a stream may have in flight to us.
        window: bytes that all streams together may have.
        frame_size: largest payload that we take.
        max_streams: streams that the peer may have open.
        paced: open streams at a pace that gost's accept queue bears. Without it ``request`` waits
            for nothing while the session is not ``exhausted``.
    """

    stream_window: int = 2 << 20
    window: int = 8 << 20
    frame_size: int = 65536
    max_streams: int = 250
    paced: bool = True


class Session(MuxSession):
    """One HTTP/2 connection; see the module's description and :class:`MuxSession`.

    Args:
        deliver: called on the hub with each stream that a client opens.
    """

    name = "http2"

    def __init__(
        self,
        conn: Conn,
        client: bool,
        deliver: Callable[[Stream], None] | None = None,
        config: Config | None = None,
    ) -> None:
        self.config = config or Config()
        super().__init__(conn, client, None, 0)
        self._serve = deliver
        self.codec = HeaderCodec()
        self._frames = FrameReader(self, preface=not client, largest=self.config.frame_size)
        self._next = 1  # of a client's streams
        self._last = 0  # highest stream of the peer
        self._closed = ClosedStreams()
        self._recent = 0  # streams opened in the last moment
        self._reserved = 0  # streams that have not made their request yet
        self._abandoned = 0  # reset by the peer, and still being served here
        self._leaving = False
        self._idle = 0  # control frames since data moved
        self._idle_since = 0.0
        self._slot = Event()
        self._parting = False
        # what the peer has told
        self.room = DEFAULT_WINDOW  # bytes that may be sent on all streams together
        self.granted = DEFAULT_WINDOW  # what ``room`` would be if nothing had been sent
        self.frame_limit = DEFAULT_FRAME_SIZE
        self.stream_room = DEFAULT_WINDOW
        self._max_streams = _FIRST_MAX_STREAMS
        self._starved: dict[Stream, None] = {}  # they wait for room, first come first served
        # what was told to the peer
        self._allowed = self.config.window
        self._consumed = 0

    # -- for users -------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """No more streams can be opened for now."""
        taken = len(self._streams) + self._reserved
        return self._leaving or self._next > _MAX_ID or taken >= self._max_streams

    @property
    def busy(self) -> bool:
        """Another session had better be used: no stream is left, or many bytes wait unread."""
        return self.exhausted or self._allowed < self.config.window // 2

    @property
    def stream_count(self) -> int:
        return len(self._streams) + self._reserved

    def start(self, first: Sequence[tuple[str, str]] = ()) -> None:
        """Take the conn over.

        Args:
            first: the whole request of stream 1 of a connection that was HTTP/1.1 before.
        """
        config = self.config
        values = [
            (INITIAL_WINDOW_SIZE, config.stream_window),
            (MAX_FRAME_SIZE, config.frame_size),
            (MAX_HEADER_LIST_SIZE, LIST_LIMIT),
        ]
        if self.client:
            self.send(PREFACE)
            values.insert(0, (ENABLE_PUSH, 0))
        else:
            values.insert(0, (MAX_CONCURRENT_STREAMS, config.max_streams))
        self.send(settings(values) + window_update(0, config.window - DEFAULT_WINDOW))
        if first:
            self._opened(1, first, True)
        super().start()

    def open(self) -> Conn:
        """A conn over a stream whose ``conn.endpoint.ask(...)`` has still to be called.

        Waits while the peer takes no more streams. Raises ConnectionClosed.
        """
        return self.make_conn(self._reserve())

    def request(self, fields: Sequence[tuple[str, str]], *, end: bool = False) -> Stream:
        """Open a stream with a request, pseudo headers first; its ``conn`` carries the body.

        Args:    end: there is no body.
        Raises:  ConnectionClosed.
        """
        stream = self._reserve()
        self.make_conn(stream)
        stream.ask(fields, end=end)
        return stream

    def _reserve(self) -> Stream:
        with timers.timeout(_SLOT_TIMEOUT, "the peer takes no more streams"):
            while self.alive and self.exhausted and not self._leaving and self._next <= _MAX_ID:
                self._slot.clear()
                self._slot.wait()
        if not self.alive or self._leaving or self._next > _MAX_ID:
            raise ConnectionClosed(str(self.error or "session takes no more streams"))
        self._reserved += 1
        try:
            while self._must_pace():
                sleep(_BURST_TIME)
        except BaseException:
            self.unreserve()
            raise
        if not self._recent:
            timers.after(_BURST_TIME, self._calm_down)
        self._recent += 1
        return Stream(self)

    def _must_pace(self) -> bool:
        many = self._recent >= _BURST and self.config.paced
        return many and self.frame_limit == _GO_FRAME_SIZE

    def _calm_down(self) -> None:
        self._recent = 0

    def number(self, stream: Stream) -> int:
        """The stream makes its request now. Raises ConnectionClosed."""
        if not self.alive or self._leaving or self._next > _MAX_ID:
            raise ConnectionClosed(str(self.error or "session takes no more streams"))
        self._reserved -= 1
        stream_id = self._next
        self._next += 2
        self._streams[stream_id] = stream
        return stream_id

    def unreserve(self) -> None:
        """A stream was given up before its request."""
        self._reserved -= 1
        self._slot.set()

    def close(self) -> None:
        """Say goodbye and end; what was written still leaves."""
        if self.alive:
            self._corked.append(goaway(self._last, NO_ERROR))
        super().close()

    def ping(self) -> None:
        self.send(frame(PING, 0, 0, b"gostpy.."))

    probe = ping

    # -- the end ---------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """The peer is told why, unless it is the conn that broke."""
        if self.alive and isinstance(error, Http2Error) and not self._parting:
            self._parting = True
            self._corked.append(goaway(self._last, error.code, str(error)[:100]))
            self.flush()
            self._end(error, False)
        else:
            super().fail(error)

    def _leave_conn(self, now: bool) -> None:
        if self._parting:
            Parting(self.conn).start()
        else:
            super()._leave_conn(now)

    def _bury(self) -> None:
        self._slot.set()
        self._starved.clear()
        super()._bury()

    # -- out -------------------------------------------------------------------------------------

    def send_headers(self, stream_id: int, fields: Sequence[tuple[str, str]], end: bool) -> None:
        self._idle = 0
        block = self.codec.encode(fields)
        self.send(header_frames(stream_id, block, end, self.frame_limit))

    def starve(self, stream: Stream) -> None:
        """The stream is told by ``pump`` when there is room for all again."""
        self._starved[stream] = None

    def wait_for_drain(self, stream: Stream) -> None:
        """The stream is told by ``drained`` when the conn has sent everything."""
        self._blocked.add(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream by RST_STREAM; what still comes for it is not heeded."""
        if self.forget(stream, by_us=True):
            self.send(rst_stream(stream.id, code))

    def forget(self, stream: Stream, *, by_us: bool = False) -> bool:
        """A stream has ended. False: it had before."""
        if self._streams.pop(stream.id, None) is None:
            return False
        self._closed.add(stream.id, by_us)
        self._starved.pop(stream, None)
        if self.client:
            self._slot.set()
        if self._leaving and not self._streams and not self._reserved:
            get_hub().loop.run_callback(self.close)
        return True

    # -- in --------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        self._frames.feed(data)

    def give_back(self, size: int) -> None:
        """The peer may send so many bytes more."""
        consumed = self._consumed = self._consumed + size
        if consumed >= self.config.window >> 2:
            self._consumed = 0
            self._allowed += consumed
            self.send(window_update(0, consumed))

    def announced(self, stream_id: int, size: int, padding: int) -> None:
        allowed = self._allowed = self._allowed - size
        if allowed < 0:
            raise Http2Error(FLOW_CONTROL_ERROR, "more data than the connection's window")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._late(stream_id)
            self.give_back(size)
            return
        if size > padding:
            self._idle = 0
        else:
            self._count_idle()
        stream.announce(size, padding)

    def arrived(self, stream_id: int, data: Buffer) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.deliver(data)

    def ended(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.peer_end()

    def _late(self, stream_id: int) -> None:
        """A frame for a stream that is not open. Raises Http2Error."""
        if not self._known(stream_id):
            raise Http2Error(PROTOCOL_ERROR, f"a frame for stream {stream_id}, which is idle")
        if not self._closed.by_us(stream_id):
            self._count_idle()
            self.send(rst_stream(stream_id, STREAM_CLOSED))

    def _known(self, stream_id: int) -> bool:
        """The stream is or has been open."""
        if self.client:
            return bool(stream_id & 1) and stream_id < self._next
        return bool(stream_id & 1) and stream_id <= self._last

    def _count_idle(self) -> None:
        """A control frame has come. Raises Http2Error: there are too many of them."""
        if not self._idle:
            self._idle_since = timers.now()
        self._idle += 1
        if self._idle > _MOST_IDLE:
            if timers.now() - self._idle_since < _IDLE_TIME:
                raise Http2Error(ENHANCE_YOUR_CALM, "a flood of control frames")
            self._idle = 0

    # -- headers ---------------------------------------------------------------------------------

    def headed(self, stream_id: int, block: bytes, end: bool) -> None:
        fields = self.codec.decode(block)
        stream = self._streams.get(stream_id)
        if stream is None:
            if self.client or stream_id <= self._last:
                self._headed_late(stream_id)
            else:
                self._opened(stream_id, fields, end)
            return
        self._idle = 0
        if stream.peer_ended:
            self.broken(stream, STREAM_CLOSED, "headers behind the end of the stream")
            return
        try:
            if self.client and stream.answer is None:
                stream.answered(fields, end)
            elif not end:
                raise Malformed("a trailer that does not end the stream")
            else:
                stream.trailers = check_trailers(fields)
                stream.peer_end()
        except Malformed as error:
            self.broken(stream, PROTOCOL_ERROR, str(error))

    def _headed_late(self, stream_id: int) -> None:
        """Raises Http2Error: the stream was not reset by us."""
        if self._closed.by_us(stream_id):
            return
        if self._closed.ended(stream_id):
            raise Http2Error(STREAM_CLOSED, f"headers for stream {stream_id}, which is closed")
        raise Http2Error(PROTOCOL_ERROR, f"headers for stream {stream_id}")

    def _opened(self, stream_id: int, fields: Sequence[tuple[str, str]], end: bool) -> None:
        if not stream_id & 1:
            raise Http2Error(PROTOCOL_ERROR, f"a client opened stream {stream_id}")
        self._last = stream_id
        limit = self.config.max_streams
        if len(self._streams) + self._abandoned >= limit or self._serve is None:
            if self._abandoned > limit // 2:
                raise Http2Error(ENHANCE_YOUR_CALM, "streams are opened and reset")
            self._refuse(stream_id, REFUSED_STREAM)
            return
        stream = Stream(self, stream_id)
        try:
            stream.asked(fields, end)
        except Malformed:
            self._refuse(stream_id, PROTOCOL_ERROR)
            return
        self._streams[stream_id] = stream
        self.make_conn(stream)
        self._hand_out(stream)

    def _hand_out(self, stream: Stream) -> None:
        serve = self._serve
        assert serve is not None
        try:
            serve(stream)
        except Exception as error:  # a bug there must not end the session
            get_hub().handle_error(self, type(error), error, error.__traceback__)
            stream.close(True)

    def _refuse(self, stream_id: int, code: int) -> None:
        self._count_idle()
        self._closed.add(stream_id, True)
        self.send(rst_stream(stream_id, code))

    def broken(self, stream: Stream, code: int, problem: str) -> None:
        """The peer broke the rules of one stream: it ends, the others go on."""
        self.reset(stream, code)
        stream.abort(StreamReset(code, problem))

    # -- control frames --------------------------------------------------------------------------

    def was_reset(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            if not self._known(stream_id):
                raise Http2Error(PROTOCOL_ERROR, f"stream {stream_id} was reset, which is idle")
            self._count_idle()
            return
        self.forget(stream)
        stream.abort(StreamReset(code, remote=True))
        if stream.conn is not None and not self.client:
            self._abandoned += 1
            stream.abandoned = True

    def released(self) -> None:
        """A stream that was abandoned by the peer is not served any more."""
        self._abandoned -= 1

    def configured(self, pairs: list[tuple[int, int]]) -> None:
        self._count_idle()
        self.apply(pairs)
        self.send(_SETTINGS_ACK)

    def apply(self, pairs: list[tuple[int, int]]) -> None:
        """Heed the peer's settings. Raises Http2Error."""
        if self._max_streams == _FIRST_MAX_STREAMS:
            self._max_streams = MAX_WINDOW  # unless they tell another limit
        for key, value in pairs:
            if key == INITIAL_WINDOW_SIZE:
                self._resize(value - self.stream_room)
                self.stream_room = value
            elif key == MAX_FRAME_SIZE:
                self.frame_limit = value
            elif key == MAX_CONCURRENT_STREAMS:
                self._max_streams = value
            elif key == HEADER_TABLE_SIZE:
                self.codec.limit_table(value)
        self._slot.set()

    def _resize(self, change: int) -> None:
        """All windows of streams grow or shrink. Raises Http2Error: one grows too large."""
        for stream in list(self._streams.values()):
            if not stream.credit(change):
                raise Http2Error(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE makes a window too large")

    def acknowledged(self) -> None:
        self._count_idle()

    def pinged(self, payload: bytes, answer: bool) -> None:
        self._count_idle()
        if not answer:
            self.send(frame(PING, ACK, 0, payload))

    def ignored(self, kind: int, stream_id: int) -> None:
        self._count_idle()

    def faulty(self, stream_id: int, code: int, problem: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self.broken(stream, code, problem)
        elif self._known(stream_id):
            self._count_idle()
            self.send(rst_stream(stream_id, code))
        else:
            raise Http2Error(code, problem)

    def credited(self, stream_id: int, size: int) -> None:
        if not stream_id:
            self.room += size
            self.granted += size
            if self.room > MAX_WINDOW:
                raise Http2Error(FLOW_CONTROL_ERROR, "the connection's window is too large")
            self._feed_starved()
            return
        stream = self._streams.get(stream_id)
        if stream is not None:
            if not stream.credit(size):
                self.broken(stream, FLOW_CONTROL_ERROR, "the stream's window is too large")
        elif not self._known(stream_id):
            raise Http2Error(PROTOCOL_ERROR, f"window for stream {stream_id}, which is idle")

    def _feed_starved(self) -> None:
        for stream in list(self._starved):
            if self.room <= 0 or not self.alive:
                return
            self._starved.pop(stream, None)
            stream.pump()

    def told_to_leave(self, last_stream_id: int, code: int) -> None:
        self._leaving = True
        self._slot.set()
        refused: list[Any] = []
        if self.client:
            refused = [s for number, s in self._streams.items() if number > last_stream_id]
        error = StreamReset(code if code else REFUSED_STREAM, "the peer goes away", remote=True)
        for stream in refused:
            self.forget(stream)
            stream.abort(error)
        if not self._streams and not self._reserved:
            get_hub().loop.run_callback(self.close)
