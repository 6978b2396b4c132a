"""The http2 handler and connector, between an HTTP/2 client of the test and scripted origins."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import gevent
import pytest

from gostpy.errors import ConfigError, ConnectFailed, ConnectionClosed, Unsupported
from gostpy.interfaces import Context, Credentials, Request
from gostpy.net.conn import Conn
from gostpy.net.metered import join
from gostpy.options import Problem, parse
from gostpy.processing.http2 import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.stream.http2 import Session
from gostpy.stream.http2exchange import StreamExchange
from gostpy.wire.httptarget import encode_name
from tests.net.pairs import socket_pair
from tests.processing.playing import TIMEOUT, Quiet, _run, ask, context_of, scripted

pytestmark = pytest.mark.timeout(20)

LOGIN = ("proxy-authorization", "Basic " + base64.b64encode(b"u:p").decode())
CHALLENGE = 'Basic realm="gost"'


def only_u(user: str, password: str, client: str) -> str | None:
    return user if (user, password) == ("u", "p") else None


def echo(conn: Conn) -> None:
    while data := conn.recv():
        conn.sendall(data.upper())


class Proxy:
    """A handler behind a session, and the client's session."""

    def __init__(
        self, origins: dict[str, Any], options: dict[str, Any] | None = None, **facts: Any
    ) -> None:
        problems: list[Problem] = []
        made = parse(HandlerOptions, options, problems=problems)
        assert not problems
        self.context = context_of(origins, **facts)
        self.way: Any = self.context.router
        self.handler = Handler(made, self.context)
        self.exchanges: list[StreamExchange] = []
        near, far = socket_pair()
        far.info.peer = ("192.0.2.9", 4711)
        self.server = Session(far, False, self._serve)
        self.client = Session(near, True)
        self.server.start()
        self.client.start()

    def _serve(self, stream: Any) -> None:
        exchange = StreamExchange(stream)
        self.exchanges.append(exchange)
        gevent.spawn(_run_exchange, self.handler.handle, exchange)

    def connect(self, authority: str, *lines: tuple[str, str]) -> Any:
        """A stream with a CONNECT, whose answer has come."""
        return self._answered([(":method", "CONNECT"), (":authority", authority), *lines], False)

    def get(
        self,
        authority: str,
        path: str = "/",
        *lines: tuple[str, str],
        method: str = "GET",
        end: bool = True,
    ) -> Any:
        first = [(":method", method), (":scheme", "http"), (":path", path)]
        return self._answered([*first, (":authority", authority), *lines], end)

    def _answered(self, fields: list[tuple[str, str]], end: bool) -> Any:
        stream = self.client.request(fields, end=end)
        if end or fields[0][1] == "CONNECT":
            with gevent.Timeout(TIMEOUT):
                stream.response()
        return stream


def _run_exchange(handle: Any, exchange: StreamExchange) -> None:
    _run(handle, exchange)  # type: ignore[arg-type]


def read_all(stream: Any) -> bytes:
    data = b""
    with gevent.Timeout(TIMEOUT):
        while piece := stream.conn.recv():
            data += piece
    return data


def head(stream: Any) -> dict[str, str]:
    """The answer's lines but its date."""
    lines = dict(stream.answer.headers)
    assert lines.pop("date")
    return lines


# -- CONNECT -------------------------------------------------------------------------------------


def test_connect() -> None:
    stream = Proxy({"h:1": echo}).connect("h:1")
    assert (stream.answer.status, head(stream)) == (200, {})
    stream.conn.sendall(b"abc")
    assert stream.conn.recv() == b"ABC"
    stream.conn.shut()
    assert read_all(stream) == b""


def test_the_port_is_80_by_default() -> None:
    proxy = Proxy({"h:80": echo})
    assert proxy.connect("h").answer.status == 200


def test_a_hidden_target() -> None:
    proxy = Proxy({"h:1": echo})
    assert proxy.connect("x:9", ("gost-target", encode_name("h:1"))).answer.status == 200


@pytest.mark.parametrize("authority", ["h:port", "h:99999"])
def test_no_target(authority: str) -> None:
    assert Proxy({}).connect(authority).answer.status == 400


def test_target_that_cannot_be_reached() -> None:
    stream = Proxy({}).connect("h:1")
    assert (stream.answer.status, head(stream)) == (503, {"content-length": "0"})


def test_bypass() -> None:
    proxy = Proxy({"h:1": echo}, bypassed=lambda *facts: "rule" if facts[1] == "h:1" else "")
    stream = proxy.connect("h:1")
    assert (stream.answer.status, head(stream)) == (403, {"content-length": "0"})
    assert not proxy.way.asked


def test_request_rate() -> None:
    proxy = Proxy({"h:1": echo}, admit_request=lambda _: False)
    stream = proxy.connect("h:1")
    assert stream.answer.status == 503


@pytest.mark.effect("handler:http2", "http.header")
def test_configured_lines_are_in_every_answer() -> None:
    proxy = Proxy({"h:1": echo}, {"http.header": {"X-One": "1"}}, authenticate=only_u)
    assert head(proxy.connect("h:1", LOGIN)) == {"x-one": "1"}
    assert head(proxy.connect("i:1", LOGIN)) == {"x-one": "1", "content-length": "0"}
    assert head(proxy.connect("h:1"))["x-one"] == "1"


@pytest.mark.effect("handler:http2", "hash")
def test_hash() -> None:
    for value, expected in (("host", "h:1"), ("", "192.0.2.9")):
        proxy = Proxy({"h:1": echo}, {"hash": value})
        proxy.connect("h:1")
        assert proxy.way.asked[0].hash_source == expected


def test_bytes_are_counted_and_logged() -> None:
    counted = [0, 0]

    class Count:
        def received(self, size: int) -> float:
            counted[0] += size
            return 0.0

        def sent(self, size: int) -> float:
            counted[1] += size
            return 0.0

        def admits(self, size: int, outgoing: bool) -> bool:
            return True

    proxy = Proxy({"h:1": echo, "o:80": scripted((b"POST", OK))}, limit=lambda *_: Count())
    stream = proxy.connect("h:1")
    stream.conn.sendall(b"abc")
    assert stream.conn.recv() == b"ABC"
    stream.conn.shut()
    read_all(stream)
    assert counted == [3, 3]
    stream = proxy.get("o", method="POST", end=False)
    stream.conn.sendall(b"four")
    stream.conn.shut()
    assert read_all(stream) == b"fine"
    gevent.idle()
    assert counted == [7, 7]
    log: Any = proxy.context.log
    assert sum(">-<" in message for message in log.messages) == 2
    assert join(None, None) is None


# -- login ---------------------------------------------------------------------------------------


@pytest.mark.effect("handler:http2", "authBasicRealm")
def test_login() -> None:
    proxy = Proxy({"h:1": echo}, {"authBasicRealm": "here"}, authenticate=only_u)
    stream = proxy.connect("h:1")
    assert stream.answer.status == 407
    assert head(stream) == {"proxy-authenticate": 'Basic realm="here"', "content-length": "0"}
    assert proxy.connect("h:1", ("proxy-authorization", "Basic dTp4")).answer.status == 407
    assert proxy.connect("h:1", LOGIN).answer.status == 200
    assert proxy.way.asked[0].client_id == "u"


def test_realm_that_cannot_be_sent() -> None:
    with pytest.raises(ConfigError):
        Proxy({}, {"authBasicRealm": "a\nb"})


def served(data: bytes) -> int:
    """The port of a server that answers one request."""
    import socket

    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        sock, _ = server.accept()
        with sock:
            while b"\r\n\r\n" not in sock.recv(65536):
                pass
            sock.sendall(data)
        server.close()

    gevent.spawn(run)
    return int(server.getsockname()[1])


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\nX-A: b\r\n\r\nfine"


@pytest.mark.effect("handler:http2", "probeResist", "knock")
@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        pytest.param("code:404", 404, b"", id="code"),
        pytest.param("code:x", 503, b"", id="no code"),
        pytest.param("file:{folder}/page", 200, b"<p>hi", id="file"),
        pytest.param("file:{folder}/none", 503, b"", id="no file"),
        pytest.param("web:127.0.0.1:{port}/x", 200, b"fine", id="web"),
        pytest.param("web:127.0.0.1:1/", 503, b"", id="no web"),
        pytest.param("web:https://127.0.0.1/", 503, b"", id="https"),
        pytest.param("host:127.0.0.1:{port}", 200, b"fine", id="host"),
        pytest.param("host:127.0.0.1:1", 503, b"", id="no host"),
        pytest.param("what:ever", 503, b"", id="other"),
    ],
)
def test_decoys(tmp_path: Path, kind: str, status: int, body: bytes) -> None:
    (tmp_path / "page").write_bytes(b"<p>hi")
    port = served(OK) if "{port}" in kind else 0
    text = kind.format(folder=tmp_path, port=port)
    proxy = Proxy({}, {"probeResist": text, "knock": "Knock.test"}, authenticate=only_u)
    stream = proxy.get("h:1")
    assert stream.answer.status == status
    assert read_all(stream) == body
    assert "proxy-authenticate" not in head(stream)
    assert not proxy.way.asked
    assert proxy.connect("knock.TEST:80").answer.status == 407


# -- plain requests ------------------------------------------------------------------------------


def test_get() -> None:
    origin = scripted(
        (
            b"GET /p?q HTTP/1.1\r\nHost: o\r\nUser-Agent: me\r\nX-A: b\r\nCookie: a=1; b=2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: 5\r\nX-C: d\r\n\r\nfine",
        )
    )
    stream = Proxy({"o:80": origin}).get(
        "o",
        "/p?q",
        ("user-agent", "me"),
        ("cookie", "a=1"),
        ("x-a", "b"),
        ("proxy-authorization", "Basic eDp5"),
        ("te", "trailers"),
        ("cookie", "b=2"),
    )
    assert stream.answer.status == 200
    assert head(stream) == {"content-length": "4", "x-c": "d"}
    assert read_all(stream) == b"fine"


def test_the_origin_s_date_is_kept() -> None:
    origin = scripted((b"GET", b"HTTP/1.1 204 No Content\r\nDate: then\r\n\r\n"))
    stream = Proxy({"o:80": origin}).get("o")
    assert stream.answer.headers == (("date", "then"),)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            b"abc",
            id="chunked",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end", id="until close"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            b"x",
            id="provisional",
        ),
    ],
)
def test_bodies_of_responses(answer: bytes, body: bytes) -> None:
    stream = Proxy({"o:80": scripted((b"GET", answer))}).get("o")
    assert "transfer-encoding" not in head(stream)
    assert read_all(stream) == body


def test_head() -> None:
    origin = scripted((b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
    stream = Proxy({"o:80": origin}).get("o", method="HEAD")
    assert head(stream) == {"content-length": "9"}
    assert read_all(stream) == b""


@pytest.mark.parametrize("known", [True, False], ids=["length", "chunks"])
def test_upload(known: bool) -> None:
    seen = []

    def origin(conn: Conn) -> None:
        first = conn.read_until(b"\r\n\r\n")
        seen.append(first)
        seen.append(conn.read_exact(6 if known else len(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")))
        conn.sendall(OK)

    lines = [("content-length", "6"), ("expect", "100-continue")] if known else []
    stream = Proxy({"o:80": origin}).get("o", "/", *lines, method="POST", end=False)
    stream.conn.sendall(b"abc")
    gevent.sleep(0.01)
    stream.conn.sendall(b"def")
    stream.conn.shut()
    assert read_all(stream) == b"fine"
    assert seen[1] == (b"abcdef" if known else b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
    assert (b"Transfer-Encoding: chunked" in seen[0]) is not known
    assert b"Expect" not in seen[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"what", id="garbage"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", id="switch"),
    ],
)
def test_bad_origins(answer: bytes) -> None:
    stream = Proxy({"o:80": scripted((b"GET", answer))}).get("o")
    assert stream.answer.status == 503


def test_a_response_that_breaks_off_resets_the_stream() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nonly"
    stream = Proxy({"o:80": scripted((b"GET", answer))}).get("o")
    assert stream.conn.recv() == b"only"
    with pytest.raises(ConnectionClosed):
        stream.conn.recv()


@pytest.mark.effect("handler:http2", "readTimeout")
def test_read_timeout() -> None:
    proxy = Proxy({"o:80": lambda conn: conn.read_exact(9999)}, {"readTimeout": "20ms"})
    assert proxy.get("o").answer.status == 503


@pytest.mark.parametrize("end", [True, False], ids=["head only", "while sending"])
def test_a_client_that_gives_up_ends_the_origin_s_conn(end: bool) -> None:
    ended = []

    def origin(conn: Conn) -> None:
        conn.read_until(b"\r\n\r\n")
        ended.append(conn.recv())

    proxy = Proxy({"o:80": origin})
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "o")]
    stream = proxy.client.request(fields, end=end)
    while not proxy.way.asked:
        gevent.sleep(0.001)
    gevent.sleep(0.01)
    stream.reset()
    while not ended:
        gevent.sleep(0.001)
    assert proxy.server.alive


# -- HTTP/1.1 on the same listener ---------------------------------------------------------------


def test_http1_clients_are_served() -> None:
    proxy = Proxy({"h:1": lambda conn: conn.sendall(b"banner")}, authenticate=only_u)
    answer = ask(proxy.handler, b"CONNECT h:1 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 407 ")
    login = b"Proxy-Authorization: %s\r\n" % LOGIN[1].encode()
    answer = ask(proxy.handler, b"CONNECT h:1 HTTP/1.1\r\n%s\r\n" % login)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nbanner")


def test_other_things_are_not_served() -> None:
    with pytest.raises(Unsupported):
        Proxy({}).handler.handle(object())


# -- connector -----------------------------------------------------------------------------------


class Asked:
    """A connector, and the exchanges that reach the other side."""

    def __init__(self, options: dict[str, Any] | None = None, auth: Any = None) -> None:
        context = Context("n:443", Quiet(), auth=auth or Credentials())
        self.connector = Connector(parse(ConnectorOptions, options), context)
        self.exchanges: list[StreamExchange] = []
        self.status = 200
        near, far = socket_pair()
        server = Session(far, False, self._serve)
        self.client = Session(near, True)
        server.start()
        self.client.start()

    def _serve(self, stream: Any) -> None:
        exchange = StreamExchange(stream)
        self.exchanges.append(exchange)
        if self.status:
            exchange.respond(self.status)

    def connect(self, address: str = "t:7", network: str = "tcp") -> Any:
        conn = self.connector.handshake(self.client.open())
        return self.connector.connect(conn, Request(network, address))


@pytest.mark.effect("connector:http2", "header")
def test_what_the_connector_sends() -> None:
    asked = Asked({"header": {"X-One": 1}}, Credentials("u", "p"))
    conn = asked.connect()
    (exchange,) = asked.exchanges
    assert (exchange.request.method, exchange.request.authority) == ("CONNECT", "t:7")
    assert dict(exchange.request.headers) == {
        "accept-encoding": "gzip",
        "user-agent": "Go-http-client/2.0",
        "x-one": "1",
        LOGIN[0]: LOGIN[1],
    }
    conn.sendall(b"abc")
    assert exchange.conn.recv() == b"abc"


def test_names_are_sent_in_ascii() -> None:
    asked = Asked()
    asked.connect("bücher.test:7")
    assert asked.exchanges[0].request.authority == "xn--bcher-kva.test:7"


def test_refusals() -> None:
    asked = Asked()
    asked.status = 407
    with pytest.raises(ConnectFailed, match="407"):
        asked.connect()
    with pytest.raises(Unsupported):
        asked.connect(network="udp")
    with pytest.raises(Unsupported):
        asked.connector.connect(socket_pair()[0], Request("tcp", "t:7"))


@pytest.mark.effect("connector:http2", "timeout")
def test_timeout() -> None:
    asked = Asked({"timeout": "20ms"})
    asked.status = 0
    with pytest.raises(TimeoutError):
        asked.connect()
