"""How sockets are made: interface, mark, namespaces, MPTCP, time limits, PROXY protocol."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from gostpy.guard import points
from tests.engine.running import Stage, ask, dial, eventually, fetch, read_all, read_exact

FORWARD = """
services:
- name: in
  addr: 127.0.0.1:0
  handler: {{type: tcp{handler}}}
  listener: {{type: tcp{listener}}}
  {service}
  forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}
"""
WAY = """
chains:
- name: way
  hops:
  - name: h
    {hop}
    nodes:
    - {{name: n, addr: "127.0.0.1:{target}", connector: {{type: {kind}}},
       dialer: {{type: {kind}}}{node}}}
"""


def forward(target: int, service: str = "", *, handler: str = "", listener: str = "") -> str:
    return FORWARD.format(target=target, service=service, handler=handler, listener=listener)


def over(target: int, *, hop: str = "", node: str = "", kind: str = "tcp") -> str:
    """A service whose chain's only node is the target."""
    way = WAY.format(hop=hop, target=target, node=f", {node}" if node else "", kind=kind)
    return forward(target, handler=", chain: way") + way


def names_peer(sock: socket.socket) -> None:
    sock.sendall(sock.getpeername()[0].encode())


# -- where from ----------------------------------------------------------------------------------

FROM = [
    pytest.param("metadata: {interface: 127.0.0.2}", "127.0.0.2", id="address"),
    pytest.param("interface: 127.0.0.2", "127.0.0.2", id="field"),
    pytest.param(
        "interface: 127.0.0.2\n  metadata: {interface: 127.0.0.3}", "127.0.0.3", id="both"
    ),
    pytest.param("metadata: {interface: lo}", "127.0.0.1", id="name"),
    pytest.param("metadata: {interface: 'nowhere0,127.0.0.2'}", "127.0.0.2", id="next-one"),
    pytest.param("metadata: {interface: '10.255.0.1,127.0.0.2'}", "127.0.0.2", id="next-address"),
    pytest.param("metadata: {interface: '10.255.0.1!,127.0.0.2'}", "", id="strict"),
    pytest.param("metadata: {interface: nowhere0}", "", id="none"),
]


@pytest.mark.parametrize(("service", "source"), FROM)
def test_interface_of_a_service(stage: Stage, service: str, source: str) -> None:
    assert fetch(stage.run(forward(stage.serve(names_peer), service)).port("in")) == source


INHERITED = [
    pytest.param({"hop": "interface: 127.0.0.2"}, "127.0.0.2", id="hop-field"),
    pytest.param({"hop": "metadata: {interface: 127.0.0.2}"}, "127.0.0.2", id="hop"),
    pytest.param({"node": "interface: 127.0.0.2"}, "127.0.0.2", id="node-field"),
    pytest.param({"node": "metadata: {interface: 127.0.0.2}"}, "127.0.0.2", id="node"),
    pytest.param(
        {"hop": "interface: 127.0.0.2", "node": "metadata: {interface: 127.0.0.3}"},
        "127.0.0.3",
        id="node-wins",
    ),
    pytest.param(
        {"node": "metadata: {interface: 127.0.0.2}", "kind": "direct"}, "127.0.0.2", id="direct"
    ),
]


@pytest.mark.parametrize(("where", "source"), INHERITED)
def test_interface_of_a_node(stage: Stage, where: dict[str, str], source: str) -> None:
    assert fetch(stage.run(over(stage.serve(names_peer), **where)).port("in")) == source


def test_unusable_interface_is_a_failed_dial(stage: Stage) -> None:
    text = "services: [{name: in, addr: '127.0.0.1:0', handler: {type: socks5},"
    text += " metadata: {interface: nowhere0}}]"
    assert ask(stage.run(text).port("in"), "127.0.0.1", stage.greeter("x")) == "reply 3"


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@root
@pytest.mark.parametrize("level", ["service", "hop", "node", "sockopts"])
def test_mark(stage: Stage, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = []
    real = socket.socket

    import _socket

    class Seen(_socket.socket):
        def setsockopt(self, *arguments):
            if arguments[:2] == (socket.SOL_SOCKET, 36):
                marks.append(arguments[2])
            return super().setsockopt(*arguments)

    from gostpy.net import sockopt

    monkeypatch.setattr(sockopt._socket, "socket", Seen)
    target = stage.greeter("x")
    texts = {
        "service": lambda: forward(target, "metadata: {so_mark: 7}"),
        "sockopts": lambda: forward(target, "sockopts: {mark: 7}"),
        "hop": lambda: over(target, hop="metadata: {so_mark: 7}"),
        "node": lambda: over(target, node="metadata: {so_mark: 7}"),
    }
    assert fetch(stage.run(texts[level]()).port("in")) == "x"
    assert marks == [7]
    assert socket.socket is real


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with its loopback up."""
    name = f"gostpy-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot make a network namespace: {made.stderr.decode().strip()}")
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def in_namespace(name: str, port: int, *, listen: bool) -> socket.socket:
    from gostpy.net import sockopt

    with sockopt.in_namespace(name):
        sock = socket.socket()
    if listen:
        sock.bind(("127.0.0.1", port))
        sock.listen()
    else:
        sock.connect(("127.0.0.1", port))
    return sock


needs_ip = pytest.mark.skipif(not shutil.which("ip"), reason="needs the ip command")


@root
@needs_ip
@pytest.mark.parametrize("by_path", [False, True])
def test_namespace_of_a_listener(stage: Stage, namespace: str, by_path: bool) -> None:
    name = f"/var/run/netns/{namespace}" if by_path else namespace
    running = stage.run(forward(stage.greeter("x"), f"metadata: {{netns: {name}}}"))
    with pytest.raises(ConnectionRefusedError):
        dial(running.port("in"))
    with in_namespace(namespace, running.port("in"), listen=False) as sock:
        assert read_all(sock) == b"x"


@root
@needs_ip
@pytest.mark.parametrize("level", ["service", "hop", "node"])
def test_namespace_of_a_dial(stage: Stage, namespace: str, level: str) -> None:
    import gevent

    server = in_namespace(namespace, 0, listen=True)
    stage.later(server.close)
    port = server.getsockname()[1]

    def serve() -> None:
        with server.accept()[0] as sock:
            sock.sendall(b"inside")

    gevent.spawn(serve)
    texts = {
        "service": lambda: forward(port, f"metadata: {{netns.out: {namespace}}}"),
        "hop": lambda: over(port, hop=f"metadata: {{netns: {namespace}}}"),
        "node": lambda: over(port, node=f"metadata: {{netns: {namespace}}}"),
    }
    assert fetch(stage.run(texts[level]()).port("in")) == "inside"


def test_missing_namespace_is_a_failed_dial(stage: Stage) -> None:
    running = stage.run(forward(stage.greeter("x"), "metadata: {netns.out: no-such-netns}"))
    assert fetch(running.port("in")) == ""
    assert len(running.messages("error")) == 1


def test_multipath_tcp(stage: Stage) -> None:
    text = forward(stage.greeter("x"), listener=", metadata: {mptcp: true}")
    assert fetch(stage.run(text).port("in")) == "x"


def test_dial_timeout(stage: Stage) -> None:
    """A listener whose queue is full answers no SYN."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        service = "metadata: {dialTimeout: 300ms}"
        running = stage.run(forward(full.getsockname()[1], service))
        started = time.monotonic()
        assert fetch(running.port("in")) == ""
        assert 0.2 < time.monotonic() - started < 2


def test_silent_node_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that accepts and says nothing cannot hold a client for ever; in gost it does."""
    import compat.build.parts

    monkeypatch.setattr(compat.build.parts, "HANDSHAKE_TIMEOUT", 0.3)
    silent = stage.serve(lambda sock: sock.recv(1) and time.sleep(20))
    text = over(silent).replace("dialer: {type: tcp}", "dialer: {type: tls}")
    started = time.monotonic()
    assert fetch(stage.run(text).port("in")) == ""
    assert 0.2 < time.monotonic() - started < 3


@pytest.mark.parametrize("kind", ["socks5", "http", "socks4"])
def test_node_that_never_answers_is_given_up(
    stage: Stage, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gostpy.route import route

    monkeypatch.setattr(route, "ANSWER_LIMIT", 0.3)
    silent = stage.serve(read_all)
    text = over(silent).replace("connector: {type: tcp}", f"connector: {{type: {kind}}}")
    running = stage.run(text)
    started = time.monotonic()
    assert fetch(running.port("in")) == ""
    assert 0.2 < time.monotonic() - started < 3
    assert len(running.messages("error")) == 1


# -- PROXY protocol ------------------------------------------------------------------------------


def header(sock: socket.socket) -> bytes:
    """A PROXY header from a conn, and the byte after it."""
    first = read_exact(sock, 16)
    if first.startswith(b"PROXY "):
        while not first.endswith(b"\r\n"):
            first += read_exact(sock, 1)
        return first
    return first + read_exact(sock, int.from_bytes(first[14:16], "big"))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("level", ["hop", "node", "handler"])
def test_header_is_sent(stage: Stage, version: int, level: str) -> None:
    seen = []

    def target(sock: socket.socket) -> None:
        seen.append(header(sock))
        sock.sendall(b"ok")

    port, option = stage.serve(target), f"metadata: {{proxyProtocol: {version}}}"
    texts = {
        "hop": lambda: over(port, hop=option),
        "node": lambda: over(port, node=option),
        "handler": lambda: forward(port, handler=f", {option}"),
    }
    running = stage.run(texts[level]())
    with dial(running.port("in")) as sock:
        assert read_all(sock) == b"ok"
        source, destination = sock.getsockname(), running.address("in")
    if version == 1:
        assert seen == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {source[1]} {destination[1]}\r\n".encode()]
    else:
        ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
        loopback = b"\x7f\0\0\1"
        assert seen == [points.proxyprotocol.SIGNATURE + b"\x21\x11\0\x0c" + loopback * 2 + ports]


SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\0\x0c" + b"\x09\x09\x09\x09" + b"\x08\x08\x08\x08" + b"\0\x01\0\x02"
HEADERS = [
    pytest.param(b"PROXY TCP4 9.9.9.9 8.8.8.8 1 2\r\n", "9.9.9.9:1", id="v1"),
    pytest.param(b"PROXY TCP6 ::9 ::8 1 2\r\n", "[::9]:1", id="v1-ipv6"),
    pytest.param(V2, "9.9.9.9:1", id="v2"),
    pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", id="unknown"),
    pytest.param(SIGNATURE + b"\x20\0\0\0", "127.0.0.1", id="local"),
    pytest.param(b"", "127.0.0.1", id="absent"),
]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_header_is_accepted(stage: Stage, header: bytes, source: str) -> None:
    running = stage.run(forward(stage.echo(), "metadata: {proxyProtocol: 1}"))
    with dial(running.port("in")) as sock:
        sock.sendall(header + b"data")
        assert read_exact(sock, 4) == b"data"
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
    (line,) = eventually(lambda: [line for line in running.log() if "inputBytes" in line])
    assert line["remote"].startswith(source)


@pytest.mark.parametrize("cut", range(1, len(V2), 4))
def test_header_in_pieces(stage: Stage, cut: int) -> None:
    running = stage.run(forward(stage.echo(), "metadata: {proxyProtocol: 1}"))
    with dial(running.port("in")) as sock:
        sock.sendall(V2[:cut])
        eventually(lambda: True)
        sock.sendall(V2[cut:] + b"data")
        assert read_exact(sock, 4) == b"data"


BROKEN = [
    pytest.param(b"PROXY TCP4 9.9.9.9\r\n", id="v1"),
    pytest.param(b"PROXY " + b"x" * 200, id="v1-long"),
    pytest.param(SIGNATURE + b"\x11\x11\0\x0c" + bytes(12), id="v2-version"),
    pytest.param(SIGNATURE + b"\x21\x11\0\x02" + bytes(2), id="v2-short"),
]


@pytest.mark.parametrize("header", BROKEN)
def test_broken_header_ends_the_conn(stage: Stage, header: bytes) -> None:
    running = stage.run(forward(stage.echo(), "metadata: {proxyProtocol: 1}"))
    with dial(running.port("in")) as sock:
        sock.sendall(header)
        assert read_all(sock) == b""
    assert len(running.messages("warning", "error")) == 1


def test_client_that_waits_is_served_without_header(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "PROXY_TIMEOUT", 0.2)
    running = stage.run(forward(stage.greeter("hello"), "metadata: {proxyProtocol: 1}"))
    assert fetch(running.port("in")) == "hello"


def test_source_in_a_header_must_be_admitted_too(stage: Stage) -> None:
    rest = "admissions: [{name: a, matchers: [9.9.9.9]}]\n"
    service = "admission: a\n  metadata: {proxyProtocol: 1}"
    running = stage.run(forward(stage.echo(), service) + rest)
    for source, answer in (("9.9.9.9", b""), ("9.9.9.8", b"x")):
        with dial(running.port("in")) as sock:
            sock.sendall(f"PROXY TCP4 {source} 8.8.8.8 1 2\r\nx".encode())
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == answer
