"""Sniffing: detection, relays of proxies, routes of port forwarding, node rules."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError
from gostpy.interfaces import Credentials, Request
from gostpy.net.conn import Conn
from gostpy.options import parse
from gostpy.processing import auto, sni
from gostpy.processing.sniffing import SniffingOptions, relay_for
from gostpy.processing.sniffing.detect import protocol_of
from gostpy.processing.sniffing.nodes import NodeRules
from gostpy.processing.sniffing.sniffer import Sniffer
from gostpy.wire.http1 import RequestHead, ResponseHead
from tests.net.pairs import socket_pair
from tests.processing.playing import (
    TIMEOUT,
    ask,
    client_of,
    context_of,
    expect,
    read_all,
    scripted,
)
from tests.wire.test_tlshello import hello_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

PROTOCOLS = [
    pytest.param(b"GET /", "http", id="get"),
    pytest.param(b"OPTIONS", "http", id="options"),
    pytest.param(b"PRI * HTTP/2.0", "http", id="http2"),
    pytest.param(b"\x16\x03\x01\x00\x10", "tls", id="tls 1.0"),
    pytest.param(b"\x16\x03\x04", "tls", id="tls 1.3"),
    pytest.param(b"\x16\x03\x00", "", id="ssl 3"),
    pytest.param(b"SSH-2.0", "ssh", id="ssh"),
    pytest.param(b"SSH-1", "", id="ssh 1"),
    pytest.param(b"x", "", id="anything"),
    pytest.param(b"POS", None, id="not yet"),
    pytest.param(b"", None, id="nothing"),
]


@pytest.mark.parametrize(("data", "protocol"), PROTOCOLS)
def test_protocol_of(data: bytes, protocol: str | None) -> None:
    assert protocol_of(data) == protocol


@given(st.binary(max_size=8))
def test_five_bytes_decide(data: bytes) -> None:
    decided = protocol_of(data)
    assert decided is not None or len(data) < 5
    if decided is not None:
        assert protocol_of(data + b"more") == decided


# -- proxies ---------------------------------------------------------------------------------------


class Proxy:
    """A proxy whose client has been told that the upstream conn is open."""

    def __init__(self, serve: Callable[[Conn], None], **options: Any) -> None:
        made = parse(SniffingOptions, {"sniffing": True, **options})
        self.context = context_of({"h:1": serve})
        self.relay = relay_for(made, self.context, 5.0)

    def handle(self, conn: Conn) -> None:
        request = Request("tcp", "h:1")
        self.relay(conn, self.context.dial(request), request)


def test_a_server_may_speak_first() -> None:
    conn = client_of(Proxy(scripted((b"", b"220 mail\r\n"), (b"EHLO\r\n", b"250 me\r\n"))))
    expect(conn, b"220 mail\r\n")
    conn.sendall(b"EHLO\r\n")
    expect(conn, b"250 me\r\n")
    assert conn.recv() == b""
    conn.close()


def test_a_server_may_end_first() -> None:
    conn = client_of(Proxy(lambda conn: conn.close()))
    assert conn.recv() == b""
    conn.close()


def test_a_client_may_say_little() -> None:
    conn = client_of(Proxy(scripted((b"GE", b"what?")), **{"sniffing.timeout": "20ms"}))
    conn.sendall(b"GE")
    expect(conn, b"what?")
    conn.close()


def test_a_client_may_end_first() -> None:
    conn = client_of(Proxy(lambda conn: conn.sendall(read_all(conn))))
    conn.sendall(b"PO")
    conn.shut()
    assert read_all(conn) == b"PO"
    conn.close()


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"opaque", id="opaque"),
        pytest.param(b"SSH-2.0-x\r\n", id="ssh"),
        pytest.param(b"\x16\x03\x01 no hello", id="bad tls"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http2"),
    ],
)
def test_bytes_pass_as_they_are(first: bytes) -> None:
    conn = client_of(Proxy(scripted((first, b"fine"))))
    conn.sendall(first)
    expect(conn, b"fine")
    conn.close()


REQUEST = b"GET /x HTTP/1.1\r\nhost: h\r\nB: 1\r\nA: 2\r\n\r\n"


def test_requests_one_by_one() -> None:
    conn = client_of(Proxy(scripted((REQUEST, OK), (REQUEST, OK))))
    conn.sendall(REQUEST + REQUEST)
    expect(conn, OK + OK)
    conn.close()


def test_an_upgrade_becomes_opaque() -> None:
    asks = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    says = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    conn = client_of(Proxy(scripted((asks, says), (b"frame", b"answer"))))
    conn.sendall(asks)
    expect(conn, says)
    conn.sendall(b"frame")
    expect(conn, b"answer")
    conn.close()


def test_without_sniffing_nothing_is_loaded() -> None:
    context = context_of({})
    assert relay_for(parse(SniffingOptions, {}), context, 5.0) == context.relay
    with pytest.raises(ConfigError):
        relay_for(parse(SniffingOptions, {"mitm.certFile": "a", "mitm.keyFile": "b"}), context, 5.0)


# -- port forwarding -------------------------------------------------------------------------------


@dataclass
class Rules:
    """A node's http block."""

    host: str = ""
    request_header: dict[str, str] = field(default_factory=dict)
    response_header: dict[str, str] = field(default_factory=dict)
    rewrite_url: tuple[tuple[str, str], ...] = ()
    rewrite_body: tuple[tuple[str, str, str], ...] = ()
    auth: Credentials = field(default_factory=Credentials)


class Marker:
    def __init__(self) -> None:
        self.marks: list[str] = []

    def mark(self) -> None:
        self.marks.append("failed")

    def reset(self) -> None:
        self.marks.append("fine")


@dataclass
class Node:
    address: str = ""
    network: str = "tcp"
    http: Rules | None = None
    tls: Any = None
    matches: Callable[[Request], bool] | None = None
    marker: Marker = field(default_factory=Marker)


class OneNode:
    """A hop with one node, or none."""

    name = "hop"

    def __init__(self, node: Node | None) -> None:
        self.nodes = (node,) if node is not None else ()
        self.asked: list[Request] = []

    def select(self, request: Request) -> Node | None:
        self.asked.append(request)
        return self.nodes[0] if self.nodes else None


class Forward:
    """A port forwarding."""

    def __init__(
        self,
        origins: dict[str, Callable[[Conn], None]],
        node: Node | None,
        keepalive: bool = False,
        **facts: Any,
    ) -> None:
        self.hop = OneNode(node)
        self.context = context_of(origins, hop=self.hop, **facts)
        options = parse(SniffingOptions, {"sniffing.timeout": "50ms"})
        self.sniffer = Sniffer(options, self.context, read_timeout=5.0, keepalive=keepalive)
        self.left: str | None = None

    def handle(self, conn: Conn) -> None:
        self.left = self.sniffer.route(conn)
        if self.left is not None:
            conn.sendall(b"not served")


def test_a_request_is_routed_by_its_facts() -> None:
    origin = scripted((b"POST /p%20q?a=1", OK))
    forward = Forward({"n:80": origin}, Node("n"))
    head = b"POST /p%20q?a=1 HTTP/1.1\r\nHost: name.example\r\nX-Real-Ip: 192.0.2.77\r\n\r\n"
    conn = client_of(forward)
    conn.sendall(head)
    expect(conn, OK_CLOSE)
    request = forward.hop.asked[0]
    assert (request.protocol, request.host) == ("http", "name.example:80")
    assert (request.method, request.path, request.query) == ("POST", "/p q", "a=1")
    assert request.headers["host"] == ["name.example"]
    assert request.source == "192.0.2.77:0"
    assert forward.hop.nodes[0].marker.marks == ["fine"]
    conn.close()


def test_the_conn_stays_with_its_first_node() -> None:
    forward = Forward({"n:80": scripted((REQUEST, OK), (REQUEST, OK))}, Node("n"))
    conn = client_of(forward)
    for _ in range(2):
        conn.sendall(REQUEST)
        expect(conn, OK_CLOSE)
    assert len(forward.hop.asked) == 1
    conn.close()


@pytest.mark.parametrize("strict", [False, True])
def test_a_later_request_that_the_node_does_not_serve(strict: bool) -> None:
    node = Node("n", matches=lambda request: request.host == "h:80")
    other = REQUEST.replace(b"host: h", b"host: x")
    origin = scripted((REQUEST, OK), (other, OK))
    forward = Forward({"n:80": origin}, node, strict=strict)
    conn = client_of(forward)
    conn.sendall(REQUEST)
    expect(conn, OK_CLOSE)
    conn.sendall(other)
    assert (conn.recv() == OK_CLOSE) is strict
    assert len(forward.hop.asked) == (1 if strict else 2)
    conn.close()


def test_a_later_request_that_is_bypassed() -> None:
    def bypassed(*facts: str) -> str:
        return "rule" if facts[1] == "x:80" else ""

    conn = client_of(Forward({"n:80": scripted((REQUEST, OK))}, Node("n"), bypassed=bypassed))
    conn.sendall(REQUEST)
    expect(conn, OK_CLOSE)
    conn.sendall(REQUEST.replace(b"host: h", b"host: x"))
    expect(conn, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert conn.recv() == b""
    conn.close()


def test_absolute_form_becomes_origin_form() -> None:
    seen = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
    forward = Forward({"n:80": scripted((seen, OK))}, Node("n"))
    conn = client_of(forward)
    conn.sendall(b"GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n")
    expect(conn, OK_CLOSE)
    assert forward.hop.asked[0].host == "a.example:80"
    conn.close()


def test_keepalive_says_nothing_about_closing() -> None:
    conn = client_of(Forward({"n:80": scripted((REQUEST, OK))}, Node("n"), keepalive=True))
    conn.sendall(REQUEST)
    expect(conn, OK)
    conn.close()


def test_a_node_without_address_is_the_host() -> None:
    conn = client_of(Forward({"h:80": scripted((REQUEST, OK))}, Node()))
    conn.sendall(REQUEST)
    expect(conn, OK_CLOSE)
    conn.close()


def test_refusals() -> None:
    refusal = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"
    assert ask(Forward({}, None), REQUEST) == refusal % b"502 Bad Gateway"
    dead = Node("dead")
    assert ask(Forward({}, dead), REQUEST) == refusal % b"503 Service Unavailable"
    assert dead.marker.marks == ["failed"]
    seen = []

    def bypassed(*facts: str) -> str:
        seen.append(facts)
        return "rule"

    asks = b"GET /x?y HTTP/1.1\r\nHost: h\r\n\r\n"
    assert ask(Forward({}, Node("n"), bypassed=bypassed), asks) == refusal % b"403 Forbidden"
    assert seen[0][1] == "h:80"
    assert seen[0][4] == "/x?y"
    broken = Forward({"n:80": scripted((REQUEST, b"what?\r\n\r\n"))}, Node("n"))
    assert ask(broken, REQUEST) == refusal % b"503 Service Unavailable"


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        pytest.param(b"SSH-2.0-x\r\n", "ssh", id="ssh"),
        pytest.param(b"other", "", id="other"),
        pytest.param(b"GE", "", id="silence"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\n", "tls", id="http2"),
    ],
)
def test_what_is_left_to_the_handler(sent: bytes, left: str) -> None:
    forward = Forward({}, None)
    assert ask(forward, sent) == b"not served"
    assert forward.left == left


@pytest.mark.parametrize(
    ("name", "node", "address"),
    [
        pytest.param("name.example", Node("n"), "n:443", id="node"),
        pytest.param("name.example", Node("n:8443"), "n:8443", id="node with port"),
        pytest.param("name.example", Node(), "name.example:443", id="host"),
        pytest.param(None, Node("n"), "n:443", id="no name"),
    ],
)
def test_tls_passes_by_name(name: str | None, node: Node, address: str) -> None:
    hello = hello_of(name, ["h2"])
    forward = Forward({address: scripted((hello, b"server hello"))}, node)
    conn = client_of(forward)
    for start in range(0, len(hello), 100):
        conn.sendall(hello[start : start + 100])
        gevent.sleep(0)
    expect(conn, b"server hello")
    request = forward.hop.asked[0]
    assert request.protocol == "tls"
    assert request.host == (f"{name}:443" if name else "")
    conn.close()


def test_tls_refused() -> None:
    hello = hello_of("name.example", [])
    assert ask(Forward({}, None), hello) == b""
    assert ask(Forward({}, Node()), hello_of(None, [])) == b""
    assert ask(Forward({}, Node("n"), bypassed=lambda *_: "rule"), hello) == b""
    assert ask(Forward({}, Node("n")), b"\x16\x03\x01\x00\x05nonse") == b""


# -- node rules ------------------------------------------------------------------------------------


def test_login_of_a_node() -> None:
    node = Node("n", http=Rules(auth=Credentials("u", "p")))
    unauthorized = (
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic\r\n\r\n"
    )
    assert ask(Forward({"n:80": scripted()}, node), REQUEST) == unauthorized
    login = b"Authorization: Basic " + base64.b64encode(b"u:p") + b"\r\n\r\n"
    allowed = REQUEST[:-2] + login
    conn = client_of(Forward({"n:80": scripted((allowed, OK))}, node))
    conn.sendall(allowed)
    expect(conn, OK_CLOSE)
    conn.close()


def test_lines_and_bodies_are_changed() -> None:
    rules = Rules(
        host="inner",
        request_header={"X-New": "1", "b": "2"},
        response_header={"Server": "me"},
        rewrite_url=((r"/no", "/never"), (r"/x(\d+)", "/y-$1")),
        rewrite_body=(("", "o(.)", "0${1}$$"), ("text/plain", "k", "never")),
    )
    seen = b"GET /y-7/p%20q?z HTTP/1.1\r\nHost: inner\r\nb: 2\r\nX-New: 1\r\n\r\n"
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 5\r\n\r\nok ok"
    )
    conn = client_of(Forward({"n:80": scripted((seen, answer))}, Node("n", http=rules)))
    conn.sendall(b"GET /x7/p%20q?z HTTP/1.1\r\nhost: h\r\nB: 1\r\n\r\n")
    expect(
        conn,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 7\r\n"
        b"Server: me\r\nConnection: close\r\n\r\n0k$ 0k$",
    )
    conn.close()


REWRITES = [
    pytest.param("^/api/(.*)$", "/$1", "/api/v1", "/v1", id="group"),
    pytest.param("^/(?P<a>\\w+)/(?<b>\\w+)", "/${b}/$a", "/x/y", "/y/x", id="names"),
    pytest.param("/(a)", "/$1b", "/a", "/", id="the longest name, which is unknown"),
    pytest.param("a", "b", "/a/a", "/b/b", id="everywhere"),
    pytest.param("c", "b", "/a", "/a", id="no match"),
    pytest.param(".*", "", "/a", "/a", id="never empty"),
    pytest.param("ü", "u", "/%C3%BC", "/u", id="decoded"),
    pytest.param("a", "ü ?", "/a", "/%C3%BC%20%3F", id="encoded"),
]


@pytest.mark.parametrize(("pattern", "replacement", "path", "expected"), REWRITES)
def test_rewritten_paths(pattern: str, replacement: str, path: str, expected: str) -> None:
    head = RequestHead("GET", path)
    NodeRules(Rules(rewrite_url=((pattern, replacement),))).edit_request(head)
    assert head.target == expected


BODIES = [
    pytest.param("", "text/html", b"a", b"b", id="html by default"),
    pytest.param("", "text/plain", b"a", None, id="nothing else"),
    pytest.param("*", "image/png", b"a\xff", b"b\xff", id="all"),
    pytest.param("text/html,text/css", "text/css; x=y", "aü".encode(), "bü".encode(), id="list"),
]


@pytest.mark.parametrize(("kind", "media", "body", "expected"), BODIES)
def test_rewritten_bodies(kind: str, media: str, body: bytes, expected: bytes | None) -> None:
    rules = NodeRules(Rules(rewrite_body=((kind, "a", "b"),)))
    rewrite = rules.edit_response(ResponseHead(200, "OK", 1, [("Content-Type", media)]))
    assert (rewrite(body) if rewrite is not None else None) == expected
    packed = [("Content-Type", media), ("Content-Encoding", "gzip")]
    assert rules.edit_response(ResponseHead(200, "OK", 1, packed)) is None


def test_bad_expressions_are_told_when_the_handler_is_made() -> None:
    with pytest.raises(ConfigError, match="expression"):
        Forward({}, Node("n", http=Rules(rewrite_url=(("(", ""),))))


# -- sni and auto ----------------------------------------------------------------------------------


def test_sni_handler() -> None:
    def handler(**facts: Any) -> Any:
        hello = hello_of("name.example", [])
        origins = {
            "name.example:443": scripted((hello, b"server hello")),
            "h:80": scripted((REQUEST, OK), (REQUEST, OK)),
        }
        return sni.Handler(parse(sni.HandlerOptions, {}), context_of(origins, **facts))

    conn = client_of(handler())
    conn.sendall(hello_of("name.example", []))
    assert conn.recv()  # another random than the origin knows: it says so
    conn.close()
    conn = client_of(handler())
    for _ in range(2):
        conn.sendall(REQUEST)
        expect(conn, OK)
    conn.close()
    assert ask(handler(), b"SSH-2.0\r\n") == b""
    assert ask(handler(), b"GET / HTTP/1.1\r\nHost: unknown\r\n\r\n") == b""
    assert ask(handler(bypassed=lambda *_: "rule"), REQUEST) == b""


def test_sni_connector() -> None:
    from gostpy.interfaces import Context
    from tests.processing.playing import Quiet

    for host, shown in (("decoy", b"Host: decoy\r\nGost-Target: "), ("", b"host: h\r\n")):
        connector = sni.Connector(sni.ConnectorOptions(host=host), Context("n:1", Quiet()))
        near, far = socket_pair()
        far.settimeout(TIMEOUT)
        conn = connector.connect(connector.handshake(near), Request("tcp", "h:1"))
        conn.sendall(REQUEST)
        assert shown in far.recv()
        far.sendall(OK)
        expect(conn, OK)
        conn.close()
        far.close()


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        pytest.param(
            b"CONNECT h:1 HTTP/1.1\r\n\r\nabc",
            b"HTTP/1.1 200 Connection established\r\nProxy-Agent: a/1\r\n\r\ndef",
            id="http",
        ),
        pytest.param(b"\x04\x01\x00\x01\x7f\x00\x00\x01\x00abc", b"\x00\x5a", id="socks4"),
        pytest.param(b"\x05\x01\x00", b"\x05\x00", id="socks5"),
    ],
)
def test_auto(sent: bytes, got: bytes) -> None:
    metadata = {"proxyAgent": "a/1"}
    origin = scripted((b"abc", b"def"))
    context = context_of({"h:1": origin, "127.0.0.1:1": origin}, metadata=metadata)
    handler = auto.Handler(parse(auto.HandlerOptions, metadata), context)
    conn = client_of(handler)
    conn.sendall(sent)
    expect(conn, got)
    conn.close()
