"""PHT's requests over HTTP/1.1, both sides, on the hub.

Wire      as Go's client and server write them; one request at a time on a connection
Differs   ``Accept-Encoding`` is not sent, so nothing on the way compresses a stream. A connection
          is kept for the next request for 45 s; gost keeps two of them for 90 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from gevent import get_hub

from gostpy.errors import ConnectionClosed, GostError, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.stream import PIECE
from gostpy.net.tasks import start_task
from gostpy.stream.pht import PUSH_LIMIT, Asked, Tunnels
from gostpy.stream.phtclient import Told
from gostpy.wire.chunked import ChunkedBody
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    RequestHead,
    ResponseHead,
    head_end,
    response,
)

__all__ = ["Requests", "serve"]

LOOK_TIME = 30.0
"""A client that sends nothing of a request it began for so many seconds is given up."""

IDLE_TIMES = 6
"""Times ``LOOK_TIME`` that a client may be idle between requests."""

KEPT_TIME = 45.0
"""Seconds for which a client keeps a connection for the next request."""

MOST_KEPT = 64


class _Body:
    """Where a body ends, and what is in it."""

    __slots__ = ("_chunks", "_left", "ended", "until_close")

    def __init__(self, framing: int) -> None:
        self._left = framing
        self.until_close = framing == UNTIL_CLOSE
        self._chunks = ChunkedBody() if framing == CHUNKED else None
        self.ended = not framing

    @property
    def endless(self) -> bool:
        """The rest of it is not worth reading when nobody wants it."""
        return not self.ended and not 0 < self._left <= PUSH_LIMIT

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, what follows the body). Raises ProtocolError."""
        if self._chunks is not None:
            held: list[bytes] = []
            used = self._chunks.feed(data, held)
            self.ended = self._chunks.ended
            return (held[0] if len(held) == 1 else b"".join(held)), data[used:]
        if self.until_close:
            return data, b""
        payload = data[: self._left]
        self._left -= len(payload)
        self.ended = not self._left
        return payload, data[len(payload) :]


class _Side:
    """The sink of a conn: what both sides do with the bytes that come.

    ``_rest`` is what has come of the next head.
    """

    __slots__ = ("_body", "_rest", "_searched", "conn")

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self._rest = b""
        self._searched = 0
        self._body: _Body | None = None

    def start(self) -> None:
        """Take the conn over."""
        conn = self.conn
        conn.timeout = None
        conn.sink = self
        conn.endpoint.on_drain = self._drained
        get_hub().loop.run_callback(self._flush)
        waiting = conn.take_buffer()
        try:
            for start in range(0, len(waiting), PIECE):
                self.data(waiting[start : start + PIECE])
            if not conn.closed:
                conn.endpoint.start()
        except (GostError, OSError) as error:
            self.fail(error)

    def _flush(self) -> None:
        try:
            if not self.conn.closed:
                self.conn.flush()
        except (GostError, OSError) as error:
            self.fail(error)

    def _head(self, data: bytes) -> bytes:
        """The next head once it is whole; the rest stays. Raises ProtocolError."""
        rest = self._rest + data if self._rest else data
        end = head_end(rest, self._searched)
        if (end or len(rest)) > HEAD_LIMIT:
            raise ProtocolError(f"HTTP head longer than {HEAD_LIMIT} bytes")
        if not end:
            self._searched = len(rest)
            self._rest = rest
            return b""
        self._searched = 0
        self._rest = rest[end:]
        return rest[:end]

    def _write(self, data: Buffer) -> bool:
        try:
            return self.conn.write(data)
        except (GostError, OSError) as error:
            get_hub().loop.run_callback(self.fail, error)
            return True

    def data(self, data: Buffer) -> None:
        raise NotImplementedError

    def eof(self) -> None:
        self.fail(ConnectionClosed("connection was closed by the peer"))

    def fail(self, error: BaseException) -> None:
        raise NotImplementedError

    def _drained(self) -> None:
        """Everything written has left."""


# -- the serving side ----------------------------------------------------------------------------


def serve(conn: Conn, tunnels: Tunnels, ended: Callable[[BaseException], None]) -> None:
    """Answer the requests of a conn from now on; ``ended`` hears why it came to its end."""
    _Server(conn, tunnels, ended).start()


class _Server(_Side):
    """Requests of one conn; it is the ``Answering`` of the one that is being served."""

    __slots__ = (
        "_asked",
        "_busy",
        "_closing",
        "_ended",
        "_heard",
        "_quiet",
        "_ticking",
        "_tunnels",
        "info",
        "level",
    )

    def __init__(
        self, conn: Conn, tunnels: Tunnels, ended: Callable[[BaseException], None]
    ) -> None:
        super().__init__(conn)
        self.info = conn.info
        self.level = conn.endpoint.level + len(conn.codecs)
        self._tunnels = tunnels
        self._ended = ended
        self._asked: Asked | None = None
        self._busy = False  # a request is being served
        self._closing = False  # after this one
        self._heard = True
        self._quiet = 0
        self._ticking = timers.after(LOOK_TIME, self._look)

    def data(self, data: Buffer) -> None:
        self._heard = True
        self._take(bytes(data))

    def _take(self, data: bytes) -> None:
        while not self.conn.closed:
            body = self._body
            if body is not None:
                payload, data = body.feed(data)
                asked = self._asked
                if payload and asked is not None:
                    asked.data(payload)
                if not body.ended:
                    return
                self._body = None
                if asked is not None:
                    asked.end()
                continue
            if self._busy:  # a request behind one that is not answered yet has to wait
                self._rest += data
                if len(self._rest) > HEAD_LIMIT:
                    raise ProtocolError("pht: too much behind a request")
                return
            if not data and not self._rest:
                return
            head = self._head(data)
            if not head:
                return
            data, self._rest = self._rest, b""
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        try:
            request = RequestHead.parse(head)
        except ProtocolError:
            self._closing = True
            self.answer(400)
            raise
        self._busy = True
        self._closing = request.wants_close
        self._body = _Body(request.framing)
        if request.framing and request.get("expect").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        asked = self._tunnels.request(request.method, request.path, self)
        if self._busy:
            self._asked = asked

    # -- answering -------------------------------------------------------------------------------

    def answer(self, status: int, body: bytes = b"") -> None:
        if self.conn.closed:
            return
        fields = [("Date", _date()), ("Content-Length", str(len(body)))]
        if body:
            fields.append(("Content-Type", "text/plain; charset=utf-8"))
        if self._closing:
            fields.append(("Connection", "close"))
        self._write(response(status, fields) + body)
        self._done()

    def begin(self) -> None:
        fields = [("Date", _date()), ("Transfer-Encoding", "chunked"), ("X-Accel-Buffering", "no")]
        if not self.conn.closed:
            self._write(response(200, fields))

    def send(self, data: bytes) -> bool:
        if self.conn.closed:
            return True
        return self._write(b"".join((b"%x\r\n" % len(data), data, b"\r\n")))

    def end(self) -> None:
        if not self.conn.closed:
            self._write(b"0\r\n\r\n")
        self._done()

    def _done(self) -> None:
        """The request has been answered."""
        self._asked = None
        self._busy = False
        self._quiet = 0
        if self.conn.closed:
            return
        if self._closing or (self._body is not None and self._body.endless):
            self._leave(ConnectionClosed("connection was closed after an answer"))
        elif self._rest:
            get_hub().loop.run_callback(self._next)

    def _next(self) -> None:
        """What came behind a request that was not answered yet."""
        rest, self._rest = self._rest, b""
        try:
            self._take(rest)
        except (GostError, OSError) as error:
            self.fail(error)

    def _drained(self) -> None:
        if self._asked is not None:
            self._asked.drained()

    # -- the end ---------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.conn.closed:
            return
        begun = bool(self._rest) or self._body is not None
        self._quiet = 0 if self._heard else self._quiet + 1
        self._heard = False
        if (begun and self._quiet) or (not self._busy and self._quiet >= IDLE_TIMES):
            self._leave(ConnectionClosed("the client sent nothing for a while"))
            return
        self._ticking = timers.after(LOOK_TIME, self._look)

    def _leave(self, error: BaseException) -> None:
        asked, self._asked = self._asked, None
        self._ticking.cancel()
        conn = self.conn
        if not conn.closed:
            try:
                conn.shut()
            except (GostError, OSError):
                pass  # it is broken, which is why it is left
            conn.close()
            self._ended(error)
        if asked is not None:
            asked.lost()

    def fail(self, error: BaseException) -> None:
        self._leave(error)


@lru_cache(maxsize=4)
def _date_of(second: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))


def _date() -> str:
    return _date_of(int(time.time()))


# -- the dialing side ----------------------------------------------------------------------------


class Requests:
    """Requests to one server, on as many connections as are needed at a time.

    Args:
        establish: makes a connection, in a green thread.
        first: a connection that is there already.
        host: of the requests.
        headers: further lines of the requests.
        lost: told why, when nothing reaches the server any more.
    """

    def __init__(
        self,
        establish: Callable[[], Conn],
        first: Conn,
        host: str,
        headers: Sequence[tuple[str, str]],
        lost: Callable[[BaseException], None],
    ) -> None:
        self._establish = establish
        self._lost = lost
        self._open: set[_Client] = set()
        self._idle: list[_Client] = []
        self._closed = False
        agent = next((value for name, value in headers if name == "User-Agent"), "")
        self._start = f"Host: {host}\r\nUser-Agent: {agent or 'Go-http-client/1.1'}\r\n"
        self._more = "".join(
            [f"{name}: {value}\r\n" for name, value in headers if name != "User-Agent"]
        )
        self.level = first.endpoint.level + len(first.codecs)
        self._keep(self._take(first))

    busy = False

    def request(self, method: str, target: str, body: bytes, told: Told) -> _Asking:
        """Ask; ``told`` hears what comes of it. On the hub or in a green thread; never waits."""
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        head = f"{method} {target} HTTP/1.1\r\n{self._start}{length}{self._more}\r\n"
        asking = _Asking(told, head.encode("latin-1", "replace") + body)
        if self._idle:
            self._idle.pop().ask(asking)
        else:
            start_task(self._connect, asking)
        return asking

    def _connect(self, asking: _Asking) -> None:
        try:
            conn = self._establish()
        except (GostError, OSError) as error:
            told = asking.told
            if told is not None:
                told.lost(error)
            self._lost(error)
            return
        if self._closed:
            conn.close(True)
            return
        client = self._take(conn)
        if asking.told is None:  # nobody waits for it any more
            self._keep(client)
        else:
            client.ask(asking)

    def _take(self, conn: Conn) -> _Client:
        client = _Client(conn, self)
        self._open.add(client)
        client.start()
        return client

    def free(self, client: _Client) -> None:
        """A connection has done its work."""
        if self._closed or len(self._idle) >= MOST_KEPT:
            self._open.discard(client)
            client.close()
        else:
            self._keep(client)

    def _keep(self, client: _Client) -> None:
        if client.conn.closed:
            return
        self._idle.append(client)
        client.kept = timers.after(KEPT_TIME, lambda: self._drop(client))

    def _drop(self, client: _Client) -> None:
        """Unused for too long."""
        if client in self._idle:
            self._idle.remove(client)
            self._open.discard(client)
            client.close()

    def gone(self, client: _Client, error: BaseException, expected: bool) -> None:
        """A connection has ended."""
        self._open.discard(client)
        if client in self._idle:
            self._idle.remove(client)
        if not expected and not self._open and not self._closed:
            self._lost(error)

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        clients, self._open = self._open, set()
        self._idle.clear()
        for client in clients:
            client.close()


class _Asking:
    """A request on its way: what may be done about it."""

    __slots__ = ("client", "told", "wire")

    def __init__(self, told: Told, wire: bytes) -> None:
        self.told: Told | None = told
        self.wire = wire
        self.client: _Client | None = None

    def pause(self) -> None:
        """Hear no more of the answer for now."""
        if self.client is not None and self.told is not None:
            self.client.conn.endpoint.pause()

    def resume(self) -> None:
        if self.client is not None and self.told is not None:
            self.client.conn.endpoint.resume()

    def cancel(self) -> None:
        """The answer is of no interest any more."""
        self.told = None
        if self.client is not None:
            self.client.cancel(self)


class _Client(_Side):
    """One connection to the server."""

    __slots__ = ("_asking", "_keeps", "_requests", "kept")

    def __init__(self, conn: Conn, requests: Requests) -> None:
        super().__init__(conn)
        self._requests = requests
        self._asking: _Asking | None = None
        self._keeps = True
        self.kept: timers.Entry | None = None

    def ask(self, asking: _Asking) -> None:
        if self.kept is not None:
            self.kept.cancel()
        self._asking = asking
        asking.client = self
        wire, asking.wire = asking.wire, b""
        self._write(wire)

    def data(self, data: Buffer) -> None:
        block = bytes(data)
        while True:
            asking = self._asking
            if asking is None:
                if block:
                    raise ProtocolError("pht: an answer that nobody asked for")
                return
            if self._body is None:
                head = self._head(block)
                if not head:
                    return
                block, self._rest = self._rest, b""
                if not self._answered(asking, head):
                    continue
            body = self._body
            assert body is not None, "set by the head"
            if block and not body.ended:
                payload, block = body.feed(block)
                if payload and asking.told is not None:
                    asking.told.data(payload)
            if not body.ended or self.conn.closed:
                return
            self._complete(asking)

    def _answered(self, asking: _Asking, head: bytes) -> bool:
        """The head of an answer; False for a provisional one."""
        answer = ResponseHead.parse(head)
        if answer.status < 200:
            if answer.status == 101:
                raise ProtocolError("pht: the server switched protocols")
            return False
        self._keeps = not answer.wants_close
        self._body = _Body(answer.framing("GET"))
        if asking.told is not None:
            asking.told.answered(answer.status)
        return True

    def _complete(self, asking: _Asking) -> None:
        self._body = None
        self._asking = asking.client = None
        told, asking.told = asking.told, None
        if self._keeps:
            self._requests.free(self)
        else:
            self._requests.gone(self, ConnectionClosed("the server closes"), True)
            self.close()
        if told is not None:
            told.end()

    def cancel(self, asking: _Asking) -> None:
        if self._asking is asking:
            self._requests.gone(self, ConnectionClosed("request was cancelled"), True)
            self.conn.close(True)

    def eof(self) -> None:
        asking, body = self._asking, self._body
        if asking is not None and body is not None and body.until_close:
            self._keeps = False
            self._complete(asking)
        else:
            super().eof()

    def fail(self, error: BaseException) -> None:
        asking, self._asking = self._asking, None
        if not self.conn.closed:
            self.conn.close(True)
        told = asking.told if asking is not None else None
        if told is not None:
            told.lost(error)
        self._requests.gone(self, error, False)

    def close(self) -> None:
        asking, self._asking = self._asking, None
        conn = self.conn
        if not conn.closed:
            try:
                conn.shut()
            except (GostError, OSError):
                pass  # it is closed next
            conn.close()
        if asking is not None and asking.told is not None:
            asking.told.lost(ConnectionClosed("the session was closed"))
