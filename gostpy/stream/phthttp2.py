"""PHT's requests over HTTP/2 and HTTP/3, both sides: each is a stream of one session.

Wire      as Go's client and server write them
Differs   as over HTTP/1.1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gevent import get_hub

from gostpy.errors import ConnectionClosed, GostError
from gostpy.net.conn import Conn
from gostpy.net.tasks import start_task
from gostpy.stream.http2 import Session, Stream
from gostpy.stream.pht import Asked, Tunnels
from gostpy.stream.phtclient import Told
from gostpy.wire.codec import Buffer

__all__ = ["Requests", "Served", "serve"]

MOST_STREAMS = 120
"""Streams of a session: every tunnel needs one for its pull, and others for pushes now and then."""


def serve(conn: Conn, tunnels: Tunnels, ended: Callable[[BaseException], None]) -> None:
    """Answer the requests of a conn from now on; ``ended`` hears why it came to its end."""

    def closed(session: Session) -> None:
        ended(session.error or ConnectionClosed("session is closed"))

    session = Session(conn, False, lambda stream: Served(stream).start(tunnels))
    session.on_close = closed
    session.start()


class Served:
    """A request: the sink of its body, and how it is answered."""

    __slots__ = ("_asked", "_over", "_stream", "conn", "info", "level")

    def __init__(self, stream: Stream | Any) -> None:
        conn = stream.conn
        assert conn is not None, "delivered with one"
        self._stream = stream
        self.conn = conn
        self.info = conn.info
        self.level = stream.level
        self._asked: Asked | None = None
        self._over = False

    def start(self, tunnels: Tunnels) -> None:
        request = self._stream.request
        assert request is not None, "delivered with one"
        self.conn.sink = self
        self._stream.on_drain = self._drained
        asked = tunnels.request(request.method, request.path, self)
        if not self._over:
            self._asked = asked
            self._stream.start()

    # -- answering -------------------------------------------------------------------------------

    def answer(self, status: int, body: bytes = b"") -> None:
        fields = [("content-length", str(len(body)))]
        if body:
            fields.append(("content-type", "text/plain; charset=utf-8"))
        try:
            self._stream.respond(status, fields, end=not body)
            if body:
                self.conn.write(body)
        except (GostError, OSError):
            pass  # the client has left: it needs no answer
        self._finish()

    def begin(self) -> None:
        try:
            self._stream.respond(200, [("x-accel-buffering", "no")])
        except (GostError, OSError) as error:
            get_hub().loop.run_callback(self.fail, error)

    def send(self, data: bytes) -> bool:
        if self._over:
            return True
        try:
            return self.conn.write(data)
        except (GostError, OSError) as error:
            get_hub().loop.run_callback(self.fail, error)
            return True

    def end(self) -> None:
        self._finish()

    def _finish(self) -> None:
        self._over = True
        self._asked = None
        self.conn.close()

    # -- sink of the request's body --------------------------------------------------------------

    def data(self, data: Buffer) -> None:
        if self._asked is not None:
            self._asked.data(data)

    def eof(self) -> None:
        if self._asked is not None:
            self._asked.end()

    def fail(self, error: BaseException) -> None:
        asked, self._asked = self._asked, None
        self._over = True
        self.conn.close(True)
        if asked is not None:
            asked.lost()

    def _drained(self) -> None:
        if self._asked is not None:
            self._asked.drained()


class Requests:
    """Requests on one session; see :class:`gostpy.stream.phtclient.Requests`.

    Args:
        session: a client's, which is started here; ``request`` of it may wait only while it is
            ``exhausted``.
        authority: of the requests.
        headers: further ones, names in lower case.
        lost: told why the session has ended.
        agent: of requests without one.
        most: streams above which another session had better be used.
    """

    def __init__(
        self,
        session: Session | Any,
        authority: str,
        headers: Sequence[tuple[str, str]],
        lost: Callable[[BaseException], None],
        agent: str = "Go-http-client/2.0",
        most: int = MOST_STREAMS,
    ) -> None:
        self._most = most
        self._session = session
        self.level = session.level
        self._authority = authority
        self._headers = list(headers)
        if not any(name == "user-agent" for name, _ in headers):
            self._headers.append(("user-agent", agent))

        def closed(ended: Session | Any) -> None:
            lost(ended.error or ConnectionClosed("session is closed"))

        session.on_close = closed
        session.start()

    @property
    def busy(self) -> bool:
        return self._session.busy or self._session.stream_count >= self._most

    def request(self, method: str, target: str, body: bytes, told: Told) -> _Asking:
        """Ask; waits for a free stream in a green thread of its own, if there is none."""
        fields = [
            (":authority", self._authority),
            (":method", method),
            (":path", target),
            (":scheme", "https"),
        ]
        if method == "POST":
            fields.append(("content-length", str(len(body))))
        asking = _Asking(told)
        fields += self._headers
        if self._session.exhausted or not self._session.alive:
            start_task(self._send, asking, fields, body)
        else:
            self._send(asking, fields, body)
        return asking

    def _send(self, asking: _Asking, fields: list[tuple[str, str]], body: bytes) -> None:
        try:
            stream = self._session.request(fields, end=not body)
            asking.start(stream)
            if body and stream.conn is not None:
                stream.conn.write(body)
                stream.conn.shut()
        except (GostError, OSError) as error:
            get_hub().loop.run_callback(asking.fail, error)

    def close(self) -> None:
        self._session.close()


class _Asking:
    """A request on its way: the sink of its answer."""

    __slots__ = ("_stream", "_told")

    def __init__(self, told: Told) -> None:
        self._told: Told | None = told
        self._stream: Stream | Any = None

    def start(self, stream: Stream | Any) -> None:
        self._stream = stream
        if self._told is None:  # cancelled while it waited for a stream
            stream.reset()
            return
        stream.on_answer = self._answered
        assert stream.conn is not None, "made with one"
        stream.conn.sink = self
        stream.start()

    def _answered(self, stream: Stream | Any) -> None:
        if self._told is not None and stream.answer is not None:
            self._told.answered(stream.answer.status)

    # -- what may be done about it -----------------------------------------------------------------

    def pause(self) -> None:
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        if self._stream is not None:
            self._stream.resume()

    def cancel(self) -> None:
        self._told = None
        if self._stream is not None and self._stream.reason is None:
            self._stream.reset()

    # -- sink --------------------------------------------------------------------------------------

    def data(self, data: Buffer) -> None:
        if self._told is not None:
            self._told.data(bytes(data))

    def eof(self) -> None:
        told, self._told = self._told, None
        self._close(False)
        if told is not None:
            told.end()

    def fail(self, error: BaseException) -> None:
        told, self._told = self._told, None
        self._close(True)
        if told is not None:
            told.lost(error)

    def _close(self, now: bool) -> None:
        stream = self._stream
        if stream is not None and stream.conn is not None:
            stream.conn.close(now)
