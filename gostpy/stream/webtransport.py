"""WebTransport over HTTP/3: raw streams that belong to a session, which is an extended CONNECT.

Wire      CONNECT with ``:protocol webtransport`` and ``sec-webtransport-http3-draft02: 1``; 200
          with ``sec-webtransport-http3-draft: draft02``; then bidirectional streams: 0x41, the id
          of the CONNECT's stream, raw bytes
End       CLOSE_WEBTRANSPORT_SESSION (a capsule on the CONNECT's stream), or that stream's end
Source    draft-ietf-webtrans-http3-02; go-gost/x internal/util/wt
Differs   the peer hears of a stream before anything is written to it; gost's stream is not there
          before its first byte. Datagrams and unidirectional streams are of no use to gost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gostpy.errors import ConnectionClosed, HandshakeFailed
from gostpy.interfaces import ExchangeRequest
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.stream import PIECE
from gostpy.stream.http2accept import set_source
from gostpy.stream.http3 import Fields, Request, Session
from gostpy.stream.quic import Quic
from gostpy.stream.quicmux import QuicStream
from gostpy.wire import http3 as wire
from gostpy.wire.codec import Buffer
from gostpy.wire.http3 import FrameReader, Http3Error

__all__ = ["ClientSession", "RawStream", "ServerSession"]

SETTINGS = {wire.H3_DATAGRAM: 1, wire.WEBTRANSPORT: 1}

_OFFER = "sec-webtransport-http3-draft02"
_DRAFT = ("sec-webtransport-http3-draft", "draft02")
_MOST_SESSIONS = 16
_MOST_PAST = 1024
_MOST_EARLY = 16
"""Streams that wait for the CONNECT they belong to."""

_SESSION_GONE = 0x170D7B68
_CAPSULES = frozenset({wire.CLOSE_SESSION})
_CAPSULE_LIMIT = 4096


class RawStream(QuicStream):
    """A stream whose bytes are the conn's."""

    __slots__ = ("owner",)

    def __init__(self, session: Any, stream_id: int, owner: int) -> None:
        super().__init__(session, stream_id)
        self.owner = owner

    def arrived(self, data: bytes, ended: bool) -> None:
        for start in range(0, len(data), PIECE):
            self.deliver(data[start : start + PIECE])
        if ended:
            self.peer_end()

    def broken(self, error: BaseException) -> None:
        self.abort(error)


class _Capsules:
    """Sink of a CONNECT's stream: tells of its end."""

    def __init__(self, ended: Callable[[BaseException], None]) -> None:
        self._ended = ended
        self._reader = FrameReader(_CAPSULES, limit=_CAPSULE_LIMIT)

    def data(self, data: Buffer) -> None:
        for _, payload in self._reader.feed(data):
            code = int.from_bytes(payload[:4], "big")
            self._ended(ConnectionClosed(f"webtransport: closed by the peer ({code:#x})"))

    def eof(self) -> None:
        self._ended(ConnectionClosed("webtransport: session ended"))

    def fail(self, error: BaseException) -> None:
        self._ended(error)


class _WebTransport(Session):
    """What both sides share."""

    name = "webtransport"

    def _raw(self, stream_id: int, owner: int, info: ConnInfo | None = None) -> Conn:
        """A conn over a raw stream."""
        stream = self._streams[stream_id] = RawStream(self, stream_id, owner)
        known = info if info is not None else self.quic.info
        return Conn(
            stream,
            ConnInfo(
                known.peer, known.local, known.source, known.destination, known.tls, known.host
            ),
        )

    def _follow(self, stream: Request, ended: Callable[[BaseException], None]) -> None:
        """Watch a CONNECT's stream."""
        conn = stream.conn
        assert conn is not None
        conn.sink = _Capsules(ended)
        stream.start()


class ServerSession(_WebTransport):
    """The listening side.

    Args:
        deliver: called on the hub with a conn for each stream of an accepted session.
        path: of the CONNECT.
    """

    def __init__(self, quic: Quic, deliver: Callable[[Conn], None], path: str) -> None:
        self._give = deliver
        self._path = path
        self._sessions: dict[int, Conn] = {}
        self._past: set[int] = set()
        self._early: dict[int, list[Conn]] = {}
        super().__init__(quic, False, self._connected, SETTINGS)

    def _connected(self, stream: Request) -> None:
        """A request has come: a session begins, or it is refused as gost's server does it."""
        request, conn, number = stream.request, stream.conn, stream.stream_id
        assert request is not None and conn is not None
        status = _verdict(request, self._path)
        if status == 200 and len(self._sessions) >= _MOST_SESSIONS:
            status = 429
        early = self._early.pop(number, [])
        if status != 200:
            stream.respond(status, [("content-length", "0")], end=True)
            conn.close()
            self._forget(number, early, ConnectionClosed("webtransport: session was refused"))
            return
        stream.respond(200, [_DRAFT])
        set_source(conn.info, request)
        self._sessions[number] = conn
        self._follow(stream, lambda error: self._over(number, error))
        for each in early:
            each.info.source = conn.info.source
            self._give(each)

    def _over(self, number: int, error: BaseException) -> None:
        """A session has ended, and its streams with it."""
        conn = self._sessions.pop(number, None)
        if conn is None:
            return
        conn.close()
        streams = [each for each in self._streams.values() if isinstance(each, RawStream)]
        for stream in streams:
            if stream.owner == number:
                self.drop(stream, _SESSION_GONE)
                stream.abort(error)
        self._forget(number, [], error)

    def _forget(self, number: int, early: list[Conn], error: BaseException) -> None:
        if len(self._past) >= _MOST_PAST:
            self._past.clear()
        self._past.add(number)
        for conn in early:
            conn.close(True)

    def raw_stream(self, stream_id: int, data: bytes, ended: bool) -> None:
        _, middle = wire.read_integer(data)
        number, end = wire.read_integer(data, middle)
        if not end:
            if ended:
                raise Http3Error(wire.GENERAL_ERROR, "WebTransport stream without a session")
            self._unnamed[stream_id] = data
            return
        self.core.consume(stream_id, end)
        session = self._sessions.get(number)
        waiting = sum(len(conns) for conns in self._early.values())
        if session is None and (number in self._past or waiting >= _MOST_EARLY or number & 3):
            self.core.ignore(stream_id)
            self.core.reset_stream(stream_id, _SESSION_GONE)
            return
        conn = self._raw(stream_id, number, session.info if session is not None else None)
        if session is None:
            self._early.setdefault(number, []).append(conn)
        else:
            self._give(conn)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.arrived(data[end:], ended)

    def ended(self, error: BaseException) -> None:
        self._sessions.clear()
        for conns in self._early.values():
            for conn in conns:
                conn.close(True)
        self._early.clear()
        super().ended(error)


class ClientSession(_WebTransport):
    """The dialing side: ``begin`` makes the session, ``open`` a stream of it."""

    def __init__(self, quic: Quic) -> None:
        self._number = -1
        super().__init__(quic, True, None, SETTINGS)

    @property
    def stream_count(self) -> int:
        return max(len(self._streams) - 1, 0)

    def begin(self, fields: Fields) -> None:
        """Ask for the session. Raises HandshakeFailed: it was refused; ConnectionClosed."""
        known = self.settled()
        if not known.get(wire.CONNECT_PROTOCOL) or not known.get(wire.WEBTRANSPORT):
            raise HandshakeFailed("webtransport: the server has none")
        stream = self.request([*fields, (_OFFER, "1")])
        answer = stream.response()
        if not 200 <= answer.status < 300:
            raise HandshakeFailed(f"webtransport: server answered {answer.status}")
        self._number = stream.stream_id
        self._follow(stream, self._over)

    def open(self) -> Conn:
        if self._number < 0:
            return super().open()
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        stream_id = self.core.open_stream()
        conn = self._raw(stream_id, self._number)
        head = wire.varint(wire.WEBTRANSPORT_STREAM) + wire.varint(self._number)
        self.core.send_stream_data(stream_id, head)
        return conn

    def _over(self, error: BaseException) -> None:
        self.quic.fail(error, wire.NO_ERROR)


def _verdict(request: ExchangeRequest, path: str) -> int:
    """The status of the answer: Go's router looks at the path first."""
    if request.path.partition("?")[0] != path:
        return 404
    offers = [value for name, value in request.headers if name == _OFFER]
    if request.method != "CONNECT" or request.protocol != "webtransport" or offers != ["1"]:
        return 500
    return 200
