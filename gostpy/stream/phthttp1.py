"""PHT's requests over HTTP/1.1, on the hub: the serving side, and what both sides share.

Wire      as Go's client and server write them; one request at a time on a connection
Differs   a request of which nothing comes for 30 s, or none for 3 minutes, ends the connection
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache

from gevent import get_hub

from gostpy.errors import ConnectionClosed, GostError, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.stream import PIECE
from gostpy.stream.pht import PUSH_LIMIT, Asked, Tunnels
from gostpy.wire.chunked import ChunkedBody
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    RequestHead,
    head_end,
    response,
)

__all__ = ["CACHED", "Body", "Side", "serve"]

LOOK_TIME = 30.0
"""A client that sends nothing of a request it began for so many seconds is given up."""

IDLE_TIMES = 6
"""Times ``LOOK_TIME`` that a client may be idle between requests."""

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
CACHED = 1024
"""Heads of up to so many bytes are remembered: those of one tunnel's pushes are much alike."""


class Body:
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
        chunks = self._chunks
        if chunks is not None:
            if chunks.between and data.endswith(b"\r\n"):  # one whole chunk, as lines come
                size = _CHUNK.match(data)
                if size is not None:
                    start, stop = size.end(), len(data) - 2
                    if int(size[1], 16) == stop - start > 0:
                        return data[start:stop], b""
            held: list[bytes] = []
            used = chunks.feed(data, held)
            self.ended = chunks.ended
            return (held[0] if len(held) == 1 else b"".join(held)), data[used:]
        if self.until_close:
            return data, b""
        payload = data[: self._left]
        self._left -= len(payload)
        self.ended = not self._left
        return payload, data[len(payload) :]


class Side:
    """The sink of a conn: what both sides do with the bytes that come.

    ``_rest`` is what has come of the next head.

    Attributes:
        limit: bytes that a head may have.
    """

    limit = HEAD_LIMIT

    __slots__ = ("_body", "_rest", "_searched", "conn")

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self._rest = b""
        self._searched = 0
        self._body: Body | None = None

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
        if (end or len(rest)) > self.limit:
            raise ProtocolError(f"HTTP head longer than {self.limit} bytes")
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


class _Server(Side):
    """Requests of one conn; it is the ``Answering`` of the one that is being served."""

    limit = 16384

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
                if len(self._rest) > self.limit:
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
            read = _request if len(head) <= CACHED else _request.__wrapped__
            method, target, framing, self._closing, expects = read(head)
        except ProtocolError as error:
            self._write(_head_of(400, 0, True, int(time.time())))
            self._leave(error)
            return
        self._busy = True
        self._body = Body(framing)
        if expects:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        asked = self._tunnels.request(method, target, self)
        if self._busy:
            self._asked = asked

    # -- answering -------------------------------------------------------------------------------

    def answer(self, status: int, body: bytes = b"") -> None:
        if self.conn.closed:
            return
        self._write(_head_of(status, len(body), self._closing, int(time.time())) + body)
        self._done()

    def begin(self) -> None:
        if not self.conn.closed:
            self._write(_head_of(200, CHUNKED, False, int(time.time())))

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


@lru_cache(maxsize=512)
def _request(head: bytes) -> tuple[str, str, int, bool, bool]:
    """(method, target, framing, closes, expects 100). Raises ProtocolError."""
    request = RequestHead.parse(head)
    framing = request.framing
    expects = bool(framing) and request.get("expect").lower() == "100-continue"
    return request.method, request.path, framing, request.wants_close, expects


@lru_cache(maxsize=16)
def _head_of(status: int, length: int, closing: bool, second: int) -> bytes:
    """The head of an answer of so many bytes, or in chunks."""
    fields = [("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)))]
    if length == CHUNKED:
        fields += [("Transfer-Encoding", "chunked"), ("X-Accel-Buffering", "no")]
    else:
        fields.append(("Content-Length", str(length)))
    if length > 0:
        fields.append(("Content-Type", "text/plain; charset=utf-8"))
    if closing:
        fields.append(("Connection", "close"))
    return response(status, fields)
