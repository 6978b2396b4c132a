"""The http handler and connector."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import gevent
import pytest

from gostpy.errors import ConfigError, ConnectFailed, Unsupported
from gostpy.interfaces import Context, Credentials, Request
from gostpy.net.conn import Conn
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import listen_udp
from gostpy.options import Problem, parse
from gostpy.processing.http import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.wire.httptarget import encode_name
from tests.net.pairs import socket_pair
from tests.processing.playing import Quiet, ask, client_of, context_of, expect, read_all, scripted

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nProxy-Agent: gost/3.0\r\n\r\n"
LOGIN = b"Proxy-Authorization: Basic " + base64.b64encode(b"u:p") + b"\r\n"


def only_u(user: str, password: str, client: str) -> str | None:
    return user if (user, password) == ("u", "p") else None


def handler_of(origins: dict[str, Any], options: dict[str, Any] | None = None, **facts: Any) -> Any:
    problems: list[Problem] = []
    made = parse(HandlerOptions, options, problems=problems)
    assert not problems
    context = context_of(origins, **facts)
    handler: Any = Handler(made, context)
    handler.way = context.router
    return handler


def echo(conn: Conn) -> None:
    while data := conn.recv():
        conn.sendall(data.upper())


# -- CONNECT --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"abc"], id="in turn"),
        pytest.param([b"CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\nabc"], id="early data"),
        pytest.param([b"CONNECT h:1 HTTP/1.0\n\nabc"], id="bare line feeds"),
        pytest.param(
            [
                b"CONNECT fake:1 HTTP/1.1\r\nX-Gost-Target: %s\r\n\r\nabc"
                % encode_name("h:1").encode()
            ],
            id="hidden target",
        ),
        pytest.param(
            [b"CONNECT h:1 HTTP/1.1\r\nGost-Target: AAAAAB\r\n\r\nabc"], id="bad hidden target"
        ),
    ],
)
def test_connect(pieces: list[bytes]) -> None:
    conn = client_of(handler_of({"h:1": echo}))
    for piece in pieces:
        conn.sendall(piece)
    expect(conn, ESTABLISHED + b"ABC")
    conn.close()


def test_what_the_server_says_first_follows_the_answer() -> None:
    handler = handler_of({"h:80": lambda conn: conn.sendall(b"banner")})
    conn = client_of(handler)
    conn.sendall(b"CONNECT h HTTP/1.1\r\n\r\n")
    expect(conn, ESTABLISHED + b"banner")
    assert conn.recv() == b""
    conn.close()


def test_request_facts() -> None:
    handler = handler_of({}, {"hash": "host"}, authenticate=only_u)
    ask(handler, b"CONNECT [2001:db8::1] HTTP/1.1\r\n" + LOGIN + b"\r\n")
    request = handler.way.asked[0]
    assert (request.network, request.address) == ("tcp", "[2001:db8::1]:80")
    assert (request.client_id, request.source) == ("u", "192.0.2.9:4711")
    assert request.hash_source == "[2001:db8::1]:80"


HEADER = {"x-foo": "bar", "alt": "z"}
CLOSED = [
    pytest.param({}, b"CONNECT no:1 HTTP/1.1\r\n\r\n", b"503 Service Unavailable\r\n"
                 b"Connection: close\r\nProxy-Agent: gost/3.0\r\n\r\n", id="cannot dial"),
    pytest.param({}, b"CONNECT bad:1 HTTP/1.1\r\n\r\n", b"403 Forbidden\r\n"
                 b"Connection: close\r\nProxy-Agent: gost/3.0\r\n\r\n", id="bypassed"),
    pytest.param({"header": HEADER, "proxyAgent": "a/1"}, b"CONNECT bad:1 HTTP/1.1\r\n\r\n",
                 b"403 Forbidden\r\nConnection: close\r\nAlt: z\r\nProxy-Agent: a/1\r\n"
                 b"X-Foo: bar\r\n\r\n", id="configured lines"),
    pytest.param({}, b"GET http://bad:1/ HTTP/1.1\r\n\r\n", b"403 Forbidden\r\n"
                 b"Connection: close\r\nProxy-Agent: gost/3.0\r\n\r\n", id="plain, bypassed"),
    pytest.param({}, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"400 Bad Request\r\nConnection: close\r\n\r\n", id="http2"),
    pytest.param({}, b"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
                 b"400 Bad Request\r\nConnection: close\r\n\r\n", id="https URL"),
    pytest.param({}, b"GET / HTTP/1.1\r\nHost: h:80\r\n\r\n",
                 b"400 Bad Request\r\nConnection: close\r\n\r\n", id="origin form with a port"),
    pytest.param({}, b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
                 b"400 Bad Request\r\nConnection: close\r\n\r\n", id="origin form with an IP"),
    pytest.param({}, b"CONNECT h:99999 HTTP/1.1\r\n\r\n",
                 b"400 Bad Request\r\nConnection: close\r\n\r\n", id="bad port"),
    pytest.param({}, b"CONNECT  HTTP/1.1\r\n\r\n", b"400 Bad Request\r\nConnection: close\r\n"
                 b"Proxy-Agent: gost/3.0\r\n\r\n", id="no host"),
    pytest.param({}, b"GET http://no/ HTTP/1.1\r\n\r\n",
                 b"503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", id="plain, cannot dial"),
    pytest.param({}, b"CONNECT h:1 HTTP/1.1\r\nX-Gost-Protocol: udp\r\n\r\n",
                 b"403 Forbidden\r\nContent-Length: 0\r\n\r\n", id="udp is off"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "sent", "answer"), CLOSED)
def test_refusals(options: dict[str, Any], sent: bytes, answer: bytes) -> None:
    handler = handler_of({}, options, bypassed=lambda *facts: "rule" if facts[1] == "bad:1" else "")
    assert ask(handler, sent) == b"HTTP/1.1 " + answer


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"A" * 70000, id="endless line"),
        pytest.param(b"POST http://h/ HTTP/1.1\r\nContent-Length: x\r\n\r\n", id="length"),
    ],
)
def test_what_is_no_request_gets_no_answer(sent: bytes) -> None:
    assert ask(handler_of({}), sent) == b""


def test_the_first_request_must_come_in_time() -> None:
    handler = handler_of({}, {"readTimeout": "50ms"})
    conn = client_of(handler)
    conn.sendall(b"CONNECT h:1 HT")
    assert conn.recv() == b""
    conn.close()


# -- login ----------------------------------------------------------------------------------------

CHALLENGE = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nConnection: close\r\n"
    b'Proxy-Authenticate: Basic realm="%s"\r\n%s\r\n'
)
LOGINS = [
    pytest.param({}, b"", CHALLENGE % (b"gost", b""), id="none"),
    pytest.param(
        {"authBasicRealm": "my realm"},
        b"Proxy-Connection: Keep-Alive\r\n",
        CHALLENGE % (b"my realm", b"Proxy-Connection: close\r\n"),
        id="realm, and a client that would go on",
    ),
    pytest.param({}, LOGIN.replace(b"Basic", b"basic"), CHALLENGE % (b"gost", b""), id="case"),
    pytest.param(
        {}, b"Proxy-Authorization: Basic !\r\n", CHALLENGE % (b"gost", b""), id="no base64"
    ),
    pytest.param({}, LOGIN, ESTABLISHED, id="right"),
]


@pytest.mark.parametrize(("options", "lines", "answer"), LOGINS)
def test_login(options: dict[str, Any], lines: bytes, answer: bytes) -> None:
    handler = handler_of({"h:1": scripted()}, options, authenticate=only_u)
    assert ask(handler, b"CONNECT h:1 HTTP/1.1\r\n" + lines + b"\r\n") == answer


@pytest.mark.parametrize(
    ("options", "sent", "answer"),
    [
        pytest.param(
            {"probeResist": "code:404"},
            b"CONNECT h:1 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n",
            id="code",
        ),
        pytest.param(
            {"probeResist": "code:404", "knock": "knock.me"},
            b"CONNECT KNOCK.me:1 HTTP/1.1\r\n\r\n",
            CHALLENGE % (b"gost", b""),
            id="knock",
        ),
        pytest.param(
            {"probe_resist": "other:x"},
            b"GET http://h/ HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n",
            id="unknown type",
        ),
        pytest.param(
            {"probeResist": "code"},
            b"CONNECT h:1 HTTP/1.1\r\n\r\n",
            CHALLENGE % (b"gost", b""),
            id="no colon",
        ),
        pytest.param(
            {"probeResist": "file:/does/not/exist"},
            b"CONNECT h:1 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n",
            id="no file",
        ),
    ],
)
def test_probes(options: dict[str, Any], sent: bytes, answer: bytes) -> None:
    assert ask(handler_of({}, options, authenticate=only_u), sent) == answer


def test_probe_sees_a_file(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_bytes(b"<p>" * 50000)
    handler = handler_of({}, {"probeResist": f"file:{page}"}, authenticate=only_u)
    answer = ask(handler, b"CONNECT h:1 HTTP/1.1\r\n\r\n")
    assert answer == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 150000\r\nConnection: keep-alive\r\n"
        b"Content-Type: text/html\r\n\r\n" + b"<p>" * 50000
    )


# -- UDP ------------------------------------------------------------------------------------------


def test_datagrams() -> None:
    handler = handler_of({}, {"udp": True})
    upstream = listen_udp("127.0.0.1:0")
    peer = listen_udp("127.0.0.1:0")
    address = f"127.0.0.1:{peer.info.local[1]}"
    handler.way.dial = lambda _: upstream
    conn = client_of(handler)
    conn.sendall(b"CONNECT h:1 HTTP/1.1\r\nX-Gost-Protocol: udp\r\n\r\n")
    expect(conn, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    packets = TunnelConn(conn)
    packets.settimeout(5)
    packets.send_to(b"ping", address)
    data, sender = peer.recv_from()
    assert data == b"ping"
    peer.send_to(b"pong", sender)
    assert packets.recv_from() == (b"pong", address)
    packets.close()
    peer.close()


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"header": {"a b": "c"}}, id="name"),
        pytest.param({"header": {"a": "b\r\nc: d"}}, id="value"),
        pytest.param({"proxyAgent": "a\nb"}, id="agent"),
        pytest.param({"authBasicRealm": "a\nb"}, id="realm"),
        pytest.param({"mitm.certFile": "a", "mitm.keyFile": "b"}, id="interception"),
        pytest.param({"cache.ttl": "1m"}, id="cache"),
        pytest.param({"cache.status.404": "1m"}, id="cache by status"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        handler_of({}, options)


# -- connector ------------------------------------------------------------------------------------


def connect(options: dict[str, Any], answer: bytes, **facts: Any) -> tuple[bytes, Any, Conn]:
    """What the connector sends, what it returns, and the far end."""
    connector = Connector(
        parse(ConnectorOptions, options),
        Context("proxy:1", Quiet(), auth=facts.pop("auth", Credentials())),
    )
    near, far = socket_pair()
    far.settimeout(5)
    far.sendall(answer)
    made = connector.connect(connector.handshake(near), Request(**facts))
    return far.recv(), made, far


CONNECTS = [
    pytest.param({}, {"network": "tcp", "address": "h:1"}, b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n"
                 b"User-Agent: Go-http-client/1.1\r\nProxy-Connection: keep-alive\r\n\r\n",
                 id="plain"),
    pytest.param({}, {"network": "tcp", "address": "[::1]:1"},
                 b"CONNECT [::1]:1 HTTP/1.1\r\nHost: [::1]:1\r\n"
                 b"User-Agent: Go-http-client/1.1\r\nProxy-Connection: keep-alive\r\n\r\n",
                 id="v6"),
    pytest.param({}, {"network": "tcp", "address": "bücher.example:1"},
                 b"CONNECT xn--bcher-kva.example:1 HTTP/1.1\r\nHost: xn--bcher-kva.example:1\r\n"
                 b"User-Agent: Go-http-client/1.1\r\nProxy-Connection: keep-alive\r\n\r\n",
                 id="international name"),
    pytest.param({"header": {"user-agent": "me", "x-a": "b", "host": "ignored", "a": 1}},
                 {"network": "tcp", "address": "h:1", "auth": Credentials("u", "p")},
                 b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nUser-Agent: me\r\nA: 1\r\n" + LOGIN +
                 b"Proxy-Connection: keep-alive\r\nX-A: b\r\n\r\n", id="everything"),
    pytest.param({}, {"network": "udp", "address": "h:1"}, b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n"
                 b"User-Agent: Go-http-client/1.1\r\nProxy-Connection: keep-alive\r\n"
                 b"X-Gost-Protocol: udp\r\n\r\n", id="udp"),
    pytest.param({}, {"network": "udp", "address": ""}, b"CONNECT  HTTP/1.1\r\nHost: \r\n"
                 b"User-Agent: Go-http-client/1.1\r\nProxy-Connection: keep-alive\r\n"
                 b"X-Gost-Protocol: udp\r\n\r\n", id="udp without a target"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "facts", "sent"), CONNECTS)
def test_connector(options: dict[str, Any], facts: dict[str, Any], sent: bytes) -> None:
    seen, made, far = connect(options, ESTABLISHED, **facts)
    assert seen == sent
    made.close()
    far.close()


def test_connector_keeps_what_follows_the_answer() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbanner"
    _, conn, far = connect({}, answer, network="tcp", address="h:1")
    assert conn.recv() == b"banner"
    conn.close()
    far.close()


def test_connector_refused() -> None:
    with pytest.raises(ConnectFailed, match="407 Proxy Authentication Required"):
        connect({}, CHALLENGE % (b"gost", b""), network="tcp", address="h:1")


def test_connector_waits_so_long() -> None:
    with pytest.raises(TimeoutError):
        connect({"timeout": "20ms"}, b"HTTP/1.1 2", network="tcp", address="h:1")


def test_connector_cannot_carry_everything() -> None:
    with pytest.raises(Unsupported):
        connect({}, b"", network="ip", address="h:1")


def test_connector_and_handler_of_one_kind_carry_datagrams() -> None:
    handler = handler_of({}, {"udp": True})
    handler.way.dial = lambda _: listen_udp("127.0.0.1:0")
    peer = listen_udp("127.0.0.1:0")
    address = f"127.0.0.1:{peer.info.local[1]}"
    conn = Connector(parse(ConnectorOptions, {}), Context("proxy:1", Quiet())).connect(
        client_of(handler), Request("udp", address)
    )
    with gevent.Timeout(5):
        conn.send_to(b"x" * 9000)
        data, sender = peer.recv_from()
        assert data == b"x" * 9000
        peer.send_to(b"y", sender)
        assert conn.recv_from() == (b"y", address)
    conn.close()
    peer.close()


def test_unread_scripts_are_seen() -> None:
    """The helper itself: an origin that gets something else says so."""
    handler = handler_of({"h:1": scripted((b"abc", b"fine"))})
    conn = client_of(handler)
    conn.sendall(b"CONNECT h:1 HTTP/1.1\r\n\r\nabd")
    expect(conn, ESTABLISHED)
    assert read_all(conn) == b"unexpected abd"
    conn.close()
