"""Conns over QUIC: one bidirectional stream each, without any framing of its own.

Wire     the bytes of the conn; FIN ends a direction, RESET_STREAM and STOP_SENDING give it up
Source   gost's listener/quic and dialer/quic
Differs  the peer hears of a stream before anything is written to it, so servers that speak first
         are heard; gost's stream is not there before its first byte
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gevent import get_hub

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import PIECE, StreamEndpoint
from gostpy.stream.quic import Quic
from gostpy.wire.codec import Buffer

__all__ = ["QuicSession", "QuicStream"]

_SENT_LIMIT = 128 << 10
"""Bytes of a stream, besides two congestion windows, that may wait to be acknowledged."""

_MOST_SENT = 4 << 20
_UNREAD_LIMIT = 4 << 20


class QuicStream(StreamEndpoint):
    """One stream."""

    __slots__ = ("session", "stream_id")

    can_half = True

    def __init__(self, session: QuicSession, stream_id: int) -> None:
        super().__init__(0)
        self.session = session
        self.stream_id = stream_id

    def _send(self, data: Buffer) -> bool:
        return self.session.send(self, data)

    def _finish_sending(self) -> None:
        self.session.finish(self)

    def _closed(self, now: bool) -> None:
        self.session.forget(self, now)

    def consumed(self, size: int) -> None:
        self.session.core.consume(self.stream_id, size)

    def give_up(self) -> None:
        """The peer reads no more: what is written from now on is an error. It may still send."""
        self.local_ended = self._dropped = True
        self.full = False
        self._wake_writer()


class QuicSession:
    """A mux session over a QUIC connection, whose protocol it is.

    Args:
        deliver: called on the hub with a conn for each stream that the peer opens; without it
            they are refused.

    Attributes:
        on_close: called once, on the hub, after all streams were told of the end.
    """

    name = "quic"
    cancelled = 0
    """Code of streams that are given up."""

    def __init__(self, quic: Quic, deliver: Callable[[Conn], None] | None = None) -> None:
        self.quic = quic
        self.core = quic.core
        self.on_close: Callable[[Any], None] | None = None
        self._deliver = deliver
        self._streams: dict[int, QuicStream] = {}
        self._blocked: set[QuicStream] = set()
        self._newest = -1
        quic.attach(self)

    # -- for users -------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.quic.alive

    @property
    def error(self) -> BaseException | None:
        return self.quic.error

    @property
    def busy(self) -> bool:
        """Another session had better be used for the next stream."""
        return self.core.room <= 0 or self.core.unread > _UNREAD_LIMIT or self.quic.suspect

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def open(self) -> Conn:
        """A new stream. Raises ConnectionClosed: the connection is gone."""
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        return self._make(self.core.open_stream())

    def close(self) -> None:
        """End the session and all its streams; what was written still leaves."""
        self.quic.close()

    def endpoint(self, stream_id: int) -> QuicStream:
        """What a stream is here."""
        return QuicStream(self, stream_id)

    def _make(self, stream_id: int) -> Conn:
        stream = self._streams[stream_id] = self.endpoint(stream_id)
        known = self.quic.info
        info = ConnInfo(
            known.peer, known.local, known.source, known.destination, known.tls, known.host
        )
        if known.facts:
            info.facts.update(known.facts)
        return Conn(stream, info)

    # -- out -------------------------------------------------------------------------------------

    def send(self, stream: QuicStream, data: Buffer) -> bool:
        """False: the stream is told by ``drained`` when to go on."""
        if not self.alive:
            raise ConnectionClosed(str(self.error))
        core, stream_id = self.core, stream.stream_id
        core.send_stream_data(stream_id, data)
        if core.backlog(stream_id) <= self._limit:
            return True
        self._blocked.add(stream)
        return False

    @property
    def _limit(self) -> int:
        return min(_SENT_LIMIT + 2 * self.core.window, _MOST_SENT)

    def finish(self, stream: QuicStream) -> None:
        if self.alive and self.core.can_send(stream.stream_id):
            self.core.send_stream_data(stream.stream_id, b"", True)

    def forget(self, stream: QuicStream, now: bool) -> None:
        """Nobody uses this stream any more."""
        stream_id = stream.stream_id
        self._blocked.discard(stream)
        if self._streams.pop(stream_id, None) is None or not self.alive:
            return
        core = self.core
        core.ignore(stream_id)
        if now:
            core.reset_stream(stream_id, self.cancelled)
        elif core.backlog(stream_id):
            timers.after(LINGER, lambda: self._give_up(stream_id))

    def _give_up(self, stream_id: int) -> None:
        """A closed stream whose peer does not take what is left."""
        if self.alive and self.core.backlog(stream_id):
            self.core.reset_stream(stream_id, self.cancelled)

    # -- protocol of the connection --------------------------------------------------------------

    def stream_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._arrived(stream_id)
            if stream is None:
                return
        if len(data) <= PIECE:
            if data:
                stream.deliver(data)
        else:
            for start in range(0, len(data), PIECE):
                stream.deliver(data[start : start + PIECE])
        if ended:
            stream.peer_end()

    def _arrived(self, stream_id: int) -> QuicStream | None:
        """A stream that is not known: the peer opened it, or it was closed here."""
        if bool(stream_id & 1) != self.core._is_client or stream_id & 2:
            if stream_id & 2:
                self.core.ignore(stream_id)
            return None
        if stream_id <= self._newest:
            return None
        self._newest = stream_id
        if self._deliver is None:
            self.core.ignore(stream_id)
            self.core.reset_stream(stream_id, 0)
            return None
        conn = self._make(stream_id)
        try:
            self._deliver(conn)
        except Exception:  # a bug there must not end the session
            get_hub().handle_error(self, *sys.exc_info())
            conn.close(True)
        return self._streams.get(stream_id)

    def stream_reset(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.abort(ConnectionClosed(f"quic: stream was reset by the peer ({code:#x})"))

    def stop_sending(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._blocked.discard(stream)
            stream.give_up()

    def datagram(self, data: bytes) -> None:
        """gost has no use for them here."""

    def writable(self) -> None:
        blocked = self._blocked
        if not blocked:
            return
        limit = self._limit // 2
        backlog = self.core.backlog
        ready = [stream for stream in blocked if backlog(stream.stream_id) <= limit]
        for stream in ready:
            blocked.discard(stream)
            try:
                stream.drained()
            except Exception:  # a bug in one stream's source must not stop the others
                get_hub().handle_error(self, *sys.exc_info())

    def ended(self, error: BaseException) -> None:
        streams = list(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        for stream in streams:
            stream.abort(error)
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)
