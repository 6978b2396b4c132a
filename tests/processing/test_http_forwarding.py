"""Plain forwarding: requests for http:// URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from gostpy.net.conn import Conn
from gostpy.options import parse
from gostpy.processing.http import Handler, HandlerOptions
from gostpy.wire.httptarget import encode_name
from tests.processing.playing import ask, client_of, context_of, expect, read_all, scripted

AGENT = b"User-Agent: Go-http-client/1.1\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def handler_of(origins: dict[str, Callable[[Conn], None]], **options: Any) -> Any:
    handler: Any = Handler(parse(HandlerOptions, options), context_of(origins))
    handler.way = handler._context.router
    return handler


def upstream(lines: bytes = b"", target: bytes = b"/", method: bytes = b"GET") -> bytes:
    """A request as the origin gets it."""
    return b"%s %s HTTP/1.1\r\nHost: h\r\n%s%sConnection: close\r\n\r\n" % (
        method,
        target,
        AGENT,
        lines,
    )


EXCHANGES = [
    pytest.param(
        b"GET http://h/a?b HTTP/1.1\r\nHost: other\r\nb: 1\r\nProxy-Connection: x\r\n"
        b"Proxy-Authorization: y\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\nVia: z\r\n"
        b"X-Gost-Protocol: tcp\r\n\r\n",
        upstream(b"b: 1\r\nVia: z\r\nX-Gost-Protocol: tcp\r\n", b"/a?b"),
        OK,
        OK,
        id="lines that are dropped and kept",
    ),
    pytest.param(
        b"GET http://h HTTP/1.1\r\nUser-Agent: me\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: me\r\nConnection: close\r\n\r\n",
        OK,
        OK,
        id="user agent",
    ),
    pytest.param(
        b"GET http://fake/ HTTP/1.1\r\nGost-Target: %s\r\n\r\n" % encode_name("h").encode(),
        upstream(),
        OK,
        OK,
        id="hidden target",
    ),
    pytest.param(
        b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", upstream(target=b"/x"), OK, OK, id="origin form"
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        OK,
        id="the origin's own close",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\nT: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\nT: 1\r\n\r\n",
        id="chunked as it came",
    ),
    pytest.param(
        b"HEAD http://h/ HTTP/1.1\r\n\r\n",
        upstream(method=b"HEAD"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        id="no body to HEAD",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        id="provisional response",
    ),
    pytest.param(
        b"POST http://h/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        upstream(b"Content-Length: 3\r\n", method=b"POST") + b"abc",
        OK,
        OK,
        id="body",
    ),
    pytest.param(
        b"POST http://h/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
        upstream(b"Transfer-Encoding: chunked\r\n", method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n",
        OK,
        OK,
        id="chunked body, and a length that is not passed on",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        upstream(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
        id="old client that goes on",
    ),
]


@pytest.mark.parametrize(("sent", "seen", "answer", "got"), EXCHANGES)
def test_exchange_and_the_next_one(sent: bytes, seen: bytes, answer: bytes, got: bytes) -> None:
    handler = handler_of({"h:80": scripted((seen, answer))})
    conn = client_of(handler)
    for _ in range(2):
        conn.sendall(sent)
        expect(conn, got)
    conn.sendall(sent * 2)  # pipelined
    expect(conn, got * 2)
    conn.close()


@pytest.mark.parametrize(("sent", "seen", "answer", "got"), EXCHANGES)
def test_exchange_byte_by_byte(sent: bytes, seen: bytes, answer: bytes, got: bytes) -> None:
    def slow(conn: Conn) -> None:
        assert conn.read_exact(len(seen)) == seen
        for byte in answer:
            conn.sendall(bytes((byte,)))
            gevent.sleep(0)

    conn = client_of(handler_of({"h:80": slow}))
    for byte in sent:
        conn.sendall(bytes((byte,)))
        gevent.sleep(0)
    expect(conn, got)
    conn.close()


LAST = [
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\nConnection: close\r\n\r\n",
        upstream(),
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        id="the client asked for it",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.0\r\n\r\n",
        upstream(),
        OK,
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        id="old client",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 100000,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 100000,
        id="unknown length",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        upstream(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nok!",
        id="chunked to an old client",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"what?\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        id="no response",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        id="nothing at all",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        id="cut short",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\n\r\n",
        upstream(),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"",
        id="a switch that was not asked for",
    ),
]


@pytest.mark.parametrize(("sent", "seen", "answer", "got"), LAST)
def test_exchanges_that_end_the_connection(
    sent: bytes, seen: bytes, answer: bytes, got: bytes
) -> None:
    assert ask(handler_of({"h:80": scripted((seen, answer))}), sent) == got


def test_upgrade() -> None:
    request = b"GET http://h/ HTTP/1.1\r\nUpgrade: Foo\r\nConnection: keep-alive, Upgrade\r\n\r\n"
    seen = b"GET / HTTP/1.1\r\nHost: h\r\n" + AGENT
    seen += b"Upgrade: Foo\r\nConnection: keep-alive, Upgrade\r\n\r\n"
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
    conn = client_of(handler_of({"h:80": scripted((seen, answer + b"hi"), (b"abc", b"def"))}))
    conn.sendall(request)
    expect(conn, answer + b"hi")
    conn.sendall(b"abc")
    expect(conn, b"def")
    assert conn.recv() == b""
    conn.close()


def test_continue_is_the_origins_word() -> None:
    head = b"Expect: 100-continue\r\nContent-Length: 5\r\n"
    seen = upstream(head, method=b"POST")
    conn = client_of(
        handler_of({"h:80": scripted((seen, b"HTTP/1.1 100 Continue\r\n\r\n"), (b"hello", OK))})
    )
    conn.sendall(b"POST http://h/ HTTP/1.1\r\n" + head + b"\r\n")
    expect(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
    conn.sendall(b"hello")
    expect(conn, OK)
    conn.close()


def test_a_response_before_the_request_is_complete() -> None:
    seen = upstream(b"Content-Length: 1000\r\n", method=b"POST")
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    conn = client_of(handler_of({"h:80": scripted((seen, refusal))}))
    conn.sendall(b"POST http://h/ HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
    closing = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert read_all(conn) == closing
    conn.close()


def test_a_client_that_ends_inside_its_request() -> None:
    ended = gevent.event.Event()

    def origin(conn: Conn) -> None:
        read_all(conn)
        ended.set()

    conn = client_of(handler_of({"h:80": origin}))
    conn.sendall(b"POST http://h/ HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc")
    conn.shut()
    assert ended.wait(5)
    conn.close()


def test_large_bodies_both_ways() -> None:
    size = 3_000_000

    def origin(conn: Conn) -> None:
        head = conn.read_until(b"\r\n\r\n")
        assert b"Content-Length: %d" % size in head
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        while left:  # every byte goes back while more are on their way
            data = conn.recv()
            left -= len(data)
            conn.sendall(data)

    conn = client_of(handler_of({"h:80": origin}))
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    head = b"POST http://h/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    sender = gevent.spawn(conn.sendall, head + body)
    expect(conn, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % size)
    rest = conn.read_until(b"\r\n\r\n")
    assert rest in (b"", b"Connection: close")
    assert conn.read_exact(size) == body
    sender.join(5)
    conn.close()


def test_no_answer_in_time() -> None:
    handler = handler_of({"h:80": lambda conn: conn.recv(1) and conn.recv()}, readTimeout="50ms")
    answer = ask(handler, b"GET http://h/ HTTP/1.1\r\n\r\n")
    assert answer == b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def test_later_requests_may_connect() -> None:
    handler = handler_of({"h:80": scripted((upstream(), OK)), "h:1": scripted((b"abc", b"def"))})
    conn = client_of(handler)
    conn.sendall(b"GET http://h/ HTTP/1.1\r\n\r\n")
    expect(conn, OK)
    conn.sendall(b"CONNECT h:1 HTTP/1.1\r\n\r\nabc")
    expect(conn, b"HTTP/1.1 200 Connection established\r\nProxy-Agent: gost/3.0\r\n\r\ndef")
    conn.close()


# -- keepalive -------------------------------------------------------------------------------------

KEPT = b"GET / HTTP/1.1\r\nHost: h\r\n" + AGENT + b"\r\n"


def test_an_origins_conn_is_used_again() -> None:
    handler = handler_of(
        {"h:80": scripted((KEPT, OK), (KEPT, OK), (KEPT, OK))}, **{"http.keepalive": True}
    )
    for _ in range(3):
        conn = client_of(handler)
        conn.sendall(b"GET http://h/ HTTP/1.1\r\n\r\n")
        expect(conn, OK)
        conn.close()
    assert len(handler.way.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="old origin"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", id="close"
        ),
        pytest.param(OK + b"more", id="more than its length"),
    ],
)
def test_an_origins_conn_that_cannot_be_used_again(answer: bytes) -> None:
    def origin(conn: Conn) -> None:
        while conn.read_until(b"\r\n\r\n"):
            conn.sendall(answer)

    handler = handler_of({"h:80": origin}, **{"http.keepalive": True})
    conn = client_of(handler)
    for _ in range(2):
        conn.sendall(b"GET http://h/ HTTP/1.1\r\n\r\n")
        expect(conn, OK)
    assert len(handler.way.asked) == 2
    conn.close()


def test_a_waiting_conn_that_ends_is_forgotten() -> None:
    handler = handler_of({"h:80": scripted((KEPT, OK))}, **{"http.keepalive": True})
    conn = client_of(handler)
    for number in range(3):
        conn.sendall(b"GET http://h/ HTTP/1.1\r\n\r\n")
        expect(conn, OK)
        while handler._forwarder._idle._conns:
            gevent.sleep(0)
        assert len(handler.way.asked) == number + 1
    conn.close()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        pytest.param(b"GET", OK, id="what may be repeated is"),
        pytest.param(b"POST", b"HTTP/1.1 503 Service Unavailable\r\n", id="nothing else"),
    ],
)
def test_a_waiting_conn_that_ends_at_the_next_request(method: bytes, answer: bytes) -> None:
    def origin(conn: Conn) -> None:
        conn.read_until(b"\r\n\r\n")
        conn.sendall(OK)
        conn.read_until(b"\r\n\r\n")

    conn = client_of(handler_of({"h:80": origin}, **{"http.keepalive": True}))
    conn.sendall(b"GET http://h/ HTTP/1.1\r\n\r\n")
    expect(conn, OK)
    conn.sendall(b"%s http://h/ HTTP/1.1\r\n\r\n" % method)
    expect(conn, answer)
    conn.close()
