"""The http3 handler, and the masque handler and connector, on HTTP/3 in one process."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from tests.channel.http3ends import get, read_to_end
from tests.engine.conftest import stage
from tests.engine.running import Running, Stage, dial, eventually, fetch, free_port, read_exact

__all__ = ["stage"]

pytestmark = pytest.mark.timeout(60)

REVERSE = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: http3}}
  handler: {{type: http3, metadata: {{header: {{X-Added: one}}, hash: "{hash}"}}}}
  {service}
  forwarder:
    selector: {{strategy: hash}}
    nodes: [{nodes}]
{rest}
"""

MASQUE = """
services:
- name: far
  addr: 127.0.0.1:0
  listener: {{type: http3}}
  handler:
    type: masque
    auth: {{username: u, password: p}}
    metadata: {{authBasicRealm: here, readTimeout: "{idle}"}}
  {service}
{rest}
"""

ENTRY = """
services:
- name: near
  addr: 127.0.0.1:0
  listener: {{type: {network}}}
  handler: {{type: {network}, chain: way}}
  forwarder: {{nodes: [{{name: t, addr: "{target}"}}]}}
chains:
- name: way
  hops:
  - name: hop
    nodes:
    - name: node
      addr: "127.0.0.1:{port}"
      dialer: {{type: h3-masque}}
      connector: {{type: masque, auth: {{username: u, password: {password}}}}}
"""


class Client:
    """HTTP/3 connections to a node."""

    def __init__(self) -> None:
        self._made: list[Any] = []

    def __call__(self, running: Running) -> Any:
        from gostpy.channel import quic
        from gostpy.interfaces import Context
        from gostpy.net.packet import dial_udp
        from gostpy.stream.http3 import Session
        from tests.channel.fakes import SilentLog

        context = Context(f"127.0.0.1:{running.port('far')}", SilentLog())
        options = quic.DialOptions(alpn=("h3",), datagrams=True)
        made = quic.Carrier(options, context).open(lambda _, address: dial_udp(address))
        self._made.append(made)
        return Session(made, True, more={0x33: 1})

    def close(self) -> None:
        for quic in self._made:
            quic.close(True)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


def origin(name: str, heard: list[bytes] | None = None) -> Any:
    """An HTTP/1.1 server of one response."""

    def serve(sock: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        if heard is not None:
            heard.append(head)
        body = name.encode()
        sock.sendall(
            b"HTTP/1.1 203 Fine\r\nX-Own: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    return serve


def reverse(
    stage: Stage, *ports: int, hash: str = "", service: str = "", rest: str = ""
) -> Running:
    nodes = ", ".join(f'{{name: n{port}, addr: "127.0.0.1:{port}"}}' for port in ports)
    return stage.run(REVERSE.format(nodes=nodes, hash=hash, service=service, rest=rest))


@pytest.mark.effect("handler:http3", "header")
def test_reverse_proxy(stage: Stage, client: Client) -> None:
    heard: list[bytes] = []
    running = reverse(stage, stage.serve(origin("page", heard)))
    stream, answer = get(client(running), "/a?b=c", "some.test", ("x-forwarded-for", "192.0.2.1"))
    assert read_to_end(stream.conn) == b"page"
    assert (answer.status, answer.get("x-added"), answer.get("x-own")) == (203, "one", "1")
    assert heard[0].startswith(b"GET /a?b=c HTTP/1.1\r\nHost: some.test\r\n")
    assert b"X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n" in heard[0]


def test_bodies_both_ways(stage: Stage, client: Client) -> None:
    def serve(sock: socket.socket) -> None:
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        size = str(data.count(b"z")).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(size) + size)

    running = reverse(stage, stage.serve(serve))
    session = client(running)
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
    stream = session.request(fields)
    stream.conn.sendall(b"z" * 300_000)
    stream.conn.shut()
    assert stream.response().status == 200
    assert read_to_end(stream.conn) == b"300000"


@pytest.mark.effect("handler:http3", "hash")
def test_hash_of_the_host(stage: Stage, client: Client) -> None:
    ports = [stage.serve(origin(name)) for name in "abcd"]
    by_host = client(reverse(stage, *ports, hash="host"))
    by_client = client(reverse(stage, *ports))
    hosts = [f"host{number}.test" for number in range(12)]
    assert len({read_to_end(get(by_host, "/", host)[0].conn) for host in hosts}) > 1
    assert len({read_to_end(get(by_client, "/", host)[0].conn) for host in hosts}) == 1


@pytest.mark.parametrize(
    ("method", "authority", "status"),
    [
        pytest.param("GET", "blocked.test", 403, id="bypass"),
        pytest.param("GET", "a:99999", 400, id="bad host"),
        pytest.param("GET", "a.test", 502, id="node that is down"),
    ],
)
def test_refusals(stage: Stage, client: Client, method: str, authority: str, status: int) -> None:
    rest = "bypasses: [{name: b, matchers: [blocked.test]}]"
    running = reverse(stage, stage.dead_port(), service="bypass: b", rest=rest)
    _, answer = get(client(running), "/", authority, method=method)
    assert (answer.status, answer.get("x-added")) == (status, "one")


def test_connect_to_a_reverse_proxy(stage: Stage, client: Client) -> None:
    running = reverse(stage, stage.dead_port())
    stream = client(running).request([(":method", "CONNECT"), (":authority", "a.test:1")])
    assert stream.response().status == 405


def test_the_handler_needs_a_forwarder(stage: Stage) -> None:
    from gostpy.errors import ConfigError

    text = "services: [{name: far, addr: ':0', listener: {type: http3}, handler: {type: http3}}]"
    with pytest.raises(ConfigError, match="forwarder"):
        stage.run(text)


# -- masque ----------------------------------------------------------------------------------------


def masque(stage: Stage, service: str = "", rest: str = "", idle: str = "0s") -> Running:
    return stage.run(MASQUE.format(service=service, rest=rest, idle=idle))


def entry(
    stage: Stage, far: Running, target: int, network: str = "tcp", password: str = "p"
) -> int:
    text = ENTRY.format(
        network=network, target=f"127.0.0.1:{target}", port=far.port("far"), password=password
    )
    return stage.run(text).port("near")


def test_tcp_by_masque(stage: Stage) -> None:
    port = entry(stage, masque(stage), stage.echo())
    with dial(port) as sock:
        sock.sendall(b"hello")
        assert read_exact(sock, 5) == b"hello"


def test_wrong_password(stage: Stage) -> None:
    assert fetch(entry(stage, masque(stage), stage.greeter("in"), password="x")) == ""


@pytest.fixture
def udp_echo() -> Iterator[int]:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def loop() -> None:
        while True:
            data, peer = server.recvfrom(65535)
            server.sendto(data, peer)

    serving = gevent.spawn(loop)
    yield server.getsockname()[1]
    serving.kill()
    server.close()


@pytest.mark.parametrize("size", [0, 1, 1000, 9000], ids=str)
def test_udp_by_masque(stage: Stage, udp_echo: int, size: int) -> None:
    """What fits no datagram travels in a capsule."""
    port = entry(stage, masque(stage), udp_echo, "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        sock.send(b"x" * size)
        assert sock.recv(65535) == b"x" * size


LOGIN = ("proxy-authorization", "Basic " + base64.b64encode(b"u:p").decode())
CAPSULES = ("capsule-protocol", "?1")
UDP = [(":method", "CONNECT"), (":protocol", "connect-udp"), (":scheme", "https")]


def udp(path: str, *lines: tuple[str, str]) -> list[tuple[str, str]]:
    return [*UDP, (":authority", "a"), (":path", f"/.well-known/masque/udp/{path}"), *lines]


def connect(authority: str, *lines: tuple[str, str]) -> list[tuple[str, str]]:
    return [(":method", "CONNECT"), (":authority", authority), *lines]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(connect("127.0.0.1:1"), 407, id="no login"),
        pytest.param(connect("127.0.0.1:1", LOGIN), 503, id="dead target"),
        pytest.param(connect("blocked.test:1", LOGIN), 403, id="bypass"),
        pytest.param(udp("blocked.test/1/", LOGIN, CAPSULES), 403, id="udp bypass"),
        pytest.param(udp("a/x/", LOGIN, CAPSULES), 400, id="bad target"),
        pytest.param(udp("127.0.0.1/9/", LOGIN), 400, id="no capsules"),
        pytest.param(udp("127.0.0.1/9/", LOGIN, CAPSULES), 200, id="udp"),
        pytest.param(
            [
                (":method", "CONNECT"),
                (":protocol", "x"),
                (":scheme", "https"),
                (":authority", "a"),
                (":path", "/"),
                LOGIN,
            ],
            400,
            id="another protocol",
        ),
        pytest.param(
            [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")],
            405,
            id="no CONNECT",
        ),
    ],
)
def test_answers_of_masque(stage: Stage, client: Client, fields: Any, status: int) -> None:
    rest = "bypasses: [{name: b, matchers: [blocked.test]}]"
    answer = client(masque(stage, "bypass: b", rest)).request(fields).response()
    assert answer.status == status
    assert answer.get("proxy-authenticate") == ('Basic realm="here"' if status == 407 else "")
    assert answer.get("capsule-protocol") == ("?1" if status == 200 else "")


def test_requests_as_gost_33_makes_them(stage: Stage, client: Client) -> None:
    """Its client sends HTTP/3.0 for a protocol, and an empty scheme."""
    target = stage.greeter("in")
    session = client(masque(stage))
    fields = [(":authority", f"127.0.0.1:{target}"), (":method", "CONNECT"), (":path", "/")]
    stream = session.request([*fields, (":scheme", ""), (":protocol", "HTTP/3.0"), LOGIN])
    assert stream.response().status == 200
    assert read_to_end(stream.conn) == b"in"
    asked = [(name, "" if name == ":scheme" else value) for name, value in udp("127.0.0.1/9/")]
    assert session.request([*asked, LOGIN, CAPSULES]).response().status == 200


def test_silence_ends_a_relay(stage: Stage, client: Client) -> None:
    session = client(masque(stage, idle="200ms"))
    stream = session.request(connect(f"127.0.0.1:{stage.echo()}", LOGIN))
    assert stream.response().status == 200
    eventually(lambda: stream.peer_ended)


def test_masque_needs_its_channel(stage: Stage) -> None:
    from gostpy.errors import Unsupported
    from gostpy.interfaces import Context, Request
    from gostpy.processing.masque import Connector, ConnectorOptions
    from tests.channel.fakes import SilentLog

    connector = Connector(ConnectorOptions(), Context("a:1", SilentLog()))
    with pytest.raises(Unsupported):
        connector.connect(object(), Request("tcp", f"127.0.0.1:{free_port()}"))
