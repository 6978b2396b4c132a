"""Handlers played in memory: a client on one side, scripted origins on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from gostpy.errors import DialFailed, GostError
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.processing.context import HandlerContext
from tests.net.pairs import socket_pair

TIMEOUT = 5.0


class Quiet:
    """A log that keeps its messages."""

    debug_on = False

    def __init__(self) -> None:
        self.messages: list[str] = []

    def bind(self, **fields: Any) -> Quiet:
        return self

    def trace(self, message: str, **fields: Any) -> None:
        self.messages.append(message)

    debug = info = warn = error = trace


class Way:
    """A router to origins: address -> what serves a conn; others cannot be reached."""

    def __init__(self, origins: dict[str, Callable[[Conn], None]]) -> None:
        self._origins = origins
        self.asked: list[Request] = []

    def dial(self, request: Request) -> Any:
        self.asked.append(request)
        serve = self._origins.get(request.address)
        if serve is None:
            raise DialFailed(f"nobody at {request.address}", address=request.address)
        near, far = socket_pair()
        far.settimeout(TIMEOUT)
        gevent.spawn(_run, serve, far)
        return near

    def bind(self, request: Request, **options: Any) -> Any:
        raise DialFailed("no binding here")


def _run(serve: Callable[[Conn], None], conn: Conn) -> None:
    try:
        serve(conn)
    except (GostError, OSError):
        pass  # the test closed the other end
    if conn.sink is None:
        conn.close()


def context_of(origins: dict[str, Callable[[Conn], None]], **facts: Any) -> HandlerContext:
    return HandlerContext("test", Quiet(), Way(origins), **facts)


def client_of(handler: Any) -> Conn:
    """A client's conn to a handler that serves it."""
    near, far = socket_pair()
    far.info.peer = ("192.0.2.9", 4711)
    near.settimeout(TIMEOUT)
    gevent.spawn(_run, handler.handle, far)
    return near


def read_all(conn: Conn) -> bytes:
    data = b""
    while piece := conn.recv():
        data += piece
    return data


def ask(handler: Any, *pieces: bytes) -> bytes:
    """Everything that is answered until the handler closes."""
    conn = client_of(handler)
    for piece in pieces:
        conn.sendall(piece)
    data = read_all(conn)
    conn.close()
    return data


def expect(conn: Conn, data: bytes) -> None:
    """Exactly these bytes come next."""
    assert conn.read_exact(len(data)) == data


def scripted(*steps: tuple[bytes, bytes]) -> Callable[[Conn], None]:
    """An origin that expects and answers in turn, and ends."""

    def serve(conn: Conn) -> None:
        for expected, answer in steps:
            seen = conn.read_exact(len(expected))
            conn.sendall(answer if seen == expected else b"unexpected " + seen)

    return serve
