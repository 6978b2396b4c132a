"""One stream of an HTTP/2 session: a request, its response, and a byte stream both ways.

``_out`` holds what the peer's windows do not allow yet; the source has been told to stop. Windows
are given back to the peer as the application reads (``consumed``).

A stream that is closed on this side ends with END_STREAM. If the peer goes on to send, or has sent
what nobody has read, it is told by RST_STREAM, as TCP does; one that does not end its side is reset
after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed
from gostpy.interfaces import ExchangeRequest
from gostpy.net import timers
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import StreamEndpoint
from gostpy.wire.codec import Buffer
from gostpy.wire.http2 import (
    CANCEL,
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    MAX_WINDOW,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    StreamReset,
    data_header,
    frame,
    window_update,
)
from gostpy.wire.http2headers import Fields, Malformed, Response, content_length, read_request

if TYPE_CHECKING:
    from gostpy.stream.http2 import Session

__all__ = ["Stream"]

_MOST_DROPPED = 65536
"""Bytes that a peer may send in vain on a stream that is closed here."""

_NO_BODY = frozenset({204, 304})


class Stream(StreamEndpoint):
    """The endpoint of a stream's conn.

    Attributes:
        id: 0 before a client's request.
        request: of a server's stream, once it was read.
        answer: of a client's stream, once it is there (see ``response``).
        trailers: of the peer; None without any.
        on_answer: called on the hub with this stream when ``answer`` is there.
        abandoned: the peer has reset it, and it is still being served.
    """

    __slots__ = (
        "_allowed",
        "_expected",
        "_finished",
        "_headed",
        "_method",
        "_out",
        "_room",
        "_taken",
        "_timer",
        "_trailing",
        "_unreturned",
        "abandoned",
        "answer",
        "id",
        "on_answer",
        "request",
        "session",
        "trailers",
    )

    can_half = True

    def __init__(self, session: Session, stream_id: int = 0) -> None:
        super().__init__(session.level)
        self.session = session
        self.id = stream_id
        self.request: ExchangeRequest | None = None
        self.answer: Response | None = None
        self.trailers: Fields | None = None
        self.on_answer: Callable[[Stream], None] | None = None
        self.abandoned = False
        self._method = ""
        self._headed = False  # our headers have been sent
        self._finished = False  # END_STREAM has been sent
        self._trailing: Sequence[tuple[str, str]] = ()
        self._out: bytearray | None = None
        self._room = session.stream_room  # we may send
        self._allowed = session.config.stream_window  # the peer may send
        self._taken = 0  # consumed, and not told to the peer
        self._unreturned = 0  # arrived and not consumed
        self._expected = -1  # bytes still to come by content-length
        self._timer: timers.Entry | None = None

    # -- client ----------------------------------------------------------------------------------

    def ask(self, fields: Sequence[tuple[str, str]], *, end: bool = False) -> None:
        """Make the request, pseudo headers first. Raises ConnectionClosed."""
        if self.id or self.conn is None:
            raise ConnectionClosed("stream is in use or closed")
        self._method = next((value for name, value in fields if name == ":method"), "")
        self.id = self.session.number(self)
        self._begin(fields, end)

    def response(self) -> Response:
        """Wait for the head of the response. Raises ConnectionClosed: the stream was reset."""
        while self.answer is None:
            if self.reason is not None:
                raise ConnectionClosed(str(self.reason)) from self.reason
            if self.conn is None:
                raise ConnectionClosed("stream was closed while it waited for a response")
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None
        return self.answer

    def answered(self, fields: Sequence[tuple[str, str]], end: bool) -> None:
        """Headers of the response, or provisional ones. Raises Malformed."""
        answer = Response.read(fields)
        if answer.status < 200:
            if end or answer.status == 101:
                raise Malformed(f"status {answer.status} at the end")
            return
        if self._method != "HEAD" and answer.status not in _NO_BODY:
            self._expected = content_length(answer.headers)
        self.answer = answer
        self._wake_reader()
        if self.on_answer is not None:
            self.on_answer(self)
        if end:
            self.peer_end()

    # -- server ----------------------------------------------------------------------------------

    def asked(self, fields: Sequence[tuple[str, str]], end: bool) -> None:
        """Headers of the request. Raises Malformed."""
        self.request = read_request(fields)
        expected = content_length(self.request.headers)
        if end and expected > 0:
            raise Malformed("no body, but content-length")
        self._expected = expected
        self.peer_ended = end

    def respond(
        self, status: int, fields: Sequence[tuple[str, str]] = (), *, end: bool = False
    ) -> None:
        """Send the head of the response, once; names in lower case. Raises ConnectionClosed."""
        if self.reason is not None or self.conn is None or self._headed:
            raise ConnectionClosed(str(self.reason or "stream is closed or answered"))
        self._begin([(":status", str(status)), *fields], end)

    # -- both ------------------------------------------------------------------------------------

    def end_with(self, fields: Sequence[tuple[str, str]]) -> None:
        """The trailer with which the outgoing direction is going to end."""
        self._trailing = fields

    def trail(self, fields: Sequence[tuple[str, str]]) -> None:
        """End the outgoing direction with a trailer."""
        self._trailing = fields
        self.shut()

    def reset(self, code: int = CANCEL) -> None:
        """End both directions at once."""
        self._unwatch()
        self._out = None
        if self.id:
            self.session.reset(self, code)
        self.abort(StreamReset(code, "stream was reset"))

    def _begin(self, fields: Sequence[tuple[str, str]], end: bool) -> None:
        self._headed = True
        self.session.send_headers(self.id, fields, end)
        if end:
            self.local_ended = self._finished = True
            if self.peer_ended:
                self._gone()
        elif self._short():
            self.full = True

    # -- out -------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        out = self._out
        if out is not None:
            out += data
            return False
        session = self.session
        size = len(data)
        room = self._room
        if room > session.room:
            room = session.room
        if size > room:
            view = memoryview(data)
            if room > 0:
                self._push(view[:room], room)
            self._out = bytearray(view[max(room, 0) :])
            self._short()
            return False
        if not size:
            return not self.full
        return self._push(data, size) and not self._short()

    def _push(self, data: Buffer, size: int) -> bool:
        """Send what the windows allow."""
        if not self._headed:
            raise ConnectionClosed("stream has no headers yet")
        session = self.session
        self._room -= size
        session.room -= size
        limit = session.frame_limit
        if size <= limit:
            return session.send_data(self, data_header(self.id, size), data)
        view = memoryview(data)
        frames: list[Buffer] = []
        for start in range(0, size, limit):
            piece = view[start : start + limit]
            frames.append(data_header(self.id, len(piece)))
            frames.append(piece)
        return session.send_now(self, frames)

    def _short(self) -> bool:
        """No more may be sent now; ``pump`` is called when it may."""
        if self._room <= 0:
            return True
        if self.session.room <= 0:
            self.session.starve(self)
            return True
        return False

    def credit(self, size: int) -> bool:
        """The peer takes ``size`` bytes more. False: that is more than a window may have."""
        self._room += size
        if self._room > MAX_WINDOW:
            return False
        if size > 0:
            self.pump()
        return True

    def pump(self) -> None:
        """There may be room for what waits."""
        out = self._out
        session = self.session
        if out is not None:
            room = min(self._room, session.room)
            if room < len(out):
                if room > 0:
                    piece = bytes(memoryview(out)[:room])
                    del out[:room]
                    self._push(piece, room)
                self._short()
                return
            self._out = None
            self._push(out, len(out))
            if self.local_ended:
                self._finish_sending()
                return
        if not self.full:
            return
        if session.full:
            session.wait_for_drain(self)
        elif not self._short():
            super().drained()

    def drained(self) -> None:
        if self._out is None and not self._short():  # else the window is what is waited for
            super().drained()

    def _finish_sending(self) -> None:
        if self._out is not None or self._finished or not self.id or self.reason is not None:
            return
        self._finished = True
        if not self._headed:
            self.session.reset(self, CANCEL)
            return
        if self._trailing:
            self.session.send_headers(self.id, self._trailing, True)
        else:
            self.session.send(frame(DATA, END_STREAM, self.id))
        if self.peer_ended:
            self._gone()
        elif self.conn is None:
            self._watch()

    # -- the end ---------------------------------------------------------------------------------

    def peer_end(self) -> None:
        if self._expected > 0:
            self.session.broken(self, PROTOCOL_ERROR, "the body is shorter than content-length")
            return
        super().peer_end()
        if self._finished:
            self._gone()

    def abort(self, error: BaseException) -> None:
        if self.reason is not None:
            return
        self._unwatch()
        self._out = None
        knew = self._told  # of the peer's end: it would not hear of this one
        super().abort(error)
        if knew and self.conn is not None:
            self._fail(error)

    def close(self, now: bool = False) -> None:
        if now and not self._finished and self.id:
            self.local_ended = True  # a reset says that it did not end well
            self._out = None
        super().close(now)

    def _closed(self, now: bool) -> None:
        session = self.session
        unread, self._unreturned = self._unreturned, 0
        self._allowed = session.config.stream_window
        if unread:
            session.give_back(unread)
        if self.abandoned:
            self.abandoned = False
            session.released()
        if not self.id:
            session.unreserve()
        elif self.reason is None and not (self._finished and self.peer_ended):
            if now or (unread and self._out is None):
                self._give_up()
            else:
                self._make_room(unread)
                self._watch()

    def _watch(self) -> None:
        """Give the peer some time to take the rest, and to end its side."""
        if self._timer is None and not (self._finished and self.peer_ended):
            self._timer = timers.after(LINGER, self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        """A server that has said all may tell a client to stop by NO_ERROR (section 8.1)."""
        self.reset(NO_ERROR if self._finished and self.request is not None else CANCEL)

    def _gone(self) -> None:
        self._unwatch()
        self.session.forget(self)

    # -- in --------------------------------------------------------------------------------------

    def announce(self, size: int, padding: int) -> None:
        """A DATA frame begins, of which ``padding`` bytes are none of the stream's."""
        session = self.session
        if self.peer_ended or (self.answer is None and session.client):
            session.give_back(size)
            code = STREAM_CLOSED if self.peer_ended else PROTOCOL_ERROR
            session.broken(self, code, "data behind the end of a stream, or before its head")
            return
        if self.conn is None:
            session.give_back(size)
            self._drop(size, padding)
            return
        self._allowed -= size
        if self._allowed < 0:
            session.give_back(size)
            session.broken(self, FLOW_CONTROL_ERROR, "more data than the stream's window")
            return
        if padding:
            self._taken += padding
            session.give_back(padding)
            size -= padding
        self._unreturned += size
        if self._expected >= 0:
            self._expect(size)

    def _expect(self, size: int) -> None:
        """So many bytes of a body with a known length are there."""
        self._expected -= size
        if self._expected < 0:
            self.session.broken(self, PROTOCOL_ERROR, "the body is longer than content-length")

    def _drop(self, size: int, padding: int) -> None:
        """Data that nobody reads any more: a little of it, then the peer is told to stop."""
        self._allowed -= size
        if self._expected >= 0:
            self._expect(size - padding)
        if self._out is not None:
            self._make_room(size)
        elif self._allowed < self.session.config.stream_window - _MOST_DROPPED:
            self._give_up()

    def _make_room(self, size: int) -> None:
        """Nobody reads here; the peer may wait for room, as we do for that of the peer."""
        taken = self._taken = self._taken + size
        if taken >= self.session.config.stream_window >> 1 and not self.peer_ended:
            self._taken = 0
            self.session.send(window_update(self.id, taken))

    def consumed(self, size: int) -> None:
        session = self.session
        self._unreturned -= size
        session.give_back(size)
        taken = self._taken = self._taken + size
        if taken >= session.config.stream_window >> 1 and not self.peer_ended:
            self._taken = 0
            self._allowed += taken
            session.send(window_update(self.id, taken))
