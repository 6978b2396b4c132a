"""Datagrams that the firewall of a router sends to a node (TPROXY), IPv4 and IPv6."""

import socket
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.engine.running import eventually
from tests.net.privileges import needs_namespaces
from tests.transparent.routing import CLIENT, ROUTER, SERVER, Routing, gostpy_program
from tests.wire.test_quicinitial import first_datagram

pytestmark = [pytest.mark.timeout(60), needs_namespaces]

versions = pytest.mark.parametrize(
    "version", [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]
)
only_gostpy = pytest.mark.parametrize("program", [gostpy_program()], ids=["gostpy"])

CONFIG = """
services:
- name: redu
  addr: :{port}
  %s
  listener: {type: redu, metadata: {%s}}
  handler: {type: redu, metadata: {%s}}
%s
"""


@pytest.fixture
def start(routing: Routing, program: list[str], tmp_path: Path) -> Any:
    """Run a node, with options as flow mappings without braces; gives its port."""

    def run(listener: str = "", handler: str = "", service: str = "", rest: str = "") -> int:
        config = CONFIG % (service, listener, handler, rest)
        return routing.node(program, config, "udp", tmp_path)

    return run


def client(routing: Routing, version: int, port: int = 5353) -> socket.socket:
    """Connected: it takes answers from the server's address only."""
    sock = routing.socket(routing.client, version, socket.SOCK_DGRAM)
    sock.connect((SERVER[version], port))
    return sock


def ask(sock: socket.socket, data: bytes, seconds: float = 5) -> bytes:
    """Who the server saw, and the data; empty without an answer."""
    sock.settimeout(seconds)
    sock.send(data)
    try:
        return sock.recv(65535)
    except TimeoutError:
        return b""


@versions
def test_without_a_node(routing: Routing, version: int) -> None:
    with client(routing, version) as sock:
        assert ask(sock, b"x") == f"{CLIENT[version]} x".encode()


@versions
def test_datagrams(routing: Routing, start, version: int) -> None:
    port = start()
    with routing.tproxy(version, "udp", port), client(routing, version) as sock:
        for data in (b"one", b"two", b"x" * 1400):
            assert ask(sock, data) == f"{ROUTER[version]} ".encode() + data


def test_with_established_sockets_diverted(routing: Routing, start) -> None:
    """The usual rule before TPROXY: what follows may reach the answering socket itself."""
    port = start()
    divert = ("-p", "udp", "-m", "socket", "--transparent", "-j", "MARK", "--set-mark", "1")
    accept = ("-p", "udp", "-m", "mark", "--mark", "1", "-j", "ACCEPT")
    with (
        routing.rule(4, "mangle", *divert),
        routing.rule(4, "mangle", *accept),
        routing.tproxy(4, "udp", port),
        client(routing, 4) as sock,
    ):
        for data in (b"one", b"two", b"three"):
            assert ask(sock, data) == f"{ROUTER[4]} ".encode() + data


def test_many_clients(routing: Routing, start) -> None:
    port = start()
    with routing.tproxy(4, "udp", port):
        clients = [client(routing, 4) for _ in range(20)]
        asking = [gevent.spawn(ask, sock, b"%d" % at) for at, sock in enumerate(clients)]
        gevent.joinall(asking, timeout=10)
        answers = [each.value for each in asking]
        for sock in clients:
            sock.close()
    assert answers == [f"{ROUTER[4]} {at}".encode() for at in range(20)]


def test_bypass(routing: Routing, start) -> None:
    port = start(service="bypass: b", rest=f"bypasses: [{{name: b, matchers: ['{SERVER[4]}']}}]")
    with routing.tproxy(4, "udp", port), client(routing, 4) as sock:
        assert ask(sock, b"x", 0.2) == b""


@only_gostpy
def test_admission(routing: Routing, start) -> None:
    port = start(
        service="admission: a", rest=f"admissions: [{{name: a, matchers: ['{CLIENT[4]}']}}]"
    )
    with routing.tproxy(4, "udp", port), client(routing, 4) as sock:
        assert ask(sock, b"x", 0.2) == b""


@only_gostpy
def test_datagrams_to_the_listener_itself(routing: Routing, start) -> None:
    """They are dropped; gost answers itself without end."""
    port = start()
    with routing.socket(routing.client, 4, socket.SOCK_DGRAM) as sock:
        sock.connect(("10.7.1.1", port))
        assert ask(sock, b"x", 0.1) == b""
    with routing.tproxy(4, "udp", port), client(routing, 4) as sock:
        assert ask(sock, b"x") == f"{ROUTER[4]} x".encode()


@only_gostpy
@pytest.mark.effect("listener:redu", "ttl")
def test_ttl(routing: Routing, start) -> None:
    """A session that ended begins anew, from another port of the router."""
    port = start("ttl: 50ms")
    server = routing.socket(routing.server, 4, socket.SOCK_DGRAM)
    server.bind((SERVER[4], 0))
    seen: list[Any] = []
    near = server.getsockname()[1]
    with server, routing.tproxy(4, "udp", port), client(routing, 4, near) as sock:

        def another() -> bool:
            sock.send(b"x")
            seen.append(server.recvfrom(10)[1])
            gevent.sleep(0.12)
            return len(set(seen)) > 1

        eventually(another, 10)


@only_gostpy
@pytest.mark.effect("handler:redu", "sniffing")
def test_host_of_a_quic_client(routing: Routing, start) -> None:
    rest = "bypasses: [{name: b, matchers: [forbidden.test]}]"
    port = start(handler="sniffing: true", service="bypass: b", rest=rest)
    with routing.tproxy(4, "udp", port):
        for name, passes in (("allowed.test", True), ("forbidden.test", False)):
            with client(routing, 4) as sock:
                answer = ask(sock, first_datagram(name), 5 if passes else 0.2)
                assert bool(answer) == passes
        with client(routing, 4) as sock:
            assert ask(sock, b"not quic") == f"{ROUTER[4]} not quic".encode()
