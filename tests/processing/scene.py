"""A handler or connector between two sockets that a test plays: the client's and the target's."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent

from gostpy.errors import DialFailed
from gostpy.interfaces import Context, Credentials, Request
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint
from gostpy.processing.context import HandlerContext
from tests.channel.fakes import SilentLog

__all__ = [
    "FakeRouter",
    "Played",
    "close_pairs",
    "connector_context",
    "pair",
    "played",
    "receive",
]

CLIENT = ("127.0.0.1", 50000)
HERE = ("127.0.0.1", 8080)


_made: list[Any] = []


def close_pairs() -> None:
    """Close what ``pair`` has made; for a fixture."""
    while _made:
        conn, peer = _made.pop()
        conn.close(True)
        peer.close()


def pair() -> tuple[Conn, socket.socket]:
    """A conn and the socket of its peer; ``close_pairs`` closes them."""
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    other = socket.socket(fileno=theirs.detach())
    other.settimeout(10)
    made = Conn(SocketEndpoint(ours), ConnInfo(peer=CLIENT, local=HERE)), other
    _made.append(made)
    return made


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, or what came before the end."""
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


class FakeRouter:
    """Hands out prepared conns; keeps the requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    def dial(self, request: Request) -> Any:
        self.requests.append(request)
        if not self.answers:
            raise DialFailed("connection refused", address=request.address)
        return self.answers.pop(0)

    def bind(self, request: Request, **options: Any) -> Any:
        raise NotImplementedError


class Played:
    """What a test has in its hands."""

    def __init__(self, client: socket.socket, target: socket.socket, router: FakeRouter) -> None:
        self.client = client
        self.target = target
        self.router = router
        self.log = SilentLog()
        self.error: BaseException | None = None

    @property
    def request(self) -> Request:
        return self.router.requests[-1]


@contextmanager
def played(
    handler: Any, options: Any, *, upstream: Any = None, reach: bool = True, **context: Any
) -> Iterator[Played]:
    """Run a handler on one conn.

    Args:
        upstream: what the router gives; by default a conn to ``Played.target``.
        reach: False: the router reaches nothing.
    """
    conn, client = pair()
    far, target = pair()
    router = FakeRouter(*([upstream if upstream is not None else far] if reach else []))
    scene = Played(client, target, router)
    made = handler(options, HandlerContext("test", scene.log, router, **context))

    def serve() -> None:
        try:
            made.handle(conn)
        except Exception as error:  # the test looks at it
            scene.error = error
        if conn.sink is None:
            conn.close()

    thread = gevent.spawn(serve)
    try:
        yield scene
    finally:
        for sock in (client, target):
            sock.close()
        far.close(True)
        thread.join(10)
        assert thread.dead


def connector_context(username: str = "", password: str = "", **more: Any) -> Context:
    return Context(
        "127.0.0.1:1080", SilentLog(), auth=Credentials(username, password), node="node", **more
    )
