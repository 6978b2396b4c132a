"""HTTP/1 over conns: heads and bodies read in green threads, and one exchange through a proxy.

An exchange sends a request upstream and its response back. Bodies stream both ways at once and are
never held in memory: a request body that is not there yet is passed on by a green thread of its own
while the response is awaited, so ``100 Continue``, an early refusal and slow uploads all work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

import gevent
from gevent import get_hub, getcurrent

from gostpy.errors import GostError, ProtocolError, Truncated
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.wire.chunked import ChunkedBody
from gostpy.wire.http1 import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    RequestHead,
    ResponseHead,
    head_end,
)

__all__ = ["Exchange", "body_pieces", "read_head", "read_request", "read_response"]

LINGER = 2.0
LINGER_SIZE = 1 << 20
"""Seconds and bytes that are spent on an upload whose response has been sent already."""

REWRITE_LIMIT = 16 << 20
"""Largest body that is held in memory to be rewritten; larger ones pass as they are."""


class Meter(Protocol):
    """Counts the client's bytes and answers how many seconds to wait."""

    def received(self, size: int) -> float: ...
    def sent(self, size: int) -> float: ...


def read_head(conn: Conn, limit: int = HEAD_LIMIT) -> bytes:
    """The next head with its empty line; empty when the peer ended before one began.

    Empty lines before it are skipped (RFC 9112 section 2.2); what follows it stays in the conn.
    Raises ProtocolError: longer than ``limit``. Truncated: the stream ended inside it.
    """
    data = conn.recv()
    searched = 0
    while True:
        if data[:1] in (b"\r", b"\n"):
            data = data.lstrip(b"\r\n")
        end = head_end(data, searched)
        if end:
            break
        searched = len(data)
        if searched > limit:
            raise ProtocolError(f"HTTP head longer than {limit} bytes")
        more = conn.recv()
        if not more:
            if not data:
                return b""
            raise Truncated("stream ended inside an HTTP head")
        data += more
    if end > limit:
        raise ProtocolError(f"HTTP head longer than {limit} bytes")
    if end < len(data):
        conn.unread(data[end:])
        return data[:end]
    return data


def read_request(conn: Conn) -> RequestHead | None:
    """The next request; None when the client has ended. Raises ProtocolError."""
    head = read_head(conn)
    return RequestHead.parse(head) if head else None


def read_response(conn: Conn) -> ResponseHead:
    """The next response, which may be a provisional one. Raises ProtocolError."""
    head = read_head(conn)
    if not head:
        raise Truncated("stream ended before an HTTP response")
    return ResponseHead.parse(head)


def body_pieces(conn: Conn, framing: int, payload: bool = False) -> Iterator[bytes]:
    """A body as it arrives; what follows it stays in the conn.

    Args:
        framing: length, CHUNKED or UNTIL_CLOSE.
        payload: of a chunked body, what the chunks hold instead of the body as it is.
    Raises:  ProtocolError, Truncated, OSError.
    """
    if framing >= 0:
        while framing:
            data = _arrived(conn, min(framing, 65536))
            framing -= len(data)
            yield data
    elif framing == UNTIL_CLOSE:
        while data := conn.recv():
            yield data
    else:
        body = ChunkedBody()
        while not body.ended:
            data = _arrived(conn, 65536)
            held: list[bytes] | None = [] if payload else None
            used = body.feed(data, held)
            if used < len(data):
                conn.unread(data[used:])
                data = data[:used]
            yield data if held is None else b"".join(held)


def _arrived(conn: Conn, size: int) -> bytes:
    data = conn.recv(size)
    if not data:
        raise Truncated("stream ended inside an HTTP body")
    return data


class Exchange:
    """One request and its response; use it in a ``with`` statement.

    Args:
        conn: the client's side, past the request's head.
        request: as it is to be sent upstream.
        timeout: seconds from the end of the request to the response's head, 0 = none.
        meter: of the client's bytes.

    Attributes:
        uploaded: the request has left as a whole.
        received, returned: bytes from and to the client, heads excluded.
        clean: both conns are where another exchange could begin.
    """

    __slots__ = (
        "_deadline",
        "_framing",
        "_meter",
        "_upload",
        "_waiter",
        "clean",
        "conn",
        "received",
        "request",
        "returned",
        "timeout",
        "uploaded",
        "upstream",
    )

    def __init__(
        self,
        conn: Conn,
        upstream: Conn,
        request: RequestHead,
        timeout: float = 0.0,
        meter: Meter | None = None,
    ) -> None:
        self.conn = conn
        self.upstream = upstream
        self.request = request
        self.timeout = timeout
        self.uploaded = False
        self.clean = False
        self.received = self.returned = 0
        self._meter = meter
        self._framing = 0
        self._deadline: timers.Entry | None = None
        self._upload: Any = None
        self._waiter: Any = None

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        unfinished = self._upload is not None and not self.uploaded
        self.stop()
        if unfinished and error is None:
            self._linger()

    def stop(self) -> None:
        """End the green thread of a body that is still on its way."""
        if self._upload is not None and not self.uploaded:
            self._upload.kill()

    def _linger(self) -> None:
        """The response came before the request's end: closing now could destroy it on its way."""
        self.conn.shut()
        with suppress(GostError, OSError), timers.timeout(LINGER):
            left = LINGER_SIZE
            while left > 0 and (data := self.conn.recv()):
                left -= len(data)

    def send(self) -> None:
        """Send the head and what has arrived of the body; the rest follows by itself.

        Raises ProtocolError, OSError: nothing was answered yet.
        """
        framing = self.request.framing
        head = self.request.encode()
        if not framing:
            self.upstream.sendall(head)
            self.uploaded = True
            return
        pieces = body_pieces(self.conn, framing)
        if self.conn.buffered:
            piece = next(pieces)
            self._count_received(len(piece))
            self.upstream.sendall(head + piece)
            if len(piece) == framing:
                self.uploaded = True
                return
        else:
            self.upstream.sendall(head)
        self._upload = gevent.spawn(self._send_rest, pieces)

    def _send_rest(self, pieces: Iterator[bytes]) -> None:
        """The green thread of a body that was not there yet."""
        while True:
            try:
                piece = next(pieces, b"")
            except (GostError, OSError) as error:  # the client failed: nobody waits for an answer
                get_hub().loop.run_callback(self._give_up, error)
                return
            if not piece:
                break
            self._count_received(len(piece))
            try:
                self.upstream.sendall(piece)
            except OSError:
                return  # an answer may be there all the same, and says why
        self.uploaded = True
        self._arm()

    def _count_received(self, size: int) -> None:
        self.received += size
        if self._meter is not None:
            _pay(self._meter.received(size))

    def _arm(self) -> None:
        if self._waiter is not None and self.timeout > 0:
            self._deadline = timers.after(self.timeout, self._expire)

    def _expire(self) -> None:
        self._give_up(TimeoutError("no HTTP response in time"))

    def _give_up(self, error: BaseException) -> None:
        if self._waiter is not None:
            self._waiter.throw(error)

    def response(self) -> ResponseHead:
        """Wait for the response; provisional ones are passed to the client on the way.

        Raises ProtocolError, OSError, TimeoutError.
        """
        self._waiter = getcurrent()
        try:
            if self.uploaded:
                self._arm()
            while True:
                response = read_response(self.upstream)
                if response.status >= 200 or response.status == 101:
                    break
                if self.request.version:  # HTTP/1.0 does not know them
                    self.conn.sendall(response.encode())
        finally:
            self._waiter = None
            if self._deadline is not None:
                self._deadline.cancel()
        self._framing = response.framing(self.request.method)
        if response.status == 101 and not self.uploaded:
            raise ProtocolError("protocol switched in the middle of a request")
        return response

    @property
    def delimited(self) -> bool:
        """The response says by itself where it ends, for this client."""
        return self._framing >= 0 or (self._framing == CHUNKED and bool(self.request.version))

    def answer(
        self,
        response: ResponseHead,
        keep: bool,
        *,
        say_close: bool = False,
        rewrite: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Send the response to the client, whose conn stays open after it if ``keep``.

        Args:
            say_close: tell the client to close all the same.
            rewrite: changes a body of known length.
        Raises:  ProtocolError, OSError: the response could not be sent as a whole.
        """
        version = self.request.version
        framing = self._framing
        unchunk = framing == CHUNKED and not version
        if unchunk:
            response.remove("transfer-encoding", "trailer")
        response.remove("connection")
        if not keep or say_close:
            response.items.append(("Connection", "close"))
        elif not version:
            response.items.append(("Connection", "keep-alive"))
        pieces = body_pieces(self.upstream, framing, unchunk)
        if rewrite is not None and 0 < framing <= REWRITE_LIMIT:
            body = rewrite(b"".join(pieces))
            response.set("Content-Length", str(len(body)))
            self._send_back(response.encode(version) + body, len(body))
        else:
            self._stream_back(response.encode(version), pieces)
        self.clean = self.uploaded and framing != UNTIL_CLOSE

    def _stream_back(self, head: bytes, pieces: Iterator[bytes]) -> None:
        """A head and a body that begins with what has arrived of it."""
        first = next(pieces, b"") if self.upstream.buffered else b""
        self._send_back(head + first, len(first))
        for piece in pieces:
            self._send_back(piece, len(piece))

    def _send_back(self, data: bytes, size: int) -> None:
        self.returned += size
        self.conn.sendall(data)
        if self._meter is not None and size:
            _pay(self._meter.sent(size))


def _pay(delay: float) -> None:
    if delay > 0.0:
        gevent.sleep(delay)
