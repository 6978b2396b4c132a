"""HTTP/3 in one process: a listening carrier, connections to it, and bytes that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from gostpy.channel import quic as channel
from gostpy.interfaces import Context
from gostpy.net.conn import format_address
from gostpy.net.packet import dial_udp
from gostpy.stream.http3 import Session
from gostpy.stream.quic import Quic
from tests.channel.fakes import SilentLog

__all__ = ["Far", "read_to_end"]

OPTIONS = {"alpn": ("h3",), "datagrams": True}


class Far:
    """A listener whose connections are given to ``serve``.

    Attributes:
        sessions: what ``serve`` made of them.
    """

    def __init__(self, serve: Callable[[Quic], Any], **options: Any) -> None:
        self.sessions: list[Any] = []
        self._clients: list[Quic] = []
        self.log = SilentLog()
        context = Context("127.0.0.1:0", self.log, listening=True)
        carrier = channel.Carrier(channel.ListenOptions(**{**OPTIONS, **options}), context)
        self.server = carrier.listen(lambda quic, _: self.sessions.append(serve(quic)))
        self.server.start()

    @property
    def address(self) -> str:
        return format_address(self.server.address)

    def quic(self, **options: Any) -> Quic:
        """A connection without a protocol yet."""
        context = Context(self.address, SilentLog())
        carrier = channel.Carrier(channel.DialOptions(**{**OPTIONS, **options}), context)
        made = carrier.open(lambda _, address: dial_udp(address))
        self._clients.append(made)
        return made

    def client(self, **options: Any) -> Session:
        """An HTTP/3 client."""
        return Session(self.quic(**options), True, more={0x33: 1})

    def close(self) -> None:
        for quic in self._clients:
            quic.close(True)
        for session in self.sessions:
            getattr(session, "quic", session).close(True)
        self.server.close()


def get(client: Session, path: str, authority: str = "a.test", *lines: Any, **more: Any) -> Any:
    """A request and the head of its answer."""
    fields = [
        (":method", more.pop("method", "GET")),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
        *lines,
    ]
    stream = client.request(fields, end=more.pop("end", True))
    with gevent.Timeout(10):
        return stream, stream.response()


def read_to_end(conn: Any) -> bytes:
    found = b""
    with gevent.Timeout(10):
        while data := conn.recv():
            found += data
    return found
