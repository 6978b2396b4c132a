"""HTTP/3 on a QUIC connection: requests as streams, both sides.

A request is a stream with a conn for its body; its head is asked for (``Session.request``) or given
(``deliver``). HTTP datagrams belong to such a stream. What is not a request's, WebTransport's
streams, is left to subclasses.

Wire      see gostpy.wire.http3; our QPACK streams are never opened, as in quic-go
Source    RFC 9114, 9220, 9297
Differs   nothing known
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gevent import get_hub, getcurrent
from gevent.event import Event

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.interfaces import ExchangeRequest
from gostpy.net.conn import Conn
from gostpy.net.stream import PIECE
from gostpy.stream.quic import Quic
from gostpy.stream.quicmux import QuicSession, QuicStream
from gostpy.wire import http3 as wire
from gostpy.wire.codec import Buffer
from gostpy.wire.http2headers import Malformed, Response, content_length, read_request
from gostpy.wire.http3 import FrameReader, Http3Error

__all__ = ["Request", "Session", "StreamReset"]

Fields = Sequence[tuple[str, str]]

_DATA_HEAD = wire.varint(wire.DATA)
_REQUEST_FRAMES = frozenset({wire.HEADERS})
_CONTROL_FRAMES = frozenset({wire.SETTINGS, wire.GOAWAY})
_NO_BODY = frozenset({204, 304})
_MOST_UNNAMED = 8
"""Bytes of a stream whose first integer is not there yet."""

_MOST_DATAGRAMS = 64
_MOST_STREAMS = 110
"""Requests of a session: a connection gets slower with each stream that it has open."""


class StreamReset(ConnectionClosed):
    """A request was given up.

    Args:
        code: of RFC 9114 section 8.1.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"http3: {reason} ({code:#x})")
        self.code = code


class Request(QuicStream):
    """The endpoint of a request's conn: the bodies of request and response.

    Attributes:
        request: of a server's stream, once it was read.
        answer: of a client's stream, once it is there (see ``response``).
        on_answer: called on the hub with this stream when ``answer`` is there.
        on_datagram: gets the HTTP datagrams of this request, on the hub.
    """

    __slots__ = (
        "_asked",
        "_expected",
        "_frames",
        "_headed",
        "_known",
        "_method",
        "answer",
        "on_answer",
        "on_datagram",
        "request",
    )

    session: Session

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self.request: ExchangeRequest | None = None
        self.answer: Response | None = None
        self.on_answer: Callable[[Request], None] | None = None
        self.on_datagram: Callable[[bytes], None] | None = None
        self._frames = FrameReader(_REQUEST_FRAMES, wire.DATA, wire.NOT_IN_REQUESTS)
        self._asked = False
        self._headed = False  # our headers have been sent
        self._known = session.client  # somebody has its conn
        self._method = ""
        self._expected = -1  # bytes still to come by content-length

    # -- client ----------------------------------------------------------------------------------

    def ask(self, fields: Fields, *, end: bool = False) -> None:
        """Make the request, pseudo headers first. Raises ConnectionClosed."""
        if self._asked or self.conn is None:
            raise ConnectionClosed("stream is in use or closed")
        self._asked = True
        self._method = next((value for name, value in fields if name == ":method"), "")
        self._begin(fields, end)

    def response(self) -> Response:
        """Wait for the head of the response. Raises ConnectionClosed: the stream was reset."""
        while self.answer is None:
            if self.reason is not None:
                raise ConnectionClosed(str(self.reason)) from self.reason
            if self.conn is None or self.peer_ended:
                raise ConnectionClosed("stream was closed while it waited for a response")
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None
        return self.answer

    # -- server ----------------------------------------------------------------------------------

    def respond(self, status: int, fields: Fields = (), *, end: bool = False) -> None:
        """Send the head of the response, once; names in lower case. Raises ConnectionClosed."""
        if self.reason is not None or self.conn is None or self._headed:
            raise ConnectionClosed(str(self.reason or "stream is closed or answered"))
        self._begin([(":status", str(status)), *fields], end)

    # -- both ------------------------------------------------------------------------------------

    def reset(self, code: int = wire.CANCELLED) -> None:
        """End both directions at once."""
        self.session.drop(self, code)
        self.abort(StreamReset(code, "stream was reset"))

    def send_datagram(self, payload: bytes) -> bool:
        """Send an HTTP datagram; False: the peer takes none, or none of this size."""
        return self.session.send_datagram(self.stream_id, payload)

    def _begin(self, fields: Fields, end: bool) -> None:
        self._headed = True
        session = self.session
        session.core.send_stream_data(
            self.stream_id, session.headers.encode(self.stream_id, fields), end
        )
        if end:
            self.local_ended = True

    def _send(self, data: Buffer) -> bool:
        if not self._headed:
            raise ConnectionClosed("stream has no headers yet")
        size = len(data)
        if not size:
            return not self.full
        return self.session.send(self, b"".join((_DATA_HEAD, wire.varint(size), data)))

    def _finish_sending(self) -> None:
        if self._headed:
            self.session.finish(self)

    # -- called by the session -------------------------------------------------------------------

    def broken(self, error: BaseException) -> None:
        """The peer broke the rules of HTTP here, or gave the stream up."""
        self.abort(error)
        if not self._known and self.conn is not None:
            self.conn.close(True)  # nobody has heard of it

    def arrived(self, data: bytes, ended: bool) -> None:
        """The next bytes of the stream. Raises Http3Error; Malformed: this stream only."""
        found = self._frames.feed(data)
        bodies = sum(len(part) for kind, part in found if kind == wire.DATA)
        self.session.core.consume(self.stream_id, len(data) - bodies)
        for kind, part in found:
            if kind == wire.HEADERS:
                self._head(bytes(part))
            else:
                self._body(part)
        if ended:
            if self._frames.partial:
                raise Http3Error(wire.GENERAL_ERROR, "stream ends inside a frame")
            if self.request is None and self.answer is None:
                raise Malformed("stream ends before its headers")
            if self._expected > 0:
                raise Malformed("the body is shorter than content-length")
            self.peer_end()

    def _head(self, block: bytes) -> None:
        fields = self.session.headers.decode(self.stream_id, block)
        if not self.session.client:
            if self.request is None:
                self.request = read_request(_tolerated(fields))
                self._expected = content_length(self.request.headers)
                self._known = True
                self.session.asked(self)
        elif self.answer is None:
            answer = Response.read(fields)
            if answer.status < 200:
                if answer.status == 101:
                    raise Malformed("status 101")
                return
            if self._method != "HEAD" and answer.status not in _NO_BODY:
                self._expected = content_length(answer.headers)
            self.answer = answer
            self._wake_reader()
            if self.on_answer is not None:
                self.on_answer(self)

    def _body(self, data: Buffer) -> None:
        if self.request is None and self.answer is None:
            raise Http3Error(wire.FRAME_UNEXPECTED, "DATA before HEADERS")
        size = len(data)
        if self._expected >= 0:
            self._expected -= size
            if self._expected < 0:
                raise Malformed("the body is longer than content-length")
        if self.conn is None:
            return  # the connection has credit for it: nobody reads this stream any more
        for start in range(0, size, PIECE):
            self.deliver(data[start : start + PIECE])


class Session(QuicSession):
    """HTTP/3 on one connection, whose protocol it is.

    Args:
        deliver: a server gets each request there, on the hub.
        more: further settings.

    Attributes:
        authority: of requests that a connector makes.
    """

    name = "http3"
    cancelled = wire.CANCELLED

    _streams: dict[int, Any]

    def __init__(
        self,
        quic: Quic,
        client: bool,
        deliver: Callable[[Request], None] | None = None,
        more: dict[int, int] | None = None,
    ) -> None:
        self.client = client
        self.headers = wire.HeaderCodec()
        self.level = 0
        self.peer_settings: dict[int, int] | None = None
        self.authority = ""
        self._asked = deliver
        self._told = Event()
        self._unnamed: dict[int, bytes] = {}
        self._deaf: set[int] = set()
        self._control: FrameReader | None = None
        self._control_id = -1
        self._leaving = False  # the peer takes no more requests
        super().__init__(quic)
        ours = {wire.FIELD_SECTION_SIZE: wire.HEADER_LIMIT, **(more or {})}
        if not client:
            ours[wire.CONNECT_PROTOCOL] = 1
        self.core.send_stream_data(
            self.core.open_stream(True), wire.varint(wire.CONTROL) + wire.settings(ours)
        )

    # -- for users -------------------------------------------------------------------------------

    def start(self) -> None:
        """It runs since it was made."""

    @property
    def busy(self) -> bool:
        return super().busy or self._leaving or len(self._streams) >= _MOST_STREAMS

    @property
    def exhausted(self) -> bool:
        """A request would have to wait; it never does here: QUIC keeps it until it may go."""
        return False

    def open(self) -> Conn:
        """A stream without a request yet: ``conn.endpoint.ask``."""
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        return self._make(self.core.open_stream())

    def request(self, fields: Fields, *, end: bool = False) -> Request:
        """Ask for something. Raises ConnectionClosed."""
        stream = self.open().endpoint
        assert isinstance(stream, Request)
        stream.ask(fields, end=end)
        return stream

    def settled(self) -> dict[int, int]:
        """Wait for the peer's settings. Raises ConnectionClosed."""
        while self.peer_settings is None:
            if not self.alive:
                raise ConnectionClosed(str(self.error or "session is closed"))
            self._told.wait()
        return self.peer_settings

    def endpoint(self, stream_id: int) -> QuicStream:
        return Request(self, stream_id)

    def send_datagram(self, stream_id: int, payload: bytes) -> bool:
        """False: the peer takes none, or none of this size; one that finds no room is lost."""
        core = self.core
        data = wire.varint(stream_id // 4) + payload
        most = core._remote_max_datagram_frame_size
        known = self.peer_settings
        if not most or not known or not known.get(wire.H3_DATAGRAM):
            return False
        if len(data) + 3 > min(most, core._max_datagram_size - 40):
            return False
        if len(core._datagrams_pending) < _MOST_DATAGRAMS:
            core.send_datagram_frame(data)
        return True

    def drop(self, stream: QuicStream, code: int) -> None:
        """Give a stream up in both directions."""
        if self.alive and stream.stream_id in self._streams:
            self.core.ignore(stream.stream_id)
            self.core.reset_stream(stream.stream_id, code)

    # -- protocol of the connection --------------------------------------------------------------

    def stream_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        try:
            self._stream_data(stream_id, data, ended)
        except Http3Error as error:
            self.quic.fail(error, error.code)

    def _stream_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            try:
                stream.arrived(data, ended)
            except Malformed as error:
                self.drop(stream, wire.MESSAGE_ERROR)
                stream.broken(error)
        elif stream_id & 2:
            self._one_way(stream_id, data, ended)
        elif bool(stream_id & 1) != self.client:
            return  # it was ours, and is closed
        else:
            self._opened(stream_id, data, ended)

    def _opened(self, stream_id: int, data: bytes, ended: bool) -> None:
        """The beginning of a bidirectional stream of the peer: what is it?"""
        if stream_id not in self._unnamed:
            if stream_id <= self._newest:
                return  # it is closed here
            self._newest = stream_id
        data = self._unnamed.pop(stream_id, b"") + data
        kind, end = wire.read_integer(data)
        if not end and not ended:
            self._unnamed[stream_id] = data
        elif kind == wire.WEBTRANSPORT_STREAM and end:
            self.raw_stream(stream_id, data, ended)
        elif self.client or self._asked is None:
            raise Http3Error(wire.STREAM_CREATION_ERROR, "a server opened a stream")
        else:
            self._make(stream_id)
            self._stream_data(stream_id, data, ended)

    def raw_stream(self, stream_id: int, data: bytes, ended: bool) -> None:
        """A stream of WebTransport, from its first integer on: nobody uses it here."""
        self.core.ignore(stream_id)
        self.core.reset_stream(stream_id, wire.STREAM_CREATION_ERROR)

    def _one_way(self, stream_id: int, data: bytes, ended: bool) -> None:
        """A unidirectional stream of the peer."""
        if bool(stream_id & 1) != self.client:
            return
        if stream_id == self._control_id and self._control is not None:
            self.core.consume(stream_id, len(data))
            self._controlled(self._control.feed(data))
            if ended:
                raise Http3Error(wire.CLOSED_CRITICAL_STREAM, "the control stream ended")
            return
        if stream_id in self._deaf:
            self.core.consume(stream_id, len(data))
            return
        data = self._unnamed.pop(stream_id, b"") + data
        kind, end = wire.read_integer(data)
        if not end:
            if len(data) < _MOST_UNNAMED and not ended:
                self._unnamed[stream_id] = data
        elif kind == wire.CONTROL:
            if self._control is not None:
                raise Http3Error(wire.STREAM_CREATION_ERROR, "a second control stream")
            self._control = FrameReader(_CONTROL_FRAMES, -1, wire.NOT_IN_CONTROL)
            self._control_id = stream_id
            self.core.consume(stream_id, len(data))
            self._controlled(self._control.feed(data[end:]))
        elif kind == wire.PUSH:
            raise Http3Error(wire.STREAM_CREATION_ERROR, "a push nobody asked for")
        elif kind in (wire.QPACK_ENCODER, wire.QPACK_DECODER):
            self._deaf.add(stream_id)  # our table has no room: they say nothing
            self.core.consume(stream_id, len(data))
        else:
            self.core.ignore(stream_id)

    def _controlled(self, frames: list[tuple[int, Buffer]]) -> None:
        control = self._control
        for kind, payload in frames:
            if kind == wire.SETTINGS:
                if self.peer_settings is not None:
                    raise Http3Error(wire.FRAME_UNEXPECTED, "SETTINGS came twice")
                self.peer_settings = wire.read_settings(payload)
                self._told.set()
            elif self.peer_settings is None:
                break
            else:
                self._leaving = True
        begun = control is not None and control.begun and not control.partial
        if begun and self.peer_settings is None:
            raise Http3Error(wire.MISSING_SETTINGS, "control stream without SETTINGS")

    def asked(self, stream: Request) -> None:
        """The head of a request is there."""
        assert self._asked is not None
        self._asked(stream)

    def datagram(self, data: bytes) -> None:
        number, end = wire.read_integer(data)
        stream = self._streams.get(number * 4)
        if end and isinstance(stream, Request) and stream.on_datagram is not None:
            stream.on_datagram(data[end:])

    def stream_reset(self, stream_id: int, code: int) -> None:
        if stream_id == self._control_id:
            self.quic.fail(ProtocolError("http3: control stream was reset"), 0x104)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.broken(StreamReset(code, "stream was reset by the peer"))

    def ended(self, error: BaseException) -> None:
        self._told.set()
        self._unnamed.clear()
        super().ended(error)


def _tolerated(fields: Fields) -> list[tuple[str, str]]:
    """Request headers as they should be: gost's client of connect-udp sends an empty scheme, and
    ``HTTP/3.0`` for the protocol of a plain CONNECT."""
    pseudo = {name: value for name, value in fields if name[:1] == ":"}
    if pseudo.get(":method") != "CONNECT" or ":protocol" not in pseudo:
        return list(fields)
    if pseudo[":protocol"] == "HTTP/3.0":
        return [
            (name, value) for name, value in fields if name not in (":protocol", ":scheme", ":path")
        ]
    return [(name, "https" if name == ":scheme" and not value else value) for name, value in fields]
