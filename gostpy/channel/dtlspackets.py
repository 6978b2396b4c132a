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
"""Handshakes under way; one more ends the oldest, so that who never finishes keeps nobody out."""

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
        shaking: dict[Session, None] = {}  # and some that were, oldest first

        def known(data: bytes, address: str) -> bytes:
            hello, answer = cookies.check(data, address, timers.now())
            if answer:
                packets.send_now(answer, address)
            return hello

        def born(session: Session) -> None:
            session.held = True
            accepted(session, None)
            if session.closed:
                packets.send_now(REFUSAL, session.peer)
            else:
                _add(shaking, session)

        return Sessions(packets, born, _LIMITS, first=known, lasting=True)

    def dialed(self, packets: Any) -> None:
        """A socket with the node as its peer, or datagrams through another node."""
        if isinstance(packets, UDPSocket):
            _widen(packets.sock)


def _add(shaking: dict[Session, None], session: Session) -> None:
    """One more handshake; above the limit the oldest one ends."""
    shaking[session] = None
    if len(shaking) <= MOST_SHAKING:
        return
    for each in [each for each in shaking if not _is_shaking(each)]:
        del shaking[each]
    while len(shaking) > MOST_SHAKING:
        oldest = next(iter(shaking))
        del shaking[oldest]
        oldest.close()


def _is_shaking(session: Session) -> bool:
    sink: Any = session.sink
    return not session.closed and (sink is None or sink.shaking)


def _widen(sock: _socket.socket) -> None:
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, SOCKET_BUFFER)
