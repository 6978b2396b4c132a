"""h3, wt, http3 and h3-masque: options, sessions, and peers that break the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from gostpy.channel import h3, http3, masque, wt
from gostpy.errors import ConfigError, ConnectionClosed, GostError, HandshakeFailed
from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import parse
from gostpy.stream.http3 import Session
from gostpy.stream.pht import Paths, Tunnels
from gostpy.stream.phthttp2 import Served
from gostpy.wire import http3 as wire
from tests.channel.fakes import SilentLog
from tests.channel.http3ends import Far, get, read_to_end
from tests.engine.running import eventually

pytestmark = pytest.mark.timeout(30)

PATHS = {"pht.authorizePath": "/a", "pht.pushPath": "/b", "pht.pullPath": "/c"}
DRAFT = ("sec-webtransport-http3-draft02", "1")


def context(address: str = "node.test:443", listening: bool = False) -> Context:
    return Context(address, SilentLog(), listening=listening)


@pytest.fixture
def far() -> Iterator[Any]:
    made: list[Far] = []

    def make(serve: Any, **options: Any) -> Far:
        made.append(Far(serve, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def echo(conn: Conn) -> None:
    def run() -> None:
        try:
            while data := conn.recv():
                conn.sendall(data)
            conn.shut()
        except (GostError, OSError):
            conn.close(True)

    gevent.spawn(run)


def answering(seen: list[Any]) -> Any:
    """A server that notes requests and says yes to them all."""

    def asked(stream: Any) -> None:
        seen.append(stream.request)
        stream.respond(200)

    settings = {wire.H3_DATAGRAM: 1, wire.WEBTRANSPORT: 1}
    return lambda quic: Session(quic, False, asked, settings)


# -- h3 --------------------------------------------------------------------------------------------


@pytest.mark.effect("listener:h3", "pht.authorizePath", "pht.pushPath", "pht.pullPath")
def test_paths_of_the_listener(far: Any) -> None:
    mux = h3.Mux(parse(h3.ListenOptions, PATHS), context(listening=True))
    client = far(lambda quic: mux.serve(quic, echo)).client()
    stream, answer = get(client, "/a")
    token = read_to_end(stream.conn).decode()
    assert (answer.status, token[:6]) == (200, "token=")
    assert get(client, f"/c?{token}")[1].status == 200
    assert get(client, f"/b?{token}", method="POST")[1].status == 200
    for path in ("/authorize", "/push", "/pull"):
        assert get(client, path)[1].status == 404


@pytest.mark.effect("dialer:h3", "pht.authorizePath", "pht.pushPath", "pht.pullPath", "host")
@pytest.mark.effect("dialer:http3", "pht.authorizePath", "pht.pushPath", "pht.pullPath", "host")
def test_paths_and_host_of_the_dialer(far: Any) -> None:
    tunnels = Tunnels(Paths("/a", "/b", "/c"), echo)
    seen: list[Any] = []

    def asked(stream: Any) -> None:
        seen.append(stream.request)
        Served(stream).start(tunnels)

    server = far(lambda quic: Session(quic, False, asked))
    mux = h3.Mux(parse(h3.DialOptions, {**PATHS, "host": "front.test"}), context())
    session = mux.connect(server.quic())
    conn = session.open()
    conn.sendall(b"hello")
    assert conn.read_exact(5) == b"hello"
    assert {request.path.partition("?")[0] for request in seen} == {"/a", "/b", "/c"}
    assert {request.authority for request in seen} == {"front.test:443"}
    assert {request.scheme for request in seen} == {"https"}
    session.close()


def test_h3_with_something_else(far: Any) -> None:
    other = http3.Mux(http3.Options(), context(listening=True))
    server = far(lambda quic: other.serve(quic, lambda exchange: exchange.respond(404, end=True)))
    mux = h3.Mux(h3.DialOptions(), context())
    with pytest.raises(HandshakeFailed):
        mux.connect(server.quic())


# -- wt --------------------------------------------------------------------------------------------


def web(server: Far, **options: Any) -> Any:
    """A WebTransport session with a listener."""
    return wt.Mux(parse(wt.DialOptions, options), context()).connect(server.quic())


def transport(**options: Any) -> Any:
    mux = wt.Mux(parse(wt.ListenOptions, options), context(listening=True))
    return lambda quic: mux.serve(quic, echo)


@pytest.mark.effect("listener:wt", "wt.path")
def test_path_of_the_listener(far: Any) -> None:
    server = far(transport(path="/t"))
    conn = web(server, path="/t").open()
    conn.sendall(b"hello")
    assert conn.read_exact(5) == b"hello"
    with pytest.raises(HandshakeFailed, match="404"):
        web(server)


@pytest.mark.effect("dialer:wt", "wt.path", "wt.host", "wt.header")
def test_request_of_the_dialer(far: Any) -> None:
    seen: list[Any] = []
    server = far(answering(seen))
    metadata = {"wt.path": "/t", "wt.host": "front.test:99", "wt.header": {"X-A": "1"}}
    web(server, **metadata)
    (request,) = seen
    assert (request.method, request.protocol) == ("CONNECT", "webtransport")
    assert (request.path, request.authority, request.scheme) == ("/t", "front.test", "https")
    assert ("x-a", "1") in request.headers
    assert DRAFT in request.headers


def test_header_that_cannot_be_sent() -> None:
    with pytest.raises(ConfigError):
        wt.Mux(wt.DialOptions(header={"a b": "c"}), context())


def test_half_close_and_both_ways(far: Any) -> None:
    session = web(far(transport()))
    data = bytes(range(256)) * 2000
    conn = session.open()
    sending = gevent.spawn(lambda: (conn.sendall(data), conn.shut()))
    assert read_to_end(conn) == data
    sending.get(timeout=5)
    assert session.stream_count == 1
    conn.close()
    assert session.stream_count == 0


@pytest.mark.parametrize(
    ("method", "protocol", "lines", "status"),
    [
        pytest.param("GET", "", [], 500, id="no CONNECT"),
        pytest.param("CONNECT", "websocket", [DRAFT], 500, id="another protocol"),
        pytest.param("CONNECT", "webtransport", [], 500, id="another draft"),
    ],
)
def test_requests_that_begin_no_session(
    far: Any, method: str, protocol: str, lines: Any, status: int
) -> None:
    """The answers are those of gost's server."""
    client = far(transport()).client()
    extra = [(":protocol", protocol)] if protocol else []
    fields = [(":method", method), *extra, (":scheme", "https"), (":authority", "a.test")]
    stream = client.request([*fields, (":path", "/wt"), *lines], end=True)
    assert stream.response().status == status


def test_client_address_in_a_header(far: Any) -> None:
    delivered: list[Conn] = []
    mux = wt.Mux(wt.ListenOptions(), context(listening=True))
    server = far(lambda quic: mux.serve(quic, delivered.append))
    conn = web(server, header={"X-Forwarded-For": "192.0.2.7, 10.0.0.1"}).open()
    conn.sendall(b"x")
    eventually(lambda: delivered)
    assert delivered[0].info.source == ("192.0.2.7", 0)


def test_server_without_webtransport(far: Any) -> None:
    server = far(lambda quic: Session(quic, False, lambda _: None))
    with pytest.raises(HandshakeFailed):
        web(server)


class ByHand(Session):
    """A client that keeps the bytes of one stream as they come."""

    watched = -1
    heard = b""

    def stream_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        if stream_id == self.watched:
            self.heard += data
        else:
            super().stream_data(stream_id, data, ended)


@pytest.mark.parametrize("path", ["/wt", "/other"], ids=["accepted", "refused"])
def test_streams_before_their_session(far: Any, path: str) -> None:
    """They wait for the CONNECT, and share its lot."""
    server = far(transport())
    client = ByHand(server.quic(), True)
    connect, early = client.open().endpoint, client.open().endpoint
    client.watched = early.stream_id
    head = wire.varint(wire.WEBTRANSPORT_STREAM) + wire.varint(connect.stream_id)
    client.core.send_stream_data(early.stream_id, head + b"hello", True)
    eventually(lambda: server.sessions and server.sessions[0].stream_count == 1)
    fields = [(":method", "CONNECT"), (":protocol", "webtransport"), (":scheme", "https")]
    connect.ask([*fields, (":authority", "a.test"), (":path", path), DRAFT])
    if path == "/wt":
        assert connect.response().status == 200
        eventually(lambda: client.heard == b"hello")
    else:
        assert connect.response().status == 404
        eventually(lambda: early.reason is not None)


def test_streams_of_no_session_are_bounded(far: Any) -> None:
    server = far(transport())
    client = server.client()
    head = wire.varint(wire.WEBTRANSPORT_STREAM) + wire.varint(4000)
    streams = [client.open().endpoint for _ in range(40)]
    for stream in streams:
        client.core.send_stream_data(stream.stream_id, head + b"x")
    eventually(lambda: sum(stream.reason is not None for stream in streams) >= 24)
    assert server.sessions[0].stream_count <= 16


def test_end_of_a_session_ends_its_streams(far: Any) -> None:
    server = far(transport())
    session = web(server)
    conn = session.open()
    conn.sendall(b"x")
    assert conn.read_exact(1) == b"x"
    eventually(lambda: server.sessions[0].stream_count == 2)
    capsule = wire.frame(wire.CLOSE_SESSION, bytes(4) + b"bye")
    connect = session._streams[session._number]
    connect.conn.write(capsule)
    with pytest.raises(ConnectionClosed):
        read_to_end(conn)
    eventually(lambda: not server.sessions[0].stream_count)


# -- masque ----------------------------------------------------------------------------------------


@pytest.mark.effect("dialer:h3-masque", "host")
def test_host_of_the_masque_dialer(far: Any) -> None:
    server = far(answering([]))
    mux = masque.Mux(parse(masque.DialOptions, {"host": "front.test:1"}), context())
    assert mux.connect(server.quic()).authority == "front.test"
    mux = masque.Mux(masque.DialOptions(), context())
    assert mux.connect(server.quic()).authority == "node.test"


@pytest.mark.effect("listener:http3", "enableDatagrams")
@pytest.mark.parametrize("on", [True, False])
def test_datagrams_of_the_listener(far: Any, on: bool) -> None:
    mux = http3.Mux(http3.Options(), context(listening=True))
    client = far(lambda quic: mux.serve(quic, lambda _: None), datagrams=on).client()
    with gevent.Timeout(5):
        assert bool(client.settled().get(wire.H3_DATAGRAM)) == on


# -- peers that break the rules --------------------------------------------------------------------


def control(*frames: bytes) -> bytes:
    return wire.varint(wire.CONTROL) + b"".join(frames)


SETTINGS = wire.settings({})
HEADERS = wire.HeaderCodec().encode(
    0, [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
)

FATAL = [
    pytest.param([(True, control(wire.frame(wire.GOAWAY, b"\0")))], 0x10A, id="no settings"),
    pytest.param([(True, control(SETTINGS, SETTINGS))], 0x105, id="settings twice"),
    pytest.param([(True, control(SETTINGS)), (True, control(SETTINGS))], 0x103, id="two controls"),
    pytest.param([(True, control(SETTINGS, wire.frame(wire.DATA)))], 0x105, id="data on control"),
    pytest.param([(True, control(wire.settings({2: 0})))], 0x109, id="setting of http/2"),
    pytest.param([(True, wire.varint(wire.PUSH))], 0x103, id="push"),
    pytest.param([(False, wire.frame(wire.DATA, b"x"))], 0x105, id="data before headers"),
    pytest.param([(False, SETTINGS)], 0x105, id="settings on a request"),
    pytest.param([(False, wire.frame(wire.HEADERS, b"\xff" * 9))], 0x200, id="header block"),
    pytest.param([(False, b"\x01\x80\x01\x00\x01")], 0x107, id="oversized headers"),
]


@pytest.mark.parametrize(("streams", "code"), FATAL)
def test_connection_ends_with_its_error(far: Any, streams: Any, code: int) -> None:
    mux = http3.Mux(http3.Options(), context(listening=True))
    server = far(lambda quic: mux.serve(quic, lambda _: None))
    other = server.client()
    quic = server.quic()
    for one_way, data in streams:
        quic.core.send_stream_data(quic.core.open_stream(one_way), data)
    eventually(lambda: not quic.alive)
    eventually(lambda: quic.core._close_event is not None)
    assert quic.core._close_event.error_code == code
    with gevent.Timeout(5):
        other.settled()  # other connections go on
    assert other.alive


@pytest.mark.parametrize(
    ("data", "end"),
    [
        pytest.param(wire.HeaderCodec().encode(0, [(":method", "GET")]), False, id="no path"),
        pytest.param(
            wire.HeaderCodec().encode(
                0,
                [
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", "a"),
                    (":path", "/"),
                    ("A", "b"),
                ],
            ),
            False,
            id="upper case",
        ),
        pytest.param(b"", True, id="nothing at all"),
        pytest.param(wire.frame(0x21), True, id="an unknown frame"),
    ],
)
def test_one_request_is_refused(far: Any, data: bytes, end: bool) -> None:
    mux = http3.Mux(http3.Options(), context(listening=True))
    server = far(lambda quic: mux.serve(quic, lambda _: None))
    client = server.client()
    stream = client.open().endpoint
    client.core.send_stream_data(stream.stream_id, data, end)
    eventually(lambda: stream.reason is not None)
    assert client.alive
    eventually(lambda: not server.sessions[0].stream_count)


@pytest.mark.parametrize("sent", [b"short", b"much too long"], ids=["short", "long"])
def test_body_of_another_length(far: Any, sent: bytes) -> None:
    exchanges: list[Any] = []
    mux = http3.Mux(http3.Options(), context(listening=True))
    server = far(lambda quic: mux.serve(quic, exchanges.append))
    client = server.client()
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
    stream = client.request([*fields, ("content-length", "9")])
    stream.conn.write(sent)
    stream.conn.shut()
    eventually(lambda: exchanges and exchanges[0].conn.endpoint.reason is not None)
    assert client.alive
    exchanges[0].close()


def test_unknown_things_are_ignored(far: Any) -> None:
    seen: list[Any] = []
    client = far(answering(seen)).client()
    core = client.core
    core.send_stream_data(core.open_stream(True), wire.varint(0x21) + bytes(100_000))
    core.send_stream_data(core.open_stream(True), wire.varint(wire.QPACK_ENCODER) + bytes(9))
    core.send_datagram_frame(wire.varint(77) + b"for nobody")
    core.send_datagram_frame(b"")
    stream = client.open().endpoint
    core.send_stream_data(stream.stream_id, wire.frame(0x4242, bytes(100_000)) + HEADERS)
    eventually(lambda: seen)
    assert client.alive


def test_reader_that_stops_stops_its_sender(far: Any) -> None:
    exchanges: list[Any] = []
    mux = http3.Mux(http3.Options(), context(listening=True))
    client = far(lambda quic: mux.serve(quic, exchanges.append)).client()
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
    conn = client.request(fields).conn
    sending = gevent.spawn(conn.sendall, bytes(16 << 20))
    eventually(lambda: exchanges and exchanges[0].conn.endpoint.waiting > 400_000)
    gevent.sleep(0.2)
    assert exchanges[0].conn.endpoint.waiting < 1 << 20
    assert not sending.ready()
    sending.kill()
    exchanges[0].close(True)
