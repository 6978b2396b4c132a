"""The datagrams under dtls: a session for each peer that has shown a cookie."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context
from gostpy.net import timers
from gostpy.net.packet import UDPSocket, listen_udp
from gostpy.net.sessions import Session, SessionLimits, Sessions
from gostpy.wire.dtls import REFUSAL, Cookies

__all__ = ["Carrier", "Options"]

SOCKET_BUFFER = 4 << 20
"""Bytes that the system may keep for us while we do something else, if it grants as many."""

MOST_SHAKING = 256
"""Handshakes under way; further clients get no answer."""

_LIMITS = SessionLimits(backlog=1024, queue_size=4096, buffer_size=1500, ttl=30.0)


@dataclass(frozen=True)
class Options:
    """There is nothing to configure."""


class Carrier:
    """Sorts the datagrams of a socket into sessions, which live until DTLS ends them."""

    network = "udp"

    def __init__(self, options: Options, context: Context) -> None:
        self.context = context

    def listen(self, accepted: Callable[[Any, Any], None]) -> Sessions:
        """Bind the service's address. Raises OSError."""
        packets = listen_udp(self.context.address, self.context.sockets)
        _widen(packets.sock)
        cookies = Cookies()
        shaking: set[Session] = set()

        def known(data: bytes, address: str) -> bytes:
            hello, answer = cookies.check(data, address, timers.now())
            if answer:
                packets.send_now(answer, address)
            elif len(shaking) >= MOST_SHAKING:
                shaking.difference_update([each for each in shaking if not _is_shaking(each)])
                if len(shaking) >= MOST_SHAKING:
                    return b""
            return hello

        def born(session: Session) -> None:
            session.held = True
            shaking.add(session)
            accepted(session, None)
            if session.closed:
                packets.send_now(REFUSAL, session.peer)

        return Sessions(packets, born, _LIMITS, first=known, lasting=True)

    def dialed(self, packets: Any) -> None:
        """A socket with the node as its peer, or datagrams through another node."""
        if isinstance(packets, UDPSocket):
            _widen(packets.sock)


def _is_shaking(session: Session) -> bool:
    sink: Any = session.sink
    return not session.closed and (sink is None or sink.shaking)


def _widen(sock: _socket.socket) -> None:
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, SOCKET_BUFFER)
