"""PHT, the serving side: tunnels by their tokens, whatever their requests travel on.

A transport (HTTP/1.1, HTTP/2, HTTP/3) calls ``Tunnels.request`` on the hub for each request, gives
what it returns the pieces of the body, and is told the answer through :class:`Answering`.

Source    gost internal/util/pht server.go, of 3.2.6 and 3.3
Differs   A tunnel is made when its token is first used, not when it is given away. A client's
          close and a pull that is cut end the tunnel (3.2.6 notices neither). A token of a tunnel
          that has ended is remembered for a while, so a late pull learns of the end and makes no
          new tunnel (3.3 makes one). Tokens, tunnels and pushes are bounded in number and size.

A push is answered when the application has taken most of what came before. After 10 s without data
an empty line is sent and the pull ends, as in 3.2.6; a client of 3.3 asks again as well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gostpy.errors import ConnectionClosed, LimitExceeded, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import LINGER
from gostpy.net.stream import StreamEndpoint
from gostpy.wire.codec import Buffer
from gostpy.wire.pht import LineDecoder, is_own_token, lines, new_token, split_target

__all__ = ["Answering", "Asked", "Paths", "Tunnels"]

PULL_TIME = 10.0
"""Seconds without data after which a pull ends with an empty line."""

ABANDONED_TIME = 30.0
"""Seconds without a pull after which a tunnel ends: a client asks again at once."""

TOKEN_TIME = 60.0
"""Seconds within which a token has to be used, and for which an ended one is remembered."""

MOST_TOKENS = 8192
"""Tokens that are remembered; the oldest are forgotten first, so that a flood of requests for
tokens does not keep others from getting one."""

MOST_TUNNELS = 32768
MOST_SILENT = 1024
"""Tunnels whose client has not sent a byte yet; one more ends the oldest."""

PUSH_LIMIT = 1 << 20
"""Bytes in the body of a push."""

_HIGH = 262144  # of a tunnel's data not taken yet, above which a push waits for its answer
_MOST_WAITING = 4 << 20  # of such data: whoever waits for answers never sends as much
_UNPULLED = 262144  # of a tunnel's data that may wait for a pull


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the three requests are."""

    authorize: str = "/authorize"
    push: str = "/push"
    pull: str = "/pull"


class Answering(Protocol):
    """The transport's end of one request: how it is answered. Nothing here may block or raise.

    Attributes:
        info: facts about the client.
        level: decode buffers that lie below.
    """

    info: ConnInfo
    level: int

    def answer(self, status: int, body: bytes = b"") -> None:
        """The whole answer."""

    def begin(self) -> None:
        """Status 200 and a body in pieces that leave at once."""

    def send(self, data: bytes) -> bool:
        """A piece of that body; False: call ``drained`` of what was asked when it has left."""
        ...

    def end(self) -> None:
        """The end of that body."""


class Asked:
    """A request that is being served; the transport tells it what happens. On the hub."""

    __slots__ = ()

    def data(self, data: Buffer) -> None:
        """A piece of the request's body."""

    def end(self) -> None:
        """The request is complete."""

    def lost(self) -> None:
        """The client went away before the answer was complete. Not called after it was."""

    def drained(self) -> None:
        """What was sent has left."""


_NOTHING = Asked()


class Tunnels:
    """All tunnels of a listener.

    Args:
        deliver: called on the hub with the conn of each new tunnel.
    """

    def __init__(self, paths: Paths, deliver: Callable[[Conn], None]) -> None:
        self._paths = paths
        self._deliver = deliver
        self._tokens: OrderedDict[str, float] = OrderedDict()  # given away, when
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._tunnels: dict[str, _Tunnel] = {}
        self._silent: dict[str, _Tunnel] = {}

    @property
    def count(self) -> int:
        return len(self._tunnels)

    def request(self, method: str, target: str, answering: Answering) -> Asked:
        """A request has come, with or without a body."""
        path, token = split_target(target)
        paths = self._paths
        if path == paths.push:
            if method != "POST":
                answering.answer(400)
            elif token in self._ended:
                answering.answer(410)
            elif tunnel := self._tunnel(token, answering):
                return _Push(tunnel, answering)
        elif path == paths.pull:
            if method != "GET":
                answering.answer(400)
            elif token in self._ended:
                answering.answer(200)
            elif tunnel := self._tunnel(token, answering):
                return tunnel.pulled(answering)
        elif path == paths.authorize:
            self._authorize(answering)
        else:
            answering.answer(404, b"404 page not found\n")
        return _NOTHING

    def _authorize(self, answering: Answering) -> None:
        tokens = self._tokens
        token = new_token()
        _remember(tokens, token)
        answering.answer(200, b"token=" + token.encode("ascii"))

    def _tunnel(self, token: str, answering: Answering) -> _Tunnel | None:
        """The tunnel of a token; a new one at its first use; None: the request was refused."""
        tunnel = self._tunnels.get(token)
        if tunnel is not None:
            return tunnel
        given = self._tokens.pop(token, None)
        if given is None and not is_own_token(token):
            answering.answer(403)
            return None
        if len(self._tunnels) >= MOST_TUNNELS:
            answering.answer(429)
            return None
        while len(self._silent) >= MOST_SILENT:
            oldest = next(iter(self._silent.values()))
            oldest.broken(LimitExceeded("pht: too many tunnels whose clients say nothing"))
        tunnel = self._tunnels[token] = self._silent[token] = _Tunnel(self, token, answering.level)
        info = answering.info
        conn = Conn(
            tunnel, ConnInfo(info.peer, info.local, info.source, info.destination, info.tls)
        )
        self._deliver(conn)
        return tunnel

    def spoke(self, token: str) -> None:
        """A tunnel got its first data, or ended without any."""
        del self._silent[token]

    def forget(self, token: str) -> None:
        """A tunnel has ended."""
        if self._tunnels.pop(token, None) is None:
            return
        _remember(self._ended, token)


def _remember(tokens: OrderedDict[str, float], token: str) -> None:
    """For a while, and no more than so many."""
    now = timers.now()
    while tokens and (len(tokens) >= MOST_TOKENS or next(iter(tokens.values())) < now - TOKEN_TIME):
        tokens.popitem(last=False)
    tokens[token] = now


class _Push(Asked):
    """A push: its body is one line, which is passed on as it comes."""

    __slots__ = ("_answering", "_line", "_size", "_tunnel")

    def __init__(self, tunnel: _Tunnel, answering: Answering) -> None:
        self._tunnel: _Tunnel | None = tunnel
        self._answering = answering
        self._line: LineDecoder | None = LineDecoder()
        self._size = 0

    def data(self, data: Buffer) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            return
        self._size += len(data)
        if self._size > PUSH_LIMIT:
            self._refuse(413, f"a push of more than {PUSH_LIMIT} bytes")
            return
        line = self._line
        if line is None:  # behind the line: of no interest
            return
        try:
            block = line.feed(bytes(data))
        except ProtocolError as error:
            self._refuse(400, str(error))
            return
        if line.ended:
            self._line = None
        tunnel.pushed(block)

    def end(self) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            return
        if self._line is None:
            tunnel.push_ended(self._answering)
        elif not self._size:
            tunnel.client_closed()
            self._answering.answer(200)
        else:
            self._refuse(400, "a push without the end of a line")

    def _refuse(self, status: int, problem: str) -> None:
        tunnel, self._tunnel = self._tunnel, None
        self._answering.answer(status)
        if tunnel is not None:
            tunnel.broken(ProtocolError(f"pht: {problem}"))

    def lost(self) -> None:
        if self._tunnel is not None:
            self._tunnel.broken(ConnectionClosed("pht: a push was cut"))


class _Pull(Asked):
    """A pull: the tunnel writes to it."""

    __slots__ = ("_tunnel", "answering")

    def __init__(self, tunnel: _Tunnel, answering: Answering) -> None:
        self._tunnel = tunnel
        self.answering = answering

    def lost(self) -> None:
        self._tunnel.cut(self)

    def drained(self) -> None:
        self._tunnel.pull_drained(self)


class _Tunnel(StreamEndpoint):
    """One tunnel: pushes in, pulls out."""

    __slots__ = (
        "_closing",
        "_ended",
        "_held",
        "_last",
        "_lingering",
        "_out",
        "_pull",
        "_spoke",
        "_timer",
        "_token",
        "_tunnels",
    )

    def __init__(self, tunnels: Tunnels, token: str, level: int) -> None:
        super().__init__(level)
        self._tunnels = tunnels
        self._token = token
        self._pull: _Pull | None = None
        self._out = bytearray()  # waits for a pull, or for the last one to drain
        self._held: list[Answering] = []  # pushes that wait for their answer
        self._last = 0.0  # when something was sent
        self._closing = False  # closed here; what waits is still sent
        self._ended = False
        self._spoke = False
        self._lingering: timers.Entry | None = None
        self._timer: timers.Entry | None = timers.after(ABANDONED_TIME, self._abandoned)

    def _gone(self) -> bool:
        """It has ended, or was closed on this side."""
        return self._ended or self.conn is None

    # -- the client's requests -------------------------------------------------------------------

    def pushed(self, data: bytes) -> None:
        """Data came."""
        if not data or self._gone():
            return
        if not self._spoke:
            self._spoke = True
            self._tunnels.spoke(self._token)
        self.deliver(data)
        if self.waiting > _MOST_WAITING:
            self.broken(ProtocolError("pht: a client that waits for no answer pushes too much"))

    def push_ended(self, answering: Answering) -> None:
        """A push is complete; ``answering`` is told when more may come."""
        if self._gone():
            answering.answer(410)
        elif self.waiting > _HIGH:
            self._held.append(answering)
        else:
            answering.answer(200)

    def client_closed(self) -> None:
        self.peer_end()

    def pulled(self, answering: Answering) -> Asked:
        """A pull came; it takes the place of one before it."""
        before = self._pull
        pull = self._pull = _Pull(self, answering)
        if before is not None:
            before.answering.end()
        if self._timer is not None:
            self._timer.cancel()
        answering.begin()
        self._last = timers.now()
        self._timer = timers.after(PULL_TIME, self._look)
        if self._out:
            self._flush()
        elif self.local_ended:
            self._finish()
        return pull

    def pull_drained(self, pull: _Pull) -> None:
        if pull is self._pull:
            if self._out:
                self._flush()
            else:
                self.drained()

    def cut(self, pull: _Pull) -> None:
        """The client left a pull, maybe without what was sent last."""
        if pull is not self._pull:
            return
        self._pull = None
        if self.peer_ended:  # it had said so
            self.local_ended = self._dropped = True
            self._out.clear()
            self._end()
            self.drained()
        else:
            self.broken(ConnectionClosed("pht: a pull was cut"))

    def broken(self, error: Exception) -> None:
        """The tunnel is of no use any more."""
        self._out.clear()
        self._end()
        self.abort(error)

    # -- time ------------------------------------------------------------------------------------

    def _look(self) -> None:
        """A pull has been open for a while."""
        pull = self._pull
        if pull is None or self._ended:
            return
        left = self._last + PULL_TIME - timers.now()
        if left > 0.01 or self.full:
            self._timer = timers.after(min(max(1.0, round(left + 0.49)), PULL_TIME), self._look)
            return
        pull.answering.send(b"\n")
        self._release()

    def _abandoned(self) -> None:
        if self._pull is None and not self._ended:
            self.broken(ConnectionClosed(f"pht: no pull for {ABANDONED_TIME:g} s"))

    def _release(self) -> None:
        """The pull is over; the client asks again."""
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.answering.end()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timers.after(ABANDONED_TIME, self._abandoned)

    # -- the endpoint ----------------------------------------------------------------------------

    def _send(self, data: Buffer) -> bool:
        if self._ended:
            raise ConnectionClosed("tunnel has ended")
        pull = self._pull
        if pull is None or self._out:
            self._out += data
            return len(self._out) < _UNPULLED
        self._last = timers.now()
        return pull.answering.send(lines(data))

    def _flush(self) -> None:
        """Send what has waited for a pull."""
        pull = self._pull
        assert pull is not None, "nothing to send it to"
        data, self._out = self._out, bytearray()
        self._last = timers.now()
        took = pull.answering.send(lines(data))
        if self.local_ended:
            self._finish()
        elif took:
            self.drained()

    def _finish_sending(self) -> None:
        if not self._out:
            self._finish()

    def _finish(self) -> None:
        """All has been sent: the end of a pull, and one more without a line, tell the client."""
        if self._pull is not None:
            self._release()
        if self.conn is None:
            self._end()

    def _closed(self, now: bool) -> None:
        for answering in self._held:
            answering.answer(410)
        self._held.clear()
        if now or not self._out:
            self._out.clear()
            if self._pull is not None:
                self._release()
            self._end()
        else:
            self._lingering = timers.after(LINGER, self._end)

    def consumed(self, size: int) -> None:
        if self._held and self.waiting <= _HIGH:
            held, self._held = self._held, []
            for answering in held:
                answering.answer(200)

    def _end(self) -> None:
        """Nothing more is sent or taken; the token is worth nothing."""
        if self._ended:
            return
        self._ended = True
        if not self._spoke:
            self._tunnels.spoke(self._token)
        for entry in (self._timer, self._lingering):
            if entry is not None:
                entry.cancel()
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.answering.end()
        for answering in self._held:
            answering.answer(410)
        self._held.clear()
        self._tunnels.forget(self._token)
