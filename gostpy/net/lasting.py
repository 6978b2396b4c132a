"""Datagram sockets that outlast their listener: the conns on them go on until they end.

All conns of such a listener share its socket, so the port stays taken with them. Whoever wants to
listen on it again gets it: what is left of the old listener ends then.
"""

from __future__ import annotations

import errno
from typing import Protocol

from gostpy.net.packet import UDPSocket, listen_udp
from gostpy.net.sockopt import DEFAULT, SocketOptions

__all__ = ["Lasting", "end_everything", "forget", "listen_or_take_over", "outlast"]


class Lasting(Protocol):
    """What is left of a listener."""

    @property
    def port(self) -> int: ...
    def end_all(self) -> None:
        """Close the socket, and every conn on it."""
        ...


_lasting: list[Lasting] = []


def outlast(left: Lasting) -> None:
    """Its listener was closed."""
    _lasting.append(left)


def forget(left: Lasting) -> None:
    """It has ended. Harmless when repeated."""
    if left in _lasting:
        _lasting.remove(left)


def end_everything() -> None:
    """The process ends: peers that can be told are."""
    for left in _lasting[:]:
        left.end_all()
        forget(left)


def listen_or_take_over(address: str, options: SocketOptions = DEFAULT) -> UDPSocket:
    """As ``listen_udp``; what outlasts another listener on this port gives way. Raises OSError."""
    try:
        return listen_udp(address, options)
    except OSError as error:
        port = address.rpartition(":")[2]
        in_the_way = [left for left in _lasting if str(left.port) == port]
        if error.errno != errno.EADDRINUSE or not in_the_way:
            raise
        for left in in_the_way:
            left.end_all()
        return listen_udp(address, options)
