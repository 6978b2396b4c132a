"""h2, h2c and http2 on real conns: options, refusals, versions of HTTP, the client's address."""

from __future__ import annotations

import base64
from typing import Any

import gevent
import pytest

from gostpy.channel import h2, h2tls, http2
from gostpy.errors import ConfigError, HandshakeFailed, ProtocolError, Unsupported
from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import parse
from gostpy.stream.http2 import Session, Stream
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.http2 import PREFACE, settings
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair

pytestmark = pytest.mark.timeout(20)

CONNECT = [(":method", "CONNECT"), (":authority", "h:1")]


class Pair:
    """A dialer and a listener of h2c joined back to back."""

    def __init__(
        self, listen: Any = None, dial: Any = None, mux: Any = h2.Mux, module: Any = h2
    ) -> None:
        self.log = SilentLog()
        self.conns: list[Any] = []
        self.near, self.far = socket_pair()
        self.far.info.peer = ("192.0.2.1", 5)
        serving = mux(
            parse(module.ListenOptions, listen), Context("127.0.0.1:80", self.log, listening=True)
        )
        self.dialing = mux(parse(module.DialOptions, dial), Context("node.test:80", self.log))
        self.server = gevent.spawn(serving.serve, self.far, self.conns.append)

    def session(self) -> Any:
        return self.dialing.connect(self.near)

    def raw(self, data: bytes) -> bytes:
        """What is answered to bytes of ours, until the end."""
        self.near.timeout = 5.0
        self.near.sendall(data)
        answer = b""
        while piece := self.near.recv():
            answer += piece
        return answer


def asked(conn: Any) -> Any:
    return conn.endpoint.request


def test_a_tunnel() -> None:
    pair = Pair()
    conn = pair.session().open()
    (other,) = pair.conns
    assert (asked(other).method, asked(other).authority) == ("CONNECT", "node.test:80")
    assert dict(asked(other).headers) == {
        "accept-encoding": "gzip",
        "user-agent": "Go-http-client/2.0",
    }
    conn.sendall(b"ping")
    assert other.recv() == b"ping"
    other.sendall(b"pong")
    assert conn.recv() == b"pong"


@pytest.mark.effect("dialer:h2c", "host", "header")
def test_host_and_header() -> None:
    pair = Pair(dial={"host": "front.test:7", "header": {"X-One": "1", "User-Agent": "me"}})
    pair.session().open()
    (other,) = pair.conns
    assert asked(other).authority == "front.test:7"
    assert dict(asked(other).headers) == {
        "accept-encoding": "gzip",
        "user-agent": "me",
        "x-one": "1",
    }


@pytest.mark.effect("dialer:h2c", "path")
@pytest.mark.effect("listener:h2c", "path")
@pytest.mark.parametrize(
    ("listen", "dial", "status"),
    [
        pytest.param({"path": "/t"}, {"path": "/t"}, 200, id="same"),
        pytest.param({"path": "/t"}, {"path": "/u"}, 400, id="other"),
        pytest.param({"path": "/t"}, {}, 400, id="connect to a path"),
        pytest.param({}, {"path": "/t"}, 405, id="path at connect"),
    ],
)
def test_paths(listen: Any, dial: Any, status: int) -> None:
    pair = Pair(listen, dial)
    session = pair.session()
    if status == 200:
        session.open()
        assert asked(pair.conns[0]).method == "GET"
        return
    with pytest.raises(HandshakeFailed, match=str(status)):
        session.open()
    assert not pair.conns
    assert session.alive


@pytest.mark.parametrize(
    "dial",
    [{"path": "no-slash"}, {"host": "a\r\nb"}, {"header": {"a b": "c"}}, {"header": {"a": "b\n"}}],
)
def test_what_cannot_be_sent_is_refused(dial: Any) -> None:
    with pytest.raises(ConfigError):
        Pair(dial=dial)


@pytest.mark.parametrize(
    ("header", "source"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"X-Forwarded-For": "10.1.2.3, 10.9.9.9"}, ("10.1.2.3", 0), id="forwarded"),
        pytest.param({"X-Real-Ip": "10.1.2.4"}, ("10.1.2.4", 0), id="real ip"),
        pytest.param(
            {"X-Real-Ip": "10.1.2.4", "CF-Connecting-IP": "2001:db8::1"},
            ("2001:db8::1", 0),
            id="first of them",
        ),
        pytest.param({"X-Forwarded-For": "nobody"}, None, id="no address"),
    ],
)
def test_client_address(header: Any, source: Any) -> None:
    pair = Pair(dial={"header": header})
    pair.session().open()
    (other,) = pair.conns
    assert other.info.source == source
    assert other.info.peer == ("192.0.2.1", 5)


def test_a_node_that_ends_the_session_is_not_asked_again_and_again() -> None:
    pair = Pair()
    session = pair.session()
    pair.server.get(timeout=5)
    opening = gevent.spawn(session.open)
    pair.far.close(True)
    with pytest.raises(HandshakeFailed):
        opening.get(timeout=5)


def test_a_node_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "ANSWER_TIMEOUT", 0.05)
    near, far = socket_pair()
    session = h2.Mux(parse(h2.DialOptions, None), Context("node.test:80", SilentLog())).connect(
        near
    )
    far.sendall(settings([]))
    with pytest.raises(TimeoutError):
        gevent.spawn(session.open).get(timeout=5)
    assert not session.stream_count


# -- versions of HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "request_line", "answer"),
    [
        pytest.param({}, b"GET / HTTP/1.1", b"HTTP/1.1 405 ", id="get"),
        pytest.param({}, b"CONNECT h:1 HTTP/1.1", b"HTTP/1.1 426 ", id="connect"),
        pytest.param({"path": "/t"}, b"GET /t HTTP/1.1", b"HTTP/1.1 426 ", id="path"),
        pytest.param({"path": "/t"}, b"GET / HTTP/1.1", b"HTTP/1.1 400 ", id="other path"),
    ],
)
def test_http1_is_refused(listen: Any, request_line: bytes, answer: bytes) -> None:
    assert Pair(listen).raw(request_line + b"\r\nHost: h\r\n\r\n").startswith(answer)


def upgrade(path: bytes = b"/t", *, value: bytes = b"", more: bytes = b"") -> bytes:
    first = value or base64.urlsafe_b64encode(settings([(4, 100)])[9:]).rstrip(b"=")
    return (
        b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: %b\r\nX-Real-Ip: 10.0.0.7\r\n%b\r\n" % (path, first, more)
    )


def test_upgrade() -> None:
    pair = Pair({"path": "/t"})
    near = pair.near
    near.timeout = 5.0
    near.sendall(upgrade())
    head = near.read_until(b"\r\n\r\n")
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c"
    client = Session(near, True)
    client._next = 3  # stream 1 is the request that was upgraded
    client._streams[1] = upgraded = Stream(client, 1)
    client.make_conn(upgraded)
    near.timeout = None
    client.start()
    pair.server.get(timeout=5)
    (first,) = pair.conns
    assert asked(first).path == "/t" and first.info.source == ("10.0.0.7", 0)
    assert dict(asked(first).headers) == {"x-real-ip": "10.0.0.7"}
    assert first.recv() == b""
    assert first.endpoint.session.stream_room == 100
    stream = client.request([(":method", "GET"), (":scheme", "http"), (":path", "/t")])
    assert stream.response().status == upgraded.response().status == 200


def test_upgrade_to_something_else_is_refused_by_its_stream() -> None:
    pair = Pair({"path": "/t"})
    pair.near.timeout = 5.0
    pair.near.sendall(upgrade(b"/other"))
    pair.server.get(timeout=5)
    assert not pair.conns


@pytest.mark.parametrize("value", [b"!!", b"AAA", b"AAAB_____w"])
def test_bad_settings_of_an_upgrade(value: bytes) -> None:
    pair = Pair({"path": "/t"})
    pair.near.sendall(upgrade(value=value))
    with pytest.raises(ProtocolError):
        pair.server.get(timeout=5)


def test_upgrade_with_a_body_is_not_taken_up() -> None:
    data = upgrade(more=b"Content-Length: 1\r\n") + b"x"
    assert Pair({"path": "/t"}).raw(data).startswith(b"HTTP/1.1 426 ")


@pytest.mark.parametrize("cut", range(1, len(PREFACE)))
def test_cut_preface(cut: int) -> None:
    pair = Pair()
    pair.near.sendall(PREFACE[:cut])
    pair.near.shut()
    with pytest.raises(ProtocolError):
        pair.server.get(timeout=5)


def test_nothing_at_all() -> None:
    pair = Pair()
    pair.near.shut()
    assert pair.server.get(timeout=5) is None


# -- http2 ---------------------------------------------------------------------------------------


def test_http2_delivers_exchanges() -> None:
    pair = Pair(mux=http2.Mux, module=http2)
    stream = pair.session().request([*CONNECT, ("x-real-ip", "10.1.1.1")])
    pair.server.get(timeout=5)
    gevent.idle()
    (exchange,) = pair.conns
    assert isinstance(exchange, StreamExchange)
    assert exchange.request.authority == "h:1"
    assert exchange.info.source == ("10.1.1.1", 0)
    exchange.meter = "meter"
    assert exchange.respond(201, [("x", "y")]).meter == "meter"
    assert stream.response().status == 201
    assert stream.answer.get("x") == "y" and stream.answer.get("date")


def test_http2_exchange_without_an_answer_is_refused() -> None:
    pair = Pair(mux=http2.Mux, module=http2)
    stream = pair.session().request(CONNECT)
    pair.server.get(timeout=5)
    gevent.idle()
    pair.conns[0].close()
    assert stream.response().status == 503
    assert stream.answer.get("content-length") == "0"


def test_http2_delivers_conns_of_http1() -> None:
    pair = Pair(mux=http2.Mux, module=http2)
    pair.near.sendall(b"GET / HTTP/1.1\r\n")
    pair.server.get(timeout=5)
    (conn,) = pair.conns
    assert isinstance(conn, Conn)
    assert conn.recv() == b"GET / HTTP/1.1\r\n"


# -- TLS -----------------------------------------------------------------------------------------


def layers() -> tuple[Any, Any]:
    log = SilentLog()
    return (
        h2tls.Layer(h2tls.ListenOptions(), Context("127.0.0.1:443", log, listening=True)),
        h2tls.Layer(h2tls.DialOptions(), Context("127.0.0.1:443", log)),
    )


def test_tls_agrees_on_h2() -> None:
    serving, dialing = layers()
    near, far = socket_pair()
    accepting = gevent.spawn(serving.accept, far)
    dialing.connect(near)
    near.sendall(b"x")
    accepting.get(timeout=5)
    assert near.info.tls.alpn == far.info.tls.alpn == "h2"


def test_a_node_without_h2_is_refused() -> None:
    from gostpy.channel import tls

    _, dialing = layers()
    serving = tls.Layer(tls.ListenOptions(), Context("127.0.0.1:443", SilentLog(), listening=True))
    near, far = socket_pair()
    gevent.spawn(serving.accept, far)
    with pytest.raises(HandshakeFailed, match="ALPN"):
        dialing.connect(near)


def test_a_request_without_tls_is_told_so() -> None:
    serving, _ = layers()
    near, far = socket_pair()
    near.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(HandshakeFailed):
        serving.accept(far)
    assert near.recv().startswith(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent")


def test_a_handler_that_wants_bytes_is_told() -> None:
    pair = Pair(mux=http2.Mux, module=http2)
    stream = pair.session().request(CONNECT)
    pair.server.get(timeout=5)
    gevent.idle()
    (exchange,) = pair.conns
    with pytest.raises(Unsupported, match="byte stream"):
        exchange.recv()
    exchange.close()
    assert stream.response().status == 503
