"""PHT's requests over HTTP/1.1, the dialing side: as many connections as are needed at a time.

Wire      as Go's client writes them; one request at a time on a connection
Differs   ``Accept-Encoding`` is not sent, so nothing on the way compresses a stream. A connection
          is kept for the next request for 45 s, and 64 of them; gost keeps two for 90 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from gostpy.errors import ConnectionClosed, GostError, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.tasks import start_task
from gostpy.stream.phtclient import Told
from gostpy.stream.phthttp1 import CACHED, Body, Side
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import ResponseHead

__all__ = ["Requests"]

KEPT_TIME = 45.0
"""Seconds for which a connection is kept for the next request."""

MOST_KEPT = 64


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
            if asking.told is not None:
                asking.told.lost(ConnectionClosed("the session was closed"))
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


class _Client(Side):
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
        read = _answer if len(head) <= CACHED else _answer.__wrapped__
        status, self._keeps, framing = read(head)
        if status < 200:
            if status == 101:
                raise ProtocolError("pht: the server switched protocols")
            return False
        self._body = Body(framing)
        if asking.told is not None:
            asking.told.answered(status)
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


@lru_cache(maxsize=64)
def _answer(head: bytes) -> tuple[int, bool, int]:
    """(status, the connection is kept, framing). Raises ProtocolError."""
    answer = ResponseHead.parse(head)
    return answer.status, not answer.wants_close, answer.framing("GET")
