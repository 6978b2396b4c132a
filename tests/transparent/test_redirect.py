"""Conns that the firewall of a router sends to a node: REDIRECT and TPROXY, IPv4 and IPv6."""

import socket
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.engine.running import read_all, read_exact
from tests.net.privileges import needs_namespaces
from tests.transparent.routing import CLIENT, ROUTER, SECOND, SERVER, Routing, gostpy_program

pytestmark = [pytest.mark.timeout(60), needs_namespaces]

versions = pytest.mark.parametrize(
    "version", [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]
)

CONFIG = """
services:
- name: red
  addr: :{port}
  %s
  listener: {type: red, metadata: {%s}}
  handler: {type: red, metadata: {%s}}
%s
"""


@pytest.fixture
def start(routing: Routing, program: list[str], tmp_path: Path) -> Any:
    """Run a node, with options as flow mappings without braces; gives its port."""

    def run(listener: str = "", handler: str = "", service: str = "", rest: str = "") -> int:
        config = CONFIG % (service, listener, handler, rest)
        return routing.node(program, config, "tcp", tmp_path)

    return run


def reached(routing: Routing, host: str, port: int, data: bytes = b"hello") -> list[str]:
    """Which address was reached, and by whom."""
    with routing.dial(host, port) as sock:
        sock.sendall(data)
        line = b""
        while not line.endswith(b"\n"):
            line += read_exact(sock, 1)
        assert read_exact(sock, len(data)) == data
        return line.decode().split()


@versions
def test_without_a_node(routing: Routing, version: int) -> None:
    """The control: the router forwards, and the client is seen."""
    assert reached(routing, SERVER[version], 80) == [SERVER[version], CLIENT[version]]


@versions
def test_redirect(routing: Routing, start, version: int) -> None:
    port = start()
    with routing.redirect(version, port):
        for host in (SERVER[version], SECOND[version]):
            for service in (80, 443):
                assert reached(routing, host, service) == [host, ROUTER[version]]


@versions
@pytest.mark.effect("listener:red", "tproxy")
@pytest.mark.effect("handler:redirect", "tproxy")
def test_tproxy(routing: Routing, start, version: int) -> None:
    port = start("tproxy: true", "tproxy: true")
    with routing.tproxy(version, "tcp", port):
        for host in (SERVER[version], SECOND[version]):
            assert reached(routing, host, 80) == [host, ROUTER[version]]


def test_bulk_and_half_close(routing: Routing, start) -> None:
    port = start()
    data = bytes(range(256)) * 8192
    with routing.redirect(4, port), routing.dial(SERVER[4], 80) as sock:
        sock.sendall(b"x")
        assert read_exact(sock, len(f"{SERVER[4]} {ROUTER[4]}\nx"))
        sock.settimeout(20)
        sending = gevent.spawn(lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        assert read_all(sock) == data
        sending.get(timeout=5)


HOSTS = f"""
hosts:
- name: names
  mappings:
  - {{ip: {SECOND[4]}, hostname: second.test}}
  - {{ip: {ROUTER[4]}, hostname: nobody.test}}
"""
NAMES = "hosts: names"


def page(routing: Routing, name: bytes, host: str = SERVER[4]) -> str:
    """Who answers a request to a server that names ``name``; empty when nobody does."""
    with routing.dial(host, 80) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name)
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2].endswith(b"\n"):
            piece = sock.recv(65536)
            if not piece:
                return ""
            answer += piece
        return answer.decode().rpartition("\r\n\r\n")[2].partition(" ")[0]


@pytest.mark.effect("handler:redirect", "sniffing")
def test_sniffed_host_at_the_original_port(routing: Routing, start) -> None:
    port = start(handler="sniffing: true", service=NAMES, rest=HOSTS)
    with routing.redirect(4, port):
        assert page(routing, b"second.test:8080") == SECOND[4]
        assert page(routing, b"nobody.test") == ""
        assert reached(routing, SERVER[4], 80, b"\x00opaque")[0] == SERVER[4]


@pytest.mark.effect("handler:redirect", "sniffing.fallback")
def test_fallback(routing: Routing, start) -> None:
    port = start(handler="sniffing: true, sniffing.fallback: true", service=NAMES, rest=HOSTS)
    with routing.redirect(4, port):
        assert page(routing, b"second.test") == SECOND[4]
        assert page(routing, b"nobody.test") == SERVER[4]


@pytest.mark.parametrize("program", [gostpy_program()], ids=["gostpy"])
@pytest.mark.effect("handler:redirect", "sniffing.dialOriginalDst")
def test_original_destination_in_spite_of_a_host(routing: Routing, start) -> None:
    """Rules see the host all the same (gost 3.3)."""
    rest = HOSTS + "bypasses: [{name: b, matchers: [forbidden.test]}]"
    handler = "sniffing: true, sniffing.dialOriginalDst: true"
    port = start(handler=handler, service=NAMES + "\n  bypass: b", rest=rest)
    with routing.redirect(4, port):
        assert page(routing, b"second.test") == SERVER[4]
        assert page(routing, b"forbidden.test") == ""


@pytest.mark.effect("handler:redirect", "sniffing.timeout")
def test_a_server_that_speaks_first(routing: Routing, start) -> None:
    """The client says nothing at first: after the time for sniffing the stream is opaque."""
    port = start(handler="sniffing: true, sniffing.timeout: 200ms")
    server = routing.socket(routing.server, 4, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((SERVER[4], 2500))
    server.listen()
    with server, routing.redirect(4, port), routing.dial(SERVER[4], 2500) as sock:
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"220 hello")
            assert read_exact(sock, 9) == b"220 hello"


def test_bypass(routing: Routing, start) -> None:
    port = start(service="bypass: b", rest=f"bypasses: [{{name: b, matchers: ['{SECOND[4]}']}}]")
    with routing.redirect(4, port):
        assert reached(routing, SERVER[4], 80)[0] == SERVER[4]
        with pytest.raises((EOFError, ConnectionError)):
            reached(routing, SECOND[4], 80)


@versions
def test_admission(routing: Routing, start, version: int) -> None:
    port = start(
        service="admission: a", rest=f"admissions: [{{name: a, matchers: ['{CLIENT[version]}']}}]"
    )
    with routing.redirect(version, port), pytest.raises((EOFError, ConnectionError)):
        reached(routing, SERVER[version], 80)


def test_connection_limit(routing: Routing, start) -> None:
    port = start(service="climiter: c", rest="climiters: [{name: c, limits: ['$ 1']}]")
    with routing.redirect(4, port), routing.dial(SERVER[4], 80) as first:
        first.sendall(b"x")
        assert read_exact(first, 1)
        with pytest.raises((EOFError, ConnectionError)):
            reached(routing, SERVER[4], 80)


@pytest.mark.parametrize("program", [gostpy_program()], ids=["gostpy"])
def test_proxy_header_names_the_destination(routing: Routing, start) -> None:
    """And a conn that nobody redirected is refused; gost dials itself without end."""
    port = start(service="metadata: {proxyProtocol: 1}")
    header = f"PROXY TCP4 1.2.3.4 {SECOND[4]} 4000 80\r\n".encode()
    with routing.dial("10.7.1.1", port) as sock:
        sock.sendall(header + b"hello")
        assert read_exact(sock, len(SECOND[4])).decode() == SECOND[4]
    with routing.dial("10.7.1.1", port) as sock:
        sock.sendall(b"hello")
        assert read_all(sock) == b""


@pytest.mark.parametrize("program", [gostpy_program()], ids=["gostpy"])
@pytest.mark.parametrize("tproxy", ["true", "false"])
def test_a_conn_to_the_listener_itself(routing: Routing, start, tproxy: str) -> None:
    port = start(f"tproxy: {tproxy}", f"tproxy: {tproxy}")
    with routing.dial("10.7.1.1", port) as sock:
        assert read_all(sock) == b""
    with routing.tproxy(4, "tcp", port) if tproxy == "true" else routing.redirect(4, port):
        assert reached(routing, SERVER[4], 80)[0] == SERVER[4]
