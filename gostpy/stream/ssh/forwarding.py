"""The sessions of ``sshd``: port forwarding as of OpenSSH, both sides.

Wire      channels direct-tcpip (client to server: host, port, from host, from port) and
          forwarded-tcpip (server to client, the same fields); requests tcpip-forward and
          cancel-tcpip-forward (string host | port; the answer has the port if 0 was asked for);
          ``ping`` is answered with ``pong``
Source    RFC 4254 section 7; direct-streamlocal@openssh.com in OpenSSH's PROTOCOL
Differs   gost confirms a channel before its target was dialed; here it is refused when the target
          cannot be reached. A client of gost's is spared that: it would close the whole session.
          gost does not know cancel-tcpip-forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.event import Event

from gostpy.errors import ConnectionClosed, Rejected, Truncated, Unsupported
from gostpy.net.binding import BACKLOG, Arrivals
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.ended import EndedEndpoint
from gostpy.net.timers import timeout
from gostpy.stream.session import Delivered
from gostpy.stream.ssh.channel import Channel
from gostpy.stream.ssh.link import Link
from gostpy.stream.ssh.requests import Reply
from gostpy.stream.ssh.session import Session
from gostpy.wire.ssh.fields import Fields, string, uint32
from gostpy.wire.ssh.messages import Open, OpenReason, Target

__all__ = ["Bound", "ForwardRequest", "ForwardingClient", "ForwardingServer", "Way"]

DIRECT, FORWARDED = "direct-tcpip", "forwarded-tcpip"
STREAM_LOCAL = "direct-streamlocal@openssh.com"
FORWARD, CANCEL = "tcpip-forward", "cancel-tcpip-forward"

_GOSTS_ORIGIN = ("0.0.0.0", 0)
"""Where from a direct channel of gost comes. Its dialer closes the connection with all channels on
it when one is refused."""

MOST_FORWARDS = 128
"""Ports that one client may have forwarded at a time."""

_ANSWER_TIMEOUT = 30.0

_NO_BYTES = "this conn of sshd carries no bytes: it needs the sshd protocol"


# -- server --------------------------------------------------------------------------------------


class ForwardRequest(Conn):
    """A client wants a port forwarded to it. Delivered as a conn; closing it ends the forward.

    Attributes:
        host, port: where to listen, as asked for.
        bound: the port once it is granted.
    """

    def __init__(
        self, session: ForwardingServer, info: ConnInfo, host: str, port: int, reply: Reply | None
    ) -> None:
        super().__init__(EndedEndpoint(_NO_BYTES), info)
        self.host = host
        self.port = port
        self.bound = 0
        self._session = session
        self._reply = reply

    def grant(self, port: int) -> None:
        """It is listened on ``port``."""
        self.bound = port
        self._answer(True, uint32(port) if not self.port else b"")

    def _answer(self, success: bool, fields: bytes = b"") -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.give(success, fields)

    def open(self, host: str, port: int) -> Conn:
        """A channel for one who has connected from there. Raises as ``Session.open_channel``."""
        target = Target(self.host, self.bound, host, port)
        return self._session.open_channel(FORWARDED, target.encode())

    def close(self, now: bool = False) -> None:
        self._answer(False)
        self._session.forwards.discard(self)
        super().close(now)


class ForwardingServer(Session):
    """Delivers a conn per direct channel (its endpoint has the target) and forward requests."""

    name = "sshd"

    def __init__(self, link: Link, deliver: Delivered) -> None:
        super().__init__(link, False, deliver)
        self.forwards: set[ForwardRequest] = set()

    def channel_asked(self, asked: Open, channel: Channel) -> None:
        if asked.kind != DIRECT:
            super().channel_asked(asked, channel)
        target = Target.read(asked.fields)
        if not 0 < target.port < 65536:
            raise Rejected(f"port {target.port}")
        channel.target = target
        if (target.from_host, target.from_port) == _GOSTS_ORIGIN:
            self.accept_open(channel)
        self.admit(channel)

    def request_asked(self, name: str, fields: Fields, reply: Reply | None) -> None:
        if name == FORWARD:
            self._forward(fields.text(), fields.uint32(), reply)
        elif name == CANCEL:
            wanted = fields.text(), fields.uint32()
            found = [each for each in self.forwards if (each.host, each.bound) == wanted]
            for each in found:
                each.close()
            if reply is not None:
                reply.give(bool(found))
        elif reply is not None:
            reply.give(name == "ping", b"pong")

    def _forward(self, host: str, port: int, reply: Reply | None) -> None:
        if port > 65535 or len(self.forwards) >= MOST_FORWARDS or self._deliver is None:
            if reply is not None:
                reply.give(False)
            return
        request = ForwardRequest(self, self.conn.info, host, port, reply)
        self.forwards.add(request)
        self._deliver(request)

    def _bury(self) -> None:
        for request in list(self.forwards):
            request.close()
        super()._bury()


# -- client --------------------------------------------------------------------------------------


class Way(Conn):
    """A conn that stands for the session, until it is known where a channel should lead."""

    def __init__(self, session: ForwardingClient, info: ConnInfo) -> None:
        super().__init__(EndedEndpoint(_NO_BYTES), info)
        self.session = session


class ForwardingClient(Session):
    """Opens direct channels, asks for forwards."""

    name = "sshd"

    def __init__(self, link: Link) -> None:
        super().__init__(link, True, _no_streams)
        self._ways = 0
        self._bound: list[Bound] = []

    @property
    def stream_count(self) -> int:
        return super().stream_count + self._ways

    def open(self) -> Conn:
        """A way: the connector says what it wants. Raises ConnectionClosed."""
        if not self.alive:
            raise ConnectionClosed(str(self.error or "session is closed"))
        way = Way(self, self.conn.info)
        self._ways += 1
        way.on_close = self._way_closed
        return way

    def _way_closed(self, way: Conn) -> None:
        self._ways -= 1

    def connect(self, network: str, address: str, host: str, port: int) -> Conn:
        """A channel to a target. Raises as ``open_channel``; Unsupported."""
        if network == "unix":
            return self.open_channel(STREAM_LOCAL, string(address) + string("") + uint32(0))
        if not network.startswith("tcp"):
            raise Unsupported(f"SSH has no forwarding of {network}")
        # where from is nobody's business; it is not gost's word for that
        return self.open_channel(DIRECT, Target(host, port, "127.0.0.1", 0).encode())

    def bind(self, way: Conn, host: str, port: int) -> Bound:
        """Have the server listen. Raises ConnectionClosed: refused, or gone; TimeoutError."""
        asking = _Asking()

        def answered(answer: bytes | None) -> None:
            try:
                if answer is None:
                    return
                bound = Bound(self, way, host, port or Fields(answer).uint32())
                self._bound.append(bound)  # now: conns may follow at once
                asking.bound = bound
                if asking.given_up:
                    bound.close()
            finally:
                asking.done.set()

        self.ask(FORWARD, string(host) + uint32(port), answered)
        try:
            with timeout(_ANSWER_TIMEOUT, "SSH server does not answer"):
                asking.done.wait()
        except BaseException:
            asking.given_up = True
            raise
        if asking.bound is None:
            raise ConnectionClosed(f"SSH server does not listen on {host}:{port}")
        return asking.bound

    def unbind(self, bound: Bound) -> None:
        """Have the server stop listening."""
        if bound in self._bound:
            self._bound.remove(bound)
            if self.alive:
                self.ask(CANCEL, string(bound.host) + uint32(bound.port), _whatever)

    def channel_asked(self, asked: Open, channel: Channel) -> None:
        if asked.kind != FORWARDED:
            super().channel_asked(asked, channel)
        channel.refusal = OpenReason.PROHIBITED
        try:
            target = Target.read(asked.fields)
        except Truncated:
            raise Rejected("cut forwarding channel") from None
        for bound in self._bound:
            if bound.port == target.port and (len(self._bound) == 1 or bound.host == target.host):
                conn = self.make_conn(channel)
                conn.info = ConnInfo((target.from_host, target.from_port), bound.address)
                if bound.put(conn):
                    return
                channel.refusal = OpenReason.SHORTAGE
        raise Rejected("nobody waits for this channel")

    def _bury(self) -> None:
        bound, self._bound = self._bound, []
        for each in bound:
            each.close()
        super()._bury()


class Bound:
    """A port that the server listens on for us: a Binding."""

    def __init__(self, session: ForwardingClient, way: Conn, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.address: Any = (host, port)
        self._session = session
        self._way = way
        self._arrivals = Arrivals(BACKLOG)
        self.put: Callable[[Conn], bool] = self._arrivals.put

    def accept(self) -> Conn:
        conn: Conn = self._arrivals.get()
        return conn

    def close(self) -> None:
        for conn in self._arrivals.close():
            conn.close(True)
        self._session.unbind(self)
        self._way.close()


class _Asking:
    """A port that the server was asked for."""

    __slots__ = ("bound", "done", "given_up")

    def __init__(self) -> None:
        self.bound: Bound | None = None
        self.done = Event()
        self.given_up = False


def _no_streams(conn: Conn) -> None:
    """A server's channels go to their bindings; none gets here."""
    conn.close(True)


def _whatever(answer: bytes | None) -> None:
    """The port is not ours any more, whatever the server says."""
