"""PHT, the dialing side: tunnels made of requests, whatever these travel on.

``Requests`` is what a transport offers (HTTP/1.1, HTTP/2, HTTP/3); a session keeps one and opens
tunnels over it: authorize, then a pull that is asked for again and again, and pushes one at a time.

Source    gost internal/util/pht client.go, conn.go
Differs   A push takes all that has gathered while the one before was under way. Closing a tunnel
          is told to the server by an empty push, as 3.3 does. A server that sends nothing, not even
          an empty line, for 60 s is given up. ``authorize`` is asked for although a server of 3.3
          can do without, because one of 3.2.6 cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gevent import get_hub
from gevent.event import Event

from gostpy.errors import ConnectionClosed, GostError, HandshakeFailed, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import LINGER
from gostpy.net.keepalive import KeepAlive
from gostpy.net.stream import PIECE, StreamEndpoint
from gostpy.stream.pht import Paths
from gostpy.wire.codec import Buffer
from gostpy.wire.pht import LineReader, one_line, token_in

__all__ = ["Asking", "Client", "Requests", "Told"]

AUTHORIZE_TIME = 15.0
"""Seconds that an answer to authorize may take."""

SILENCE = 60.0
"""Seconds without a byte of a pull after which a tunnel is given up."""

CLOSE_TIME = 2.0
"""Seconds that a pull may take to end by itself after its tunnel was closed here."""

MOST_STREAMS = 4096

_PUSH = 262144  # most data in a push
_GATHERED = 131072  # data that may wait for the push before
_WAITING = 1 << 20  # data not taken here, above which a pull is not read
_TOKEN_LIMIT = 1024

_UNSAID, _SENT, _ANSWERED = range(3)  # the empty push


class Told:
    """What hears the answer to a request. On the hub; nothing here may block or raise."""

    __slots__ = ()

    def answered(self, status: int) -> None:
        """The head of the answer."""

    def data(self, data: bytes) -> None:
        """A piece of its body."""

    def end(self) -> None:
        """It is complete; nothing more is told."""

    def lost(self, error: BaseException) -> None:
        """It will not be completed; nothing more is told."""


class Asking(Protocol):
    """A request that was sent."""

    def pause(self) -> None:
        """Hear no more of the answer's body for now; a little may still come."""

    def resume(self) -> None: ...

    def cancel(self) -> None:
        """Hear nothing more of it, and tell the server where that is possible."""


class Requests(Protocol):
    """How requests reach the server.

    Attributes:
        level: decode buffers that lie below.
    """

    level: int

    @property
    def busy(self) -> bool:
        """Another session had better be used for more."""
        ...

    def request(self, method: str, target: str, body: bytes, told: Told) -> Asking:
        """Send a request, now or as soon as a connection is there. Never waits, never raises."""
        ...

    def close(self) -> None:
        """End all connections; requests under way are lost."""


class Client:
    """Tunnels to one server: a session as :class:`gostpy.interfaces.Session` has it.

    Args:
        info: facts about the server, copied to each tunnel's conn.

    ``begin`` comes before the first ``open``.
    """

    name = "pht"

    def __init__(self, paths: Paths, info: ConnInfo) -> None:
        self._paths = paths
        self._info = info
        self.requests: Requests | None = None
        self._token = ""  # asked for and not used yet
        self.alive = True
        self.error: BaseException | None = None
        self.on_close: Callable[[Any], None] | None = None
        self._streams: set[_Tunnel] = set()
        self._closing = False

    @property
    def busy(self) -> bool:
        requests = self.requests
        return len(self._streams) >= MOST_STREAMS or requests is None or requests.busy

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def begin(self, requests: Requests) -> None:
        """Ask for a first token, in a green thread: whether this is a PHT server at all.

        Raises HandshakeFailed, OSError: it is of no use, and closed.
        """
        self.requests = requests
        try:
            self._token = self._authorize(requests)
        except BaseException:
            self.close()
            raise

    def open(self) -> Conn:
        """A new tunnel, in a green thread. Raises HandshakeFailed, OSError."""
        requests = self.requests
        if not self.alive or requests is None:
            raise ConnectionClosed(str(self.error or "session is closed"))
        token, self._token = self._token, ""
        if not token:
            token = self._authorize(requests)
        tunnel = _Tunnel(self, requests, self._paths, token)
        self._streams.add(tunnel)
        info = self._info
        conn = Conn(tunnel, ConnInfo(info.peer, info.local, tls=info.tls, host=info.host))
        tunnel.pull()
        return conn

    def _authorize(self, requests: Requests) -> str:
        """A token. Raises HandshakeFailed, OSError."""
        answer = _Whole()
        asking = requests.request("GET", self._paths.authorize, b"", answer)
        try:
            with timers.timeout(AUTHORIZE_TIME, "pht: no answer to authorize"):
                body = answer.wait()
        except BaseException:
            asking.cancel()
            raise
        if answer.status != 200:
            raise HandshakeFailed(f"pht: the server answered {answer.status} to authorize")
        try:
            return token_in(body)
        except ProtocolError as error:
            raise HandshakeFailed(str(error)) from error

    def forget(self, tunnel: _Tunnel) -> None:
        """A tunnel has ended, and all its requests with it."""
        self._streams.discard(tunnel)
        if not self._streams and (self._closing or not self.alive) and self.requests is not None:
            self.requests.close()

    def lost(self, error: BaseException) -> None:
        """The server is not reached any more: no new tunnels; those that work go on."""
        if not self.alive:
            return
        self.alive = False
        self.error = error
        get_hub().loop.run_callback(self._bury)

    def _bury(self) -> None:
        if not self._streams and self.requests is not None:
            self.requests.close()
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)

    def close(self) -> None:
        """End all tunnels."""
        self._closing = True
        self.lost(ConnectionClosed("session was closed"))
        for tunnel in list(self._streams):
            tunnel.broken(ConnectionClosed("session was closed"))
        if self.requests is not None:
            self.requests.close()


class _Whole(Told):
    """A small answer that a green thread waits for."""

    __slots__ = ("_body", "_done", "_error", "status")

    def __init__(self) -> None:
        self.status = 0
        self._body = b""
        self._done = Event()
        self._error: BaseException | None = None

    def answered(self, status: int) -> None:
        self.status = status

    def data(self, data: bytes) -> None:
        if len(self._body) <= _TOKEN_LIMIT:
            self._body += data

    def end(self) -> None:
        self._done.set()

    def lost(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def wait(self) -> bytes:
        """The body, cut after a while. Raises ConnectionClosed."""
        self._done.wait()
        error = self._error
        if isinstance(error, GostError):
            raise error
        if error is not None:
            raise ConnectionClosed(str(error)) from error
        return self._body


class _Pull(Told):
    """One pull of a tunnel."""

    __slots__ = ("_reader", "_tunnel")

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel
        self._reader = LineReader()

    def answered(self, status: int) -> None:
        if status != 200:
            self._tunnel.broken(ConnectionClosed(f"pht: the server answered {status} to a pull"))

    def data(self, data: bytes) -> None:
        try:
            block = self._reader.feed(data)
        except ProtocolError as error:
            self._tunnel.broken(error)
            return
        self._tunnel.pulled(block)

    def end(self) -> None:
        try:
            block = self._reader.finish()
        except ProtocolError as error:
            self._tunnel.broken(error)
            return
        self._tunnel.pulled(block)
        self._tunnel.pull_ended(self._reader.seen)

    def lost(self, error: BaseException) -> None:
        self._tunnel.pull_lost(error)


class _Push(Told):
    """One push of a tunnel; ``last`` is the empty one that says goodbye."""

    __slots__ = ("_last", "_status", "_tunnel")

    def __init__(self, tunnel: _Tunnel, last: bool) -> None:
        self._tunnel = tunnel
        self._last = last
        self._status = 0

    def answered(self, status: int) -> None:
        self._status = status

    def end(self) -> None:
        if self._last:
            self._tunnel.said_bye()
        elif self._status == 200:
            self._tunnel.pushed()
        else:
            error = ConnectionClosed(f"pht: the server answered {self._status} to a push")
            self._tunnel.broken(error)

    def lost(self, error: BaseException) -> None:
        if self._last:
            self._tunnel.said_bye()
        else:
            self._tunnel.broken(error)


class _Tunnel(StreamEndpoint):
    """One tunnel: pulls in, pushes out."""

    __slots__ = (
        "_asking",
        "_bye",
        "_heard",
        "_keeping",
        "_lingering",
        "_out",
        "_over",
        "_paused",
        "_post",
        "_pull_target",
        "_push_target",
        "_pushing",
        "_requests",
        "_scheduled",
        "_session",
    )

    def __init__(self, session: Client, requests: Requests, paths: Paths, token: str) -> None:
        super().__init__(requests.level)
        self._session = session
        self._requests = requests
        self._push_target = f"{paths.push}?token={token}"
        self._pull_target = f"{paths.pull}?token={token}"
        self._asking: Asking | None = None  # the pull
        self._pushing = False
        self._scheduled = False
        self._out = bytearray()
        self._paused = False
        self._post: Asking | None = None  # the push
        self._bye = _UNSAID
        self._over = False
        self._lingering: timers.Entry | None = None
        self._heard = True
        self._keeping = KeepAlive(SILENCE, self._was_heard, fail=self._silent, limit=SILENCE)

    # -- pulls -------------------------------------------------------------------------------------

    def pull(self) -> None:
        """Ask for data."""
        self._paused = False
        asking = self._requests.request("GET", self._pull_target, b"", _Pull(self))
        if not self._over:
            self._asking = asking

    def pulled(self, data: bytes) -> None:
        """Data, or a sign of life."""
        self._heard = True
        for start in range(0, len(data), PIECE):
            self.deliver(data[start : start + PIECE] if len(data) > PIECE else data)

    def pull_ended(self, seen: bool) -> None:
        self._asking = None
        if self._over:
            return
        if self.conn is None:
            if self._bye == _ANSWERED or not seen:
                self._finish()
        elif seen:
            self.pull()
        else:
            self.peer_end()

    def pull_lost(self, error: BaseException) -> None:
        self._asking = None
        if self.conn is not None:
            self.broken(error)
        elif self._bye == _ANSWERED:
            self._finish()

    def _was_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard or self._paused or self._asking is None

    def _silent(self, silence: float) -> None:
        self.broken(TimeoutError(f"pht: the server was silent for {silence:g} s"))

    def kept(self, size: int) -> None:
        asking = self._asking
        if asking is None:
            return
        if self._paused:
            if self.waiting <= _WAITING:
                self._paused = False
                asking.resume()
        elif self.waiting > _WAITING:
            self._paused = True
            asking.pause()

    # -- pushes ------------------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        if self.peer_ended:
            if self.waiting:  # the server takes no more; an error once what it said was read
                return True
            raise ConnectionClosed("tunnel was closed by the peer")
        self._out += data
        if not self._pushing and not self._scheduled:
            self._scheduled = True
            get_hub().loop.run_callback(self._push)
        return len(self._out) < _GATHERED

    def _push(self) -> None:
        """Send what has gathered; then, at the end, goodbye."""
        self._scheduled = False
        if self._over or self._pushing:
            return
        out = self._out
        if out:
            self._pushing = True
            size = len(out)
            if size <= _PUSH:
                self._out = bytearray()
            else:
                out, self._out = out[:_PUSH], out[_PUSH:]
            push = _Push(self, False)
            self._post = self._requests.request("POST", self._push_target, one_line(out), push)
        elif self.local_ended and not self._bye:
            self._say_bye()

    def pushed(self) -> None:
        """The server has taken a push."""
        self._pushing = False
        self._post = None
        self._push()
        if len(self._out) < _GATHERED:
            self.drained()

    def _finish_sending(self) -> None:
        if not self._pushing and not self._scheduled:
            self._push()

    def _say_bye(self) -> None:
        self._bye = _SENT
        self._requests.request("POST", self._push_target, b"", _Push(self, True))

    def said_bye(self) -> None:
        """The server knows that nothing more comes."""
        self._bye = _ANSWERED
        if self.conn is None:
            self._leave_pull()

    def _leave_pull(self) -> None:
        """The pull ends soon, and its connection can be used again; or it is cut."""
        if self._asking is None:
            self._finish()
        else:
            self._linger(CLOSE_TIME)

    def _linger(self, seconds: float) -> None:
        """End everything after a while."""
        if self._lingering is not None:
            self._lingering.cancel()
        self._lingering = timers.after(seconds, self._finish)

    # -- the end -----------------------------------------------------------------------------------

    def _closed(self, now: bool) -> None:
        if now:
            self._out.clear()
        if self._paused and self._asking is not None:  # it has to come to its end
            self._paused = False
            self._asking.resume()
        if self._bye == _ANSWERED:
            self._leave_pull()
        else:
            self._linger(LINGER)

    def broken(self, error: BaseException) -> None:
        """The tunnel is of no use any more."""
        if self._over:
            return
        if not self._bye and not isinstance(error, ConnectionClosed):
            self._say_bye()
        self._finish()
        self.abort(error)

    def _finish(self) -> None:
        """Nothing is asked for any more."""
        if self._over:
            return
        self._over = True
        if self._lingering is not None:
            self._lingering.cancel()
        self._out.clear()
        self._keeping.cancel()
        for asking in (self._asking, self._post):
            if asking is not None:
                asking.cancel()
        self._asking = self._post = None
        self._session.forget(self)
