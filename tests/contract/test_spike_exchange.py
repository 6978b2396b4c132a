"""The contracts are enough for exchanges: a request is answered after its target was dialed.

Wire      ``METHOD AUTHORITY\\n`` and an answer ``STATUS\\n``; then bytes both ways
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest

from gostpy.channel.listener import StackListener
from gostpy.channel.tcp import Carrier, ListenOptions
from gostpy.errors import ProtocolError, RouteError
from gostpy.guard.points import GuardPoints
from gostpy.interfaces import Context, Exchange, ExchangeRequest
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint
from gostpy.observe.log import Logger, Sink
from gostpy.processing.context import HandlerContext
from gostpy.route.router import Router
from gostpy.service import Service
from tests.engine.running import Stage, dial, eventually, read_all, read_exact


class ToyExchange:
    """One request of a conn."""

    def __init__(self, conn: Conn, request: ExchangeRequest) -> None:
        self._conn = conn
        self._answered = False
        self.request = request
        self.info: ConnInfo = conn.info
        self.meter: Any = None

    @property
    def sink(self) -> Any:
        return self._conn.sink

    def respond(
        self, status: int, headers: Sequence[tuple[str, str]] = (), *, end: bool = False
    ) -> Conn:
        assert not self._answered
        self._answered = True
        self._conn.sendall(b"%d\n" % status)
        self._conn.meter = self.meter
        if end:
            self._conn.shut()
        return self._conn

    def close(self, now: bool = False) -> None:
        if not self._answered and not self._conn.closed:
            self.respond(500, end=True)
        self._conn.close(now)


class ToyMux:
    """Delivers exchanges where others deliver streams."""

    def serve(self, conn: Conn, deliver: Any) -> None:
        words = conn.read_until(b"\n", 100).decode("ascii", "replace").split()
        if len(words) != 2:
            raise ProtocolError("a request has two words")
        deliver(ToyExchange(conn, ExchangeRequest(words[0], authority=words[1])))

    def connect(self, conn: Conn) -> Any:
        raise NotImplementedError


class ToyHandler:
    """Dials first, answers then."""

    def __init__(self, context: HandlerContext) -> None:
        self.context = context

    def handle(self, exchange: Exchange) -> None:
        asked = exchange.request
        request = self.context.request(exchange, "tcp", asked.authority)
        try:
            upstream = self.context.dial(request)
        except RouteError:
            exchange.respond(503, end=True)
            raise
        self.context.relay(exchange.respond(200), upstream, request)


class Toy:
    def __init__(self, guards: GuardPoints) -> None:
        self.lines: list[bytes] = []
        log = Logger(Sink(self.lines.append))
        context = Context("127.0.0.1:0", log, listening=True)
        carrier = Carrier(ListenOptions(), context)
        listener = StackListener(carrier, [], ToyMux(), guards, context)
        handler = ToyHandler(HandlerContext("toy", log, Router()))
        self.service = Service("toy", listener, handler, guards, log)
        self.service.listen()
        self.service.start()

    @property
    def port(self) -> int:
        return self.service.listener.address[1]


@pytest.fixture
def toy():
    made = Toy(GuardPoints())
    yield made
    made.service.close()


def ask(port: int, line: bytes) -> tuple[bytes, socket.socket]:
    sock = dial(port)
    sock.sendall(line)
    return read_exact(sock, 4), sock


def test_answer_comes_after_dialing(stage: Stage, toy: Toy) -> None:
    status, sock = ask(toy.port, b"CONNECT 127.0.0.1:%d\nhello" % stage.echo())
    with sock:
        assert status == b"200\n"
        assert read_exact(sock, 5) == b"hello"
        sock.sendall(b"again")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"again"
    eventually(lambda: any(b">-<" in line for line in toy.lines))


def test_refusal_is_an_answer(stage: Stage, toy: Toy) -> None:
    status, sock = ask(toy.port, b"CONNECT 127.0.0.1:%d\n" % stage.dead_port())
    with sock:
        assert status == b"503\n"
        assert read_all(sock) == b""
    assert len([line for line in toy.lines if b'"error"' in line]) == 1


def test_guards_hold_for_exchanges(stage: Stage) -> None:
    class Count:
        size = 0

        def received(self, size: int) -> float:
            self.size += size
            return 0.0

        sent = received

    meter = Count()
    toy = Toy(GuardPoints(conn_meter=lambda _: meter))
    try:
        status, sock = ask(toy.port, b"CONNECT 127.0.0.1:%d\n" % stage.greeter("12345"))
        with sock:
            assert status == b"200\n"
            assert read_all(sock) == b"12345"
        assert meter.size >= 5
    finally:
        toy.service.close()


def test_endpoint_of_an_exchange_is_ordinary(toy: Toy, stage: Stage) -> None:
    """The conn that ``respond`` returns goes through the fast path of a pipe."""
    seen = []
    handle = toy.service.handler.handle

    def spy(exchange: Any) -> None:
        seen.append(exchange)
        handle(exchange)

    toy.service.handler.handle = spy
    _, sock = ask(toy.port, b"CONNECT 127.0.0.1:%d\n" % stage.greeter("x"))
    with sock:
        assert read_all(sock) == b"x"
    assert type(seen[0]._conn.endpoint) is SocketEndpoint
