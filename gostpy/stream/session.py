"""What the sessions of smux and yamux share: the sink of a conn that is made of many streams.

* **Out**: frames gather until the end of the loop turn, then leave in one encode and one send;
  over 16 KiB they leave at once, so that data need not be copied.
* **In**: parts of frames go to the streams' conns as they come, without a queue in between. Bytes
  that a stream has to keep count against the session; over its limit the session reads no more.
* **End**: a session that fails takes all its streams with it, in a callback of its own, because
  it may have failed in the middle of one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gevent import get_hub

from gostpy.errors import ConnectionClosed, GostError, ProtocolError
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.keepalive import KeepAlive
from gostpy.net.stream import PIECE, StreamEndpoint
from gostpy.wire.codec import Buffer

__all__ = ["MAX_STREAMS", "MuxSession"]

MAX_STREAMS = 65536
"""Streams of one session that may be open at a time."""

_COPIED = 16384  # data up to this size is copied into the cork
_CORK_SIZE = 65536  # a cork of this size leaves before the end of the turn
_UNREAD_LIMIT = 1 << 20

_HELD = 1  # the reason for not reading

Delivered = Callable[[Conn], None]


class MuxSession:
    """Base of a mux session over a conn.

    Args:
        conn: after its handshakes; the session takes it over with ``start``.
        deliver: called on the hub with a conn for each stream that the peer opens. Without it they
            are refused.
        held_limit: bytes kept by all streams together, above which the session does not read.

    Attributes:
        alive: streams can be opened, and those that are open work.
        error: why it is not alive any more.
        on_close: called once, on the hub, after all streams were told of the end.
        full: the conn has not sent everything yet.
    """

    name = "mux"

    def __init__(
        self,
        conn: Conn,
        client: bool,
        deliver: Delivered | None,
        held_limit: int,
    ) -> None:
        self.conn = conn
        self.client = client
        self.alive = True
        self.error: BaseException | None = None
        self.on_close: Callable[[Any], None] | None = None
        self.full = False
        self.level = conn.endpoint.level + len(conn.codecs)
        self._streams: dict[int, Any] = {}
        self._blocked: set[StreamEndpoint] = set()  # to be told when the conn has drained
        self._corked: list[Buffer] = []
        self._cork_size = 0
        self._unread = 0  # bytes of frames without data that the conn has not taken yet
        self._deliver = deliver
        self._held = 0
        self._held_limit = held_limit
        self._pausing = 0
        self._heard = True
        self._keeping: KeepAlive | None = None

    # -- to be defined by the protocol -----------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Bytes of the peer. Raises ProtocolError."""
        raise NotImplementedError

    def probe(self) -> None:
        """Send something that keeps the peer from giving up."""
        raise NotImplementedError

    # -- for users -------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Another session had better be used for the next stream."""
        return self._pausing != 0 or len(self._streams) >= MAX_STREAMS

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def start(self) -> None:
        """Take the conn over: from now on it is read and written on the hub."""
        conn = self.conn
        conn.timeout = None
        conn.sink = self
        conn.endpoint.on_drain = self._drained
        self.full = conn.endpoint.pending
        # what layers hold back rides on the first frames, or leaves without them
        get_hub().loop.run_callback(self._flush_held)
        waiting = conn.take_buffer()
        try:
            for start in range(0, len(waiting), PIECE):
                self.data(waiting[start : start + PIECE])
            if self.alive and not self._pausing:
                conn.endpoint.start()
        except (GostError, OSError) as error:
            self.fail(error)

    def close(self) -> None:
        """End the session and all its streams; what was written still leaves."""
        self.flush()
        try:
            if self.alive:
                self.conn.shut()
        except (GostError, OSError) as error:
            self.fail(error)
        self._end(ConnectionClosed("session was closed"), False)

    # -- sink of the conn ------------------------------------------------------------------------

    def data(self, data: Buffer) -> None:
        self._heard = True
        if self.alive:
            self.feed(data)

    def eof(self) -> None:
        self.fail(ConnectionClosed("session was closed by the peer"))

    def fail(self, error: BaseException) -> None:
        """The conn broke, or the peer broke the rules: everything ends."""
        self._end(error, True)

    def _end(self, error: BaseException, now: bool) -> None:
        if not self.alive:
            return
        self.alive = False
        self.error = error
        self._corked.clear()
        if self._keeping is not None:
            self._keeping.cancel()
        self._leave_conn(now)
        get_hub().loop.run_callback(self._bury)

    def _leave_conn(self, now: bool) -> None:
        """The session is over: close its conn; with ``now``, output may be dropped."""
        self.conn.close(now)

    def _bury(self) -> None:
        streams = list(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        error = self.error
        assert error is not None
        for stream in streams:
            stream.abort(error)
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)

    # -- out -------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send a frame without data at the end of the loop turn."""
        if not self.alive:
            return
        if not self._corked:
            get_hub().loop.run_callback(self.flush)
        self._corked.append(frame)
        if self.full:
            self._unread += len(frame)
            if self._unread > _UNREAD_LIMIT:
                self.fail(ProtocolError(f"{self.name} peer asks for answers and does not read"))

    def send_data(self, stream: StreamEndpoint, header: bytes, data: Buffer) -> bool:
        """Send a frame with data. False: the stream is told by ``drained`` when to go on."""
        if not self.alive:
            raise ConnectionClosed(str(self.error))
        corked = self._corked
        size = len(data)
        if size <= _COPIED:
            if not corked:
                get_hub().loop.run_callback(self.flush)
            corked.append(header + data)
            self._cork_size += size
            if self._cork_size >= _CORK_SIZE:
                self.flush()
        else:
            corked.append(header)
            corked.append(data)
            self.flush()
        if self.full:
            self._blocked.add(stream)
            return False
        return True

    def send_now(self, stream: StreamEndpoint, frames: list[Buffer]) -> bool:
        """Send several frames with data at once, else as ``send_data``."""
        if not self.alive:
            raise ConnectionClosed(str(self.error))
        self._corked += frames
        self.flush()
        if self.full:
            self._blocked.add(stream)
            return False
        return True

    def flush(self) -> None:
        """Send what has gathered."""
        corked = self._corked
        if not corked:
            return
        self._corked = []
        self._cork_size = 0
        try:
            if not self.conn.write(b"".join(corked)):
                self.full = True
        except Exception as error:  # on the hub: it ends this session, not the loop
            self.fail(error)

    def _flush_held(self) -> None:
        self.flush()
        try:
            if self.alive:
                self.conn.flush()
        except Exception as error:  # as in flush
            self.fail(error)

    def _drained(self) -> None:
        self.full = False
        self._unread = 0
        blocked, self._blocked = self._blocked, set()
        for stream in blocked:
            try:
                stream.drained()
            except Exception:  # a bug in one stream's source must not stop the others
                get_hub().handle_error(self, *sys.exc_info())

    # -- in --------------------------------------------------------------------------------------

    def hold(self, size: int) -> None:
        """Streams keep ``size`` more bytes (or less, if negative)."""
        self._held += size
        if self._pausing & _HELD:
            if self._held <= self._held_limit:
                self._go_on(_HELD)
        elif self._held > self._held_limit:
            self._pause(_HELD)

    def _pause(self, reason: int) -> None:
        if not self._pausing and self.alive:
            self.conn.endpoint.pause()
        self._pausing |= reason

    def _go_on(self, reason: int) -> None:
        self._pausing &= ~reason
        if not self._pausing and self.alive:
            self.conn.endpoint.resume()

    def make_conn(self, stream: StreamEndpoint) -> Conn:
        """A conn over a stream, which knows what is known of the carrier."""
        info = self.conn.info
        copy = ConnInfo(info.peer, info.local, info.source, info.destination, info.tls, info.host)
        if info.facts:
            copy.facts.update(info.facts)
        return Conn(stream, copy)

    @property
    def accepts(self) -> bool:
        """The peer may open one more stream."""
        return self._deliver is not None and len(self._streams) < MAX_STREAMS

    def admit(self, stream: StreamEndpoint) -> None:
        """The peer has opened a stream."""
        conn = self.make_conn(stream)
        assert self._deliver is not None, "it would not accept any"
        try:
            self._deliver(conn)
        except Exception:  # a bug there must not end the session
            get_hub().handle_error(self, *sys.exc_info())
            conn.close(True)

    # -- keep-alive ------------------------------------------------------------------------------

    def keep_alive(self, interval: float, limit: float) -> None:
        """Probe every ``interval`` seconds; ``limit`` seconds of silence end the session."""
        self._heard = True
        self._keeping = KeepAlive(
            interval, self._was_heard, self._probe_drained, self._silent, limit=limit
        )

    def _was_heard(self) -> bool:
        """Since the last time; who does not read cannot tell."""
        heard, self._heard = self._heard, False
        return heard or self._pausing != 0

    def _probe_drained(self) -> None:
        if not self.full:
            self.probe()

    def _silent(self, silence: float) -> None:
        self.fail(ProtocolError(f"{self.name} peer was silent for {silence:g} s"))
