"""gRPC tunnels over HTTP/2: calls as streams, keep-alive of both sides, pings that are too many.

Wire      POST of /service/method, content-type application/grpc, te: trailers; 200, messages both
          ways, and a trailer with grpc-status at the end of the server's
Source    grpc-go (behaviour of version 1.67): internal/transport
Differs   A server answers 200 at once, not with its first message. Too many pings count only where
          keep-alive is configured (grpc-go then allows one in 5 minutes).

Status of a call other than OK ends the conn with an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gostpy.errors import ConnectionClosed, HandshakeFailed
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.keepalive import KeepAlive
from gostpy.stream.http2 import Session, Stream
from gostpy.stream.http2accept import set_source
from gostpy.wire.grpc import UNIMPLEMENTED, Messages, percent_encoded
from gostpy.wire.http2 import ENHANCE_YOUR_CALM, Http2Error

__all__ = ["ClientSession", "Pings", "ServerSession"]

CONTENT_TYPE = "application/grpc"
_OK = [("grpc-status", "0"), ("grpc-message", "")]
_MOST_STRIKES = 2
_LOOKS = 4
"""Times that an idle connection is looked at within its time."""


@dataclass(frozen=True, slots=True)
class Pings:
    """When an idle peer is asked, and what a server asks of its clients.

    Attributes:
        time: seconds without a byte after which a ping is sent.
        timeout: seconds without a byte after it that end the connection.
        without_stream: ping also when there is no call; a server takes such pings.
        min_time: seconds that a client has to let pass between pings.
        idle: seconds without a call after which a server ends the connection; 0 = never.
    """

    time: float
    timeout: float
    without_stream: bool = False
    min_time: float = 0.0
    idle: float = 0.0


class _Session(Session):
    """What both sides share: pings of our own, each answered in time."""

    def watch(self, keep: Pings, always: bool) -> None:
        """Ask when the peer is silent, ``always`` or only while there are calls."""

        def probe() -> bool:
            if not (always or self.stream_count):
                return False
            self.ping()
            return True

        self._heard = False
        self._keeping = KeepAlive(
            keep.time, self._was_heard, probe, self._silent, answer=keep.timeout, lazy=True
        )

    def _was_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    def _silent(self, silence: float) -> None:
        self.fail(ConnectionClosed(f"grpc: no answer to a ping for {silence:g} s"))


class ClientSession(_Session):
    """A session whose streams are calls of one method.

    Args:
        fields: of the request.
    """

    def __init__(
        self, conn: Conn, fields: list[tuple[str, str]], keep: Pings | None = None
    ) -> None:
        super().__init__(conn, True)
        self.name = "grpc"
        self._fields = fields
        self._keep = keep

    def start(self, first: object = ()) -> None:
        super().start()
        if self._keep is not None:
            self.watch(self._keep, self._keep.without_stream)

    def open(self) -> Conn:
        """A call. Nothing is awaited: a server may answer with its first message only."""
        conn = super().open()
        stream = conn.endpoint
        assert isinstance(stream, Stream)
        stream.on_answer = _check
        stream.ask(self._fields)
        conn.push(Messages())
        return conn


def _check(stream: Stream) -> None:
    """The head of an answer is there: fail the conn of a call that was refused."""
    answer = stream.answer
    assert answer is not None, "called when it is there"
    status = answer.get("grpc-status")
    problem = ""
    if answer.status != 200:
        problem = f"HTTP status {answer.status}"
    elif not answer.get("content-type").startswith(CONTENT_TYPE):
        problem = f"content type {answer.get('content-type')!r}"
    elif status and status != "0":
        problem = f"status {status} {answer.get('grpc-message')}".rstrip()
    if problem:
        stream.abort(HandshakeFailed(f"grpc: the server answered {problem}"))
        stream.reset()


class ServerSession(_Session):
    """The serving side of a connection.

    Args:
        method: ``/service/method``; other calls are refused.
        deliver: called on the hub with the conn of each call.
    """

    def __init__(
        self,
        conn: Conn,
        method: str,
        deliver: Callable[[Conn], None],
        keep: Pings | None = None,
    ) -> None:
        super().__init__(conn, False, self._called)
        self.name = "grpc"
        self._method = method
        self._tunnel = deliver
        self._keep = keep
        self._strikes = 0
        self._sent_then = (0, 0, 0)  # when the last ping came
        self._answered = 0
        self._pinged_at = -1.0
        self._quiet = 0
        self._calls = 0

    def start(self, first: object = ()) -> None:
        super().start()
        keep = self._keep
        if keep is not None:
            self.watch(keep, True)
            if keep.idle > 0:
                timers.after(keep.idle / _LOOKS, self._look_idle)

    def _called(self, stream: Stream) -> None:
        """A client calls."""
        self._calls += 1
        request, conn = stream.request, stream.conn
        assert request is not None and conn is not None, "delivered with both"
        kind = dict(request.headers).get("content-type", "")
        if request.method != "POST" or not kind.startswith(CONTENT_TYPE):
            stream.respond(405 if request.method != "POST" else 415, end=True)
            conn.close()
            return
        if request.path != self._method:
            problem = percent_encoded(f"unknown method {request.path}")
            status = [("grpc-status", str(UNIMPLEMENTED)), ("grpc-message", problem)]
            stream.respond(200, [("content-type", CONTENT_TYPE), *status], end=True)
            conn.close()
            return
        stream.respond(200, [("content-type", CONTENT_TYPE)])
        self._answered += 1
        stream.end_with(_OK)

        def refuse(status: int, problem: str) -> None:
            stream.trail([("grpc-status", str(status)), ("grpc-message", percent_encoded(problem))])

        conn.push(Messages(refuse))
        set_source(conn.info, request)
        self._tunnel(conn)

    def pinged(self, payload: bytes, answer: bool) -> None:
        if not answer and self._keep is not None:
            self._count_ping(self._keep)
        super().pinged(payload, answer)

    def _count_ping(self, keep: Pings) -> None:
        """Raises Http2Error: the client pings more often than it was told."""
        now = timers.now()
        sent = (self.granted - self.room, self._answered, self.stream_count)
        moved, self._sent_then = sent != self._sent_then, sent
        last, self._pinged_at = self._pinged_at, now
        if moved:  # data or heads were sent meanwhile: such pings measure the path
            self._strikes = 0
            return
        if (not self.stream_count and not keep.without_stream) or (
            last >= 0 and now - last < keep.min_time
        ):
            self._strikes += 1
        if self._strikes > _MOST_STRIKES:
            raise Http2Error(ENHANCE_YOUR_CALM, "too_many_pings")

    def _look_idle(self) -> None:
        keep = self._keep
        if not self.alive or keep is None:
            return
        calls, self._calls = self._calls, 0
        self._quiet = 0 if calls or self.stream_count else self._quiet + 1
        if self._quiet >= _LOOKS:
            self.close()
        else:
            timers.after(keep.idle / _LOOKS, self._look_idle)
