"""Both sides of a QUIC carrier in one process, for tests."""

from __future__ import annotations

import contextlib
from typing import Any

import gevent

from gostpy.channel import icmp, quic
from gostpy.errors import ConnectionClosed
from gostpy.interfaces import Context, TLSSettings
from gostpy.net.conn import Conn, format_address
from gostpy.net.packet import UDPSocket, dial_udp
from gostpy.options import parse
from gostpy.stream.quicmux import QuicSession
from gostpy.stream.quicserver import QuicServer
from tests.channel.fakes import SilentLog

__all__ = ["Ends"]


def echo(conn: Conn) -> None:
    with contextlib.suppress(ConnectionClosed):  # the test is over
        while data := conn.recv():
            conn.sendall(data)
        conn.shut()


class Ends:
    """A listener, and dialers to it.

    Args:
        listen: metadata of the listener.
        module: gostpy.channel.quic, or icmp (over UDP sockets).

    Attributes:
        sessions: of the listener, one per connection.
        conns: that were delivered.
    """

    def __init__(
        self,
        listen: dict[str, Any] | None = None,
        *,
        module: Any = quic,
        handle: Any = echo,
        tls: TLSSettings | None = None,
    ) -> None:
        self.module = module
        self.sessions: list[QuicSession] = []
        self.conns: list[Conn] = []
        self._handle = handle
        self._clients: list[QuicSession] = []
        options = parse(module.ListenOptions, listen or {}, problems=[])
        context = Context("127.0.0.1:0", SilentLog(), listening=True, tls=tls)
        self.carrier = module.Carrier(options, context)
        self.server: QuicServer = self.carrier.listen(self._accepted)
        self.server.start()

    @property
    def address(self) -> tuple[str, int]:
        return self.server.address[:2]

    def _accepted(self, connection: Any, _: Any) -> None:
        self.sessions.append(QuicSession(connection, self._deliver))

    def _deliver(self, conn: Conn) -> None:
        self.conns.append(conn)
        gevent.spawn(self._handle, conn)

    def dialer(
        self,
        dial: dict[str, Any] | None = None,
        to: tuple[str, int] | None = None,
        tls: TLSSettings | None = None,
        host: str = "",
    ) -> Any:
        """A carrier of the dialing side."""
        address = format_address((host, (to or self.address)[1]) if host else to or self.address)
        options = parse(self.module.DialOptions, dial or {}, problems=[])
        return self.module.Carrier(options, Context(address, SilentLog(), tls=tls))

    def connect(self, *arguments: Any, **named: Any) -> QuicSession:
        """A session. Raises what its handshake raises."""
        address = named.get("to") or (arguments[1] if len(arguments) > 1 else None) or self.address

        def open(network: str, _: str) -> UDPSocket:
            return dial_udp(format_address(address))

        session = QuicSession(self.dialer(*arguments, **named).open(open))
        self._clients.append(session)
        return session

    def close(self) -> None:
        for session in self._clients + self.sessions:
            session.quic.close(True)
        self.server.close()


def over_udp(monkeypatch: Any) -> Any:
    """The module of icmp, whose listener has a UDP socket in place of a raw one."""
    from gostpy.net.packet import listen_udp
    from gostpy.net.udpburst import BurstSocket

    def listen(address: str, *_: Any) -> BurstSocket:
        return BurstSocket(listen_udp(address))

    monkeypatch.setattr(icmp, "listen_icmp", listen)
    return icmp
