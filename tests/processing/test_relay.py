"""Relay, both sides: captured exchanges byte for byte, and what goes wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from gostpy.errors import AuthFailed, ConnectionClosed, DialFailed, ProtocolError, Unsupported
from gostpy.interfaces import Request
from gostpy.net.packet import dial_udp, listen_udp
from gostpy.net.pipe import pipe
from gostpy.processing.relay import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.wire.relay import Refused
from tests.processing.scene import close_pairs, connector_context, pair, played, receive

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def only_u(user: str, password: str, _: str) -> str | None:
    return user if (user, password) == ("u", "pw") else None


AUTH = "01 0005 01 75 02 7077"
CONNECT = unhex(f"01 01 0012 {AUTH} 02 0007 01 7f000001 4a39")


# -- handler ---------------------------------------------------------------------------------------


def test_connect() -> None:
    with played(Handler, HandlerOptions(), authenticate=only_u) as scene:
        scene.client.sendall(CONNECT + b"hello")
        assert receive(scene.client, 4) == b"\1\0\0\0"
        assert receive(scene.target, 5) == b"hello"
        scene.target.sendall(b"hello")
        assert receive(scene.client, 5) == b"hello"
        assert (scene.request.network, scene.request.address) == ("tcp", "127.0.0.1:19001")
        assert scene.request.client_id == "u"


def test_connect_byte_by_byte() -> None:
    with played(Handler, HandlerOptions(), authenticate=only_u) as scene:
        for byte in CONNECT + b"hello":
            scene.client.sendall(bytes((byte,)))
            gevent.sleep(0)
        assert receive(scene.client, 4) == b"\1\0\0\0"
        assert receive(scene.target, 5) == b"hello"


def test_reply_does_not_wait_for_the_target() -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(CONNECT)
        assert receive(scene.client, 4) == b"\1\0\0\0"


def test_half_close_both_ways() -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(CONNECT + b"question")
        scene.client.shutdown(socket.SHUT_WR)
        assert receive(scene.target, 100) == b"question"
        scene.target.sendall(b"answer")
        scene.target.close()
        assert receive(scene.client, 100) == b"\1\0\0\0answer"


REFUSED = [
    pytest.param(unhex(f"01 01 0012 {AUTH[:-4]}7878 020007017f0000014a39"), {}, 2, id="password"),
    pytest.param(unhex("01 01 000a 020007017f0000014a39"), {}, 2, id="no user"),
    pytest.param(unhex(f"01 01 0008 {AUTH}"), {}, 1, id="no target"),
    pytest.param(unhex(f"01 03 0012 {AUTH} 020007017f0000014a39"), {}, 1, id="command 3"),
    pytest.param(unhex(f"01 02 0012 {AUTH} 020007017f0000014a39"), {}, 3, id="bind disabled"),
    pytest.param(CONNECT, {"bypassed": lambda *_: "rule"}, 3, id="bypassed"),
    pytest.param(CONNECT, {}, 7, id="refused"),
]


@pytest.mark.parametrize(("wire", "context", "status"), REFUSED)
def test_refusals(wire: bytes, context: dict[str, Any], status: int) -> None:
    with played(Handler, HandlerOptions(), reach=False, authenticate=only_u, **context) as scene:
        scene.client.sendall(wire)
        assert receive(scene.client, 100) == bytes((1, status, 0, 0))
    assert scene.error is not None


CLOSED = [
    pytest.param(b"\2\1\0\0", id="version"),
    pytest.param(b"\1\1\0\3\7\0\0", id="unknown feature"),
    pytest.param(b"\1\1\0\4\2\0\1\5", id="address type"),
]


@pytest.mark.parametrize("wire", CLOSED)
def test_bad_requests_get_no_reply(wire: bytes) -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(wire)
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, ProtocolError)


def test_slow_request() -> None:
    with played(Handler, HandlerOptions(read_timeout=0.05)) as scene:
        scene.client.sendall(CONNECT[:-1])
        assert receive(scene.client, 1) == b""
    assert isinstance(scene.error, TimeoutError)


def test_unix_target_is_dialed_here(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    with played(Handler, HandlerOptions(), reach=False) as scene:
        name = path.encode()
        address = b"\3" + bytes((len(name),)) + name + b"\0\0"
        features = unhex("04 0002 0010 02") + len(address).to_bytes(2, "big") + address
        scene.client.sendall(b"\1\1" + len(features).to_bytes(2, "big") + features + b"x")
        assert receive(scene.client, 4) == b"\1\0\0\0"
        accepted, _ = server.accept()
        assert receive(accepted, 1) == b"x"
        accepted.close()
    server.close()


class OneNode:
    """A forwarder with one target."""

    name = "forwarder"

    def __init__(self) -> None:
        self.marks: list[str] = []
        self.marker = self
        self.address = "10.1.1.1:80"

    def select(self, request: Request) -> OneNode:
        return self

    def mark(self) -> None:
        self.marks.append("mark")

    def reset(self) -> None:
        self.marks.append("reset")


class NoNode:
    name = "empty"

    def select(self, request: Request) -> None:
        return None


def test_forward_mode() -> None:
    hop = OneNode()
    with played(Handler, HandlerOptions(), hop=hop) as scene:
        scene.client.sendall(b"\1\1\0\0data")
        assert receive(scene.client, 4) == b"\1\0\0\0"
        assert receive(scene.target, 4) == b"data"
        assert scene.request.address == "10.1.1.1:80"
    assert hop.marks == ["reset"]


def test_forward_mode_failures() -> None:
    hop = OneNode()
    with played(Handler, HandlerOptions(), hop=hop, reach=False) as scene:
        scene.client.sendall(b"\1\1\0\0")
        assert receive(scene.client, 10) == b"\1\6\0\0"
    assert hop.marks == ["mark"]
    with played(Handler, HandlerOptions(), hop=NoNode()) as scene:
        scene.client.sendall(b"\1\1\0\0")
        assert receive(scene.client, 10) == b"\1\5\0\0"


def udp_echo() -> tuple[socket.socket, str]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock, f"127.0.0.1:{sock.getsockname()[1]}"


def address_bytes(address: str) -> bytes:
    host, _, port = address.partition(":")
    return b"\1" + socket.inet_aton(host) + int(port).to_bytes(2, "big")


def test_udp_connect() -> None:
    echo, address = udp_echo()
    with played(Handler, HandlerOptions(), upstream=dial_udp(address)) as scene:
        target = address_bytes(address)
        scene.client.sendall(unhex("01 81 000f 0400020001 020007") + target + b"\0\5ping1")
        assert receive(scene.client, 4) == b"\1\0\0\0"
        data, sender = echo.recvfrom(100)
        assert data == b"ping1"
        echo.sendto(data, sender)
        assert receive(scene.client, 7) == b"\0\5ping1"
        assert (scene.request.network, scene.request.address) == ("udp", address)
    echo.close()


def test_udp_association(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(host: str, port: int) -> None:
        raise DialFailed(f"no such name: {host}")

    monkeypatch.setattr("gostpy.processing.udprelay.resolve_name", no_such_name)
    echo, address = udp_echo()
    with played(Handler, HandlerOptions(bind=True), authenticate=only_u) as scene:
        scene.client.sendall(unhex(f"01 82 0014 {AUTH} 0400020001 02000403000000"))
        reply = receive(scene.client, 26)
        assert reply[:8] == unhex("01 00 0016 020013 04")
        assert reply[8:24] == bytes(16)
        frame = b"\0\4\xff" + address_bytes(address) + b"abcd"
        for _ in range(3):
            scene.client.sendall(frame)
            data, sender = echo.recvfrom(100)
            assert data == b"abcd"
            echo.sendto(data, sender)
            assert receive(scene.client, len(frame)) == frame
        scene.client.sendall(b"\0\1\xff\3\4none\0\1x" + frame)
        assert echo.recvfrom(100)[0] == b"abcd"
    echo.close()
    assert "no such name: none" in str(scene.log.messages)


def test_udp_association_obeys_rules() -> None:
    echo, address = udp_echo()
    allowed, other = udp_echo()
    rules = {"bypassed": lambda _, target, *__: "rule" if target == address else ""}
    with played(Handler, HandlerOptions(bind=True), **rules) as scene:
        scene.client.sendall(unhex("01 82 000c 0400020001 02000403000000"))
        receive(scene.client, 26)
        scene.client.sendall(b"\0\1\xff" + address_bytes(address) + b"x")
        scene.client.sendall(b"\0\1\xff" + address_bytes(other) + b"y")
        assert allowed.recv(10) == b"y"
        echo.setblocking(False)
        with pytest.raises(BlockingIOError):
            echo.recv(10)
    echo.close()
    allowed.close()


def test_bind_in_use() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with played(Handler, HandlerOptions(bind=True)) as scene:
        address = address_bytes(f"127.0.0.1:{taken.getsockname()[1]}")
        scene.client.sendall(unhex("01 02 000a 020007") + address)
        assert receive(scene.client, 10) == b"\1\5\0\0"
    taken.close()


def test_bind() -> None:
    with played(Handler, HandlerOptions(bind=True), authenticate=only_u) as scene:
        scene.client.sendall(unhex(f"01 02 0017 {AUTH} 0400020000 020007017f000001 0000"))
        reply = receive(scene.client, 14)
        assert reply[:12] == unhex("01 00 000a 020007017f000001")
        peer = socket.create_connection(("127.0.0.1", int.from_bytes(reply[12:], "big")))
        peer.settimeout(10)
        peer.sendall(b"bindhello")
        assert receive(scene.client, 8) == unhex("01 00 0000 03000000")  # SYN
        announced = receive(scene.client, 22)
        assert announced == unhex("01 02 0e00 03000000 01 00 000a 020007") + address_bytes(
            f"127.0.0.1:{peer.getsockname()[1]}"
        )
        data = unhex("01 02 0900 03000000") + b"bindhello"
        assert receive(scene.client, len(data)) == data
        scene.client.sendall(data)
        assert receive(peer, 9) == b"bindhello"
        peer.close()
        assert receive(scene.client, 8) == unhex("01 01 0000 03000000")  # FIN
        port = int.from_bytes(reply[12:], "big")
    with pytest.raises(ConnectionRefusedError):  # the binding ends with the client
        socket.create_connection(("127.0.0.1", port), 5)


# -- connector -------------------------------------------------------------------------------------


def test_connector_request_rides_on_the_first_data() -> None:
    conn, server = pair()
    connector = Connector(ConnectorOptions(), connector_context("u", "pw"))
    stream = connector.connect(connector.handshake(conn), Request("tcp", "127.0.0.1:19001"))
    stream.sendall(b"hello")
    assert server.recv(100) == CONNECT + b"hello"
    server.sendall(b"\1\0\0\0hello")
    assert stream.read_exact(5) == b"hello"
    server.sendall(b"more")
    assert stream.recv() == b"more"


def test_connector_asks_when_only_reading() -> None:
    conn, server = pair()
    stream = Connector(ConnectorOptions(), connector_context("u", "pw")).connect(
        conn, Request("tcp", "127.0.0.1:19001")
    )
    reading = gevent.spawn(stream.recv)
    assert receive(server, len(CONNECT)) == CONNECT
    server.sendall(b"\1\0\0\0banner")
    assert reading.get(timeout=10) == b"banner"


def test_connector_asks_when_a_pipe_starts() -> None:
    conn, server = pair()
    left, client = pair()
    stream = Connector(ConnectorOptions(), connector_context("u", "pw")).connect(
        conn, Request("tcp", "127.0.0.1:19001")
    )
    pipe(left, stream)
    assert receive(server, len(CONNECT)) == CONNECT
    server.sendall(b"\1\0\0\0banner")
    assert receive(client, 6) == b"banner"


@pytest.mark.parametrize("status", [1, 2, 3, 5, 6, 7])
def test_connector_refused(status: int) -> None:
    conn, server = pair()
    stream = Connector(ConnectorOptions(), connector_context()).connect(
        conn, Request("tcp", "a.b:1")
    )
    stream.sendall(b"x")
    server.sendall(bytes((1, status, 0, 0)))
    with pytest.raises(Refused, match=str(status)):
        stream.recv()


def test_connector_nodelay() -> None:
    conn, server = pair()
    server.sendall(b"\1\0\0\0early")
    stream = Connector(ConnectorOptions(nodelay=True), connector_context("u", "pw")).connect(
        conn, Request("tcp", "127.0.0.1:19001")
    )
    assert server.recv(100) == CONNECT
    assert stream.recv() == b"early"
    conn, server = pair()
    server.sendall(b"\1\7\0\0")
    with pytest.raises(Refused):
        Connector(ConnectorOptions(nodelay=True), connector_context()).connect(
            conn, Request("tcp", "127.0.0.1:19001")
        )


def test_connector_nodelay_with_a_reply_that_is_kept_back() -> None:
    conn, server = pair()
    stream = Connector(ConnectorOptions(nodelay=True), connector_context("u", "pw")).connect(
        conn, Request("tcp", "127.0.0.1:19001")
    )
    assert server.recv(100) == CONNECT
    stream.sendall(b"hello")
    assert server.recv(100) == b"hello"
    server.sendall(b"\1\0\0\0hello")
    assert stream.recv() == b"hello"


def test_connector_timeout() -> None:
    conn, _server = pair()
    options = ConnectorOptions(nodelay=True, connect_timeout=0.05)
    with pytest.raises(TimeoutError):
        Connector(options, connector_context()).connect(conn, Request("tcp", "1.2.3.4:5"))


def test_connector_other_networks() -> None:
    conn, server = pair()
    stream = Connector(ConnectorOptions(), connector_context()).connect(
        conn, Request("unix", "/tmp/x")
    )
    stream.sendall(b"")
    assert server.recv(100) == unhex("01 01 0012 0400020010 02000a0306") + b"/tmp/x\0\0"
    with pytest.raises(Unsupported):
        Connector(ConnectorOptions(), connector_context()).connect(conn, Request("ip", "1.2.3.4"))


def test_connector_udp() -> None:
    conn, server = pair()
    packets = Connector(ConnectorOptions(), connector_context("u", "pw")).connect(
        conn, Request("udp", "127.0.0.1:19001")
    )
    packets.send_to(b"ping1", "ignored:1")
    request = unhex(f"01 81 0017 0400020001 {AUTH} 020007017f0000014a39 0005 70696e6731")
    assert server.recv(100) == request
    server.sendall(b"\1\0\0\0\0\5ping1\0\2")
    assert packets.recv_from() == (b"ping1", "127.0.0.1:19001")
    server.sendall(b"ok")
    assert packets.recv_from() == (b"ok", "127.0.0.1:19001")
    server.close()
    with pytest.raises(ConnectionClosed):
        packets.recv_from()


def test_connector_udp_association() -> None:
    conn, server = pair()
    server.sendall(unhex("01 00 0016 020013 04" + "00" * 16 + "cd0c"))
    packets = Connector(ConnectorOptions(), connector_context("u", "pw")).connect(
        conn, Request("udp", "")
    )
    assert server.recv(100) == unhex(f"01 82 0014 {AUTH} 0400020001 02000403000000")
    packets.send_to(b"abcd", "127.0.0.1:19001")
    frame = unhex("0004 ff 01 7f000001 4a39 61626364")
    assert server.recv(100) == frame
    server.sendall(frame)
    assert packets.recv_from() == (b"abcd", "127.0.0.1:19001")
    packets.close()


def test_connector_bind() -> None:
    conn, server = pair()
    server.sendall(unhex("01 00 000a 020007017f00000146c8"))
    binding = Connector(ConnectorOptions(), connector_context("u", "pw")).bind(
        conn, Request("tcp", "127.0.0.1:18120"), mux=True
    )
    assert server.recv(100) == unhex(f"01 02 0017 {AUTH} 0400020000 020007017f00000146c8")
    assert binding.address == ("127.0.0.1", 18120)
    server.sendall(unhex("01 00 0000 03000000"))
    server.sendall(unhex("01 02 0e00 03000000 01 00 000a 020007017f0000018d26"))
    server.sendall(unhex("01 02 0900 03000000") + b"bindhello")
    peer = binding.accept()
    assert peer.info.peer == ("127.0.0.1", 36134)
    assert peer.read_exact(9) == b"bindhello"
    peer.sendall(b"bindhello")
    assert receive(server, 17) == unhex("01 02 0900 03000000") + b"bindhello"
    server.close()
    with pytest.raises(ConnectionClosed):
        binding.accept()


def test_connector_bind_refused() -> None:
    conn, server = pair()
    server.sendall(b"\1\3\0\0")
    with pytest.raises(Refused):
        Connector(ConnectorOptions(), connector_context()).bind(conn, Request("tcp", ":1"))


def test_connector_udp_bind() -> None:
    conn, server = pair()
    server.sendall(unhex("01 00 000a 020007017f00000146c9"))
    binding = Connector(ConnectorOptions(), connector_context("u", "pw")).bind(
        conn, Request("udp", "127.0.0.1:18121"), backlog=1, queue=4, buffer=2048, ttl=5.0
    )
    assert server.recv(100) == unhex(f"01 82 0017 {AUTH} 0400020001 020007017f00000146c9")
    server.sendall(unhex("0002 ff 01 7f000001 4a37 6275"))
    session = binding.accept()
    assert session.recv_from() == (b"bu", "127.0.0.1:18999")
    session.send_to(b"bu")
    assert server.recv(100) == unhex("0002 ff 01 7f000001 4a37 6275")
    binding.close()
    with pytest.raises(ConnectionClosed):
        binding.accept()


def test_relay_needs_a_stream() -> None:
    packets = listen_udp("127.0.0.1:0")
    with pytest.raises(Unsupported):
        Connector(ConnectorOptions(), connector_context()).connect(packets, Request("tcp", "a:1"))
    packets.close()


def test_wrong_password_is_not_an_error_of_the_program() -> None:
    with played(Handler, HandlerOptions(), authenticate=only_u) as scene:
        scene.client.sendall(b"\1\1\0\0")
        receive(scene.client, 4)
    assert isinstance(scene.error, AuthFailed)
