"""A request of HTTP/2 or HTTP/3 as an exchange: its handler answers after it has dialed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gostpy.errors import Unsupported
from gostpy.interfaces import ExchangeRequest
from gostpy.net.conn import Conn
from gostpy.stream.http2 import Stream
from gostpy.stream.http2accept import date, set_source

__all__ = ["StreamExchange"]

_REFUSED = 503


class StreamExchange:
    """See :class:`gostpy.interfaces.Exchange`.

    Attributes:
        conn: reads the request's body, also before the answer; may be written to after it.
        answered: ``respond`` was called.
    """

    __slots__ = ("_stream", "answered", "conn", "info", "meter", "request")

    def __init__(self, stream: Stream | Any) -> None:
        assert stream.conn is not None and stream.request is not None
        self._stream = stream
        self.conn: Conn = stream.conn
        self.request: ExchangeRequest = stream.request
        self.info = self.conn.info
        self.meter: Any = None
        self.answered = False
        set_source(self.info, self.request)

    @property
    def sink(self) -> Any:
        return self.conn.sink

    @property
    def has_body(self) -> bool:
        """The request goes on behind its head."""
        return not self._stream.peer_ended or bool(self._stream.waiting)

    def respond(
        self, status: int, headers: Sequence[tuple[str, str]] = (), *, end: bool = False
    ) -> Conn:
        """The answer, with a date and, without a body, its length. Raises ConnectionClosed."""
        fields = list(headers)
        names = {name for name, _ in headers}
        empty = end and status not in (204, 304) and self.request.method != "HEAD"
        if empty and "content-length" not in names:
            fields.append(("content-length", "0"))
        if "date" not in names:
            fields.append(("date", date()))
        self._stream.respond(status, fields, end=end)
        self.answered = True
        self.conn.meter = self.meter
        return self.conn

    def _no_stream(self, *arguments: Any, **options: Any) -> Any:
        """A handler wants bytes. Raises Unsupported."""
        raise Unsupported("this protocol needs a byte stream, and its channel carries requests")

    recv = read_exact = peek = push = sendall = settimeout = _no_stream

    def close(self, now: bool = False) -> None:
        if not self.answered and not self.conn.closed and self._stream.reason is None:
            self.respond(_REFUSED, end=True)
        self.conn.close(now)
