"""SOCKS 5, both sides: login, commands, and gost's extensions."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gostpy.errors import AuthFailed, ConnectionClosed, HandshakeFailed, Unsupported
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.net.packet import listen_udp
from gostpy.processing.socks5 import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.wire.socks5 import Refused
from tests.processing.scene import close_pairs, connector_context, pair, played, receive

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


OK = b"\5\0\0\1\0\0\0\0\0\0"
CONNECT = b"\5\1\0\1\x7f\0\0\1\x4a\x39"


def only_u(user: str, password: str, _: str) -> str | None:
    return user if (user, password) == ("u", "pw") else None


def target_bytes(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    return b"\1" + socket.inet_aton(host) + int(port).to_bytes(2, "big")


# -- handler ---------------------------------------------------------------------------------------

CHOICES = [
    pytest.param(b"\5\1\0", {}, {}, 0x00, id="none"),
    pytest.param(b"\5\2\0\x80", {}, {}, 0x80, id="tls"),
    pytest.param(b"\5\2\0\x80", {"notls": True}, {}, 0x00, id="notls"),
    pytest.param(b"\5\1\2", {}, {}, 0x00, id="not offered"),
    pytest.param(b"\5\1\0", {}, {"authenticate": only_u}, 0x02, id="user"),
    pytest.param(b"\5\4\0\2\x80\x82", {}, {"authenticate": only_u}, 0x82, id="tls and user"),
    pytest.param(b"\5\2\0\x82", {}, {"authenticate": only_u}, 0x02, id="tls only by 80"),
]


@pytest.mark.parametrize(("greeting", "options", "context", "method"), CHOICES)
def test_choice(
    greeting: bytes, options: dict[str, Any], context: dict[str, Any], method: int
) -> None:
    with played(Handler, HandlerOptions(**options), **context) as scene:
        scene.client.sendall(greeting)
        assert receive(scene.client, 2) == bytes((5, method))


@pytest.mark.parametrize("greeting", [b"\5\0", b"\4\1\0\0"])
def test_bad_greetings(greeting: bytes) -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(greeting)
        assert receive(scene.client, 1) == b""


def test_connect_all_in_one_packet() -> None:
    with played(Handler, HandlerOptions(hash="host"), authenticate=only_u) as scene:
        scene.client.sendall(b"\5\1\2" + b"\1\1u\2pw" + CONNECT + b"early")
        assert receive(scene.client, 14) == b"\5\2\1\0" + OK
        assert receive(scene.target, 5) == b"early"
        scene.target.sendall(b"answer")
        assert receive(scene.client, 6) == b"answer"
        request = scene.request
        assert (request.address, request.client_id) == ("127.0.0.1:19001", "u")
        assert request.hash_source == "127.0.0.1:19001"


def test_wrong_password() -> None:
    with played(Handler, HandlerOptions(), authenticate=only_u) as scene:
        scene.client.sendall(b"\5\1\2" + b"\1\1u\1p")
        assert receive(scene.client, 100) == b"\5\2\1\1"
    assert isinstance(scene.error, AuthFailed)


def test_slow_request() -> None:
    with played(Handler, HandlerOptions(read_timeout=0.05)) as scene:
        scene.client.sendall(b"\5\1\0\5")
        assert receive(scene.client, 100) == b"\5\0"
    assert isinstance(scene.error, TimeoutError)


def request_of(command: int, address: str = "0.0.0.0:0") -> bytes:
    return bytes((5, command, 0)) + target_bytes(address)


REFUSED = [
    pytest.param(request_of(1), {}, {}, 3, id="unreachable"),
    pytest.param(request_of(1), {}, {"bypassed": lambda *_: "rule"}, 2, id="bypassed"),
    pytest.param(request_of(2), {}, {}, 2, id="bind disabled"),
    pytest.param(request_of(0xF2), {}, {}, 2, id="mux bind disabled"),
    pytest.param(request_of(3), {}, {}, 2, id="udp disabled"),
    pytest.param(request_of(0xF3), {}, {}, 2, id="udp tunnel disabled"),
    pytest.param(request_of(0xF3, "0.0.0.0:9"), {"udp": True}, {}, 2, id="udp bind disabled"),
    pytest.param(request_of(3), {"udp": True}, {}, 1, id="no way out for udp"),
    pytest.param(request_of(0xF3), {"udp": True}, {}, 1, id="no way out for a udp tunnel"),
    pytest.param(request_of(9), {}, {}, 7, id="unknown command"),
    pytest.param(request_of(0xF0), {}, {}, 7, id="tor disabled"),
    pytest.param(request_of(0xF0), {"tor": True}, {}, 1, id="tor without a node"),
]


@pytest.mark.parametrize(("wire", "options", "context", "rep"), REFUSED)
def test_refusals(wire: bytes, options: dict[str, Any], context: dict[str, Any], rep: int) -> None:
    with played(Handler, HandlerOptions(**options), reach=False, **context) as scene:
        scene.client.sendall(b"\5\1\0" + wire)
        assert receive(scene.client, 100) == b"\5\0" + bytes((5, rep, 0, 1, 0, 0, 0, 0, 0, 0))
    assert scene.error is not None


def test_bind() -> None:
    with played(Handler, HandlerOptions(bind=True)) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(2, "127.0.0.1:0") + b"early")
        reply = receive(scene.client, 12)
        assert reply[2:10] == b"\5\0\0\1\x7f\0\0\1"  # the host by which we were reached
        peer = socket.create_connection(("127.0.0.1", int.from_bytes(reply[10:], "big")), 10)
        name = f"127.0.0.1:{peer.getsockname()[1]}"
        assert receive(scene.client, 10) == b"\5\0\0" + target_bytes(name)
        assert receive(peer, 5) == b"early"
        peer.sendall(b"answer")
        assert receive(scene.client, 6) == b"answer"
        peer.close()


def test_bind_ends_with_its_client() -> None:
    with played(Handler, HandlerOptions(bind=True, public_address="192.0.2.1")) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(2, "127.0.0.1:0"))
        reply = receive(scene.client, 12)
        assert reply[2:10] == b"\5\0\0\1\xc0\0\2\1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int.from_bytes(reply[10:], "big")), 10)


@pytest.mark.parametrize("compatible", [False, True])
def test_mux_bind(compatible: bool) -> None:
    with played(Handler, HandlerOptions(bind=True, compatible=compatible)) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(0xF2, "127.0.0.1:0"))
        reply = receive(scene.client, 12)
        assert reply[2:10] == b"\5\0\0\1\x7f\0\0\1"
        peer = socket.create_connection(("127.0.0.1", int.from_bytes(reply[10:], "big")), 10)
        peer.sendall(b"mux")
        assert receive(scene.client, 8) == b"\1\0\0\0\3\0\0\0"
        if not compatible:
            name = f"127.0.0.1:{peer.getsockname()[1]}"
            announced = b"\1\2\x0a\0\3\0\0\0\5\0\0" + target_bytes(name)
            assert receive(scene.client, len(announced)) == announced
        assert receive(scene.client, 11) == b"\1\2\3\0\3\0\0\0mux"
        scene.client.sendall(b"\1\2\3\0\3\0\0\0xum")
        assert receive(peer, 3) == b"xum"
        peer.close()
        assert receive(scene.client, 8) == b"\1\1\0\0\3\0\0\0"


def udp_echo() -> tuple[socket.socket, str]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock, f"127.0.0.1:{sock.getsockname()[1]}"


def bounce(echo: socket.socket) -> bytes:
    data, sender = echo.recvfrom(65535)
    echo.sendto(data, sender)
    return data


def test_association() -> None:
    echo, address = udp_echo()
    client, _ = udp_echo()
    with played(Handler, HandlerOptions(udp=True), upstream=listen_udp("127.0.0.1:0")) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(3))
        reply = receive(scene.client, 12)
        assert reply[2:10] == b"\5\0\0\1\x7f\0\0\1"
        client.connect(("127.0.0.1", int.from_bytes(reply[10:], "big")))
        head = b"\0\0\0" + target_bytes(address)
        for wire in (b"\0", b"\0\0\0\7junk", b"\0\0\0\1\x7f"):  # dropped
            client.send(wire)
        for data in (b"ab", b"x" * 8000, b""):
            client.send(head + data)
            assert bounce(echo) == data
            assert client.recv(65535) == head + data
        client.send(b"\0\0\7" + head[3:] + b"fragment")
        assert bounce(echo) == b"fragment"
    echo.close()
    client.close()


def test_association_serves_its_client_only() -> None:
    echo, address = udp_echo()
    sockets = listen_udp("127.0.0.1:0")
    with played(Handler, HandlerOptions(udp=True), upstream=sockets) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(3))
        relay = ("127.0.0.1", int.from_bytes(receive(scene.client, 12)[10:], "big"))
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.bind(("127.0.0.2", 0))
        client, _ = udp_echo()
        head = b"\0\0\0" + target_bytes(address)
        stranger.sendto(head + b"stranger", relay)
        client.sendto(head + b"client", relay)
        assert bounce(echo) == b"client"
        assert client.recv(100) == head + b"client"
        other, _ = udp_echo()  # another port of the client: it gets the answers from now on
        other.sendto(head + b"other", relay)
        assert bounce(echo) == b"other"
        assert other.recv(100) == head + b"other"
        for sock in (stranger, client, other):
            sock.close()
    echo.close()


def test_port_range() -> None:
    probe, address = udp_echo()
    port = int(address.rpartition(":")[2])
    options = HandlerOptions(udp=True, udp_port_min=port, udp_port_max=port)
    with played(Handler, options, upstream=listen_udp("127.0.0.1:0")) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(3))
        assert receive(scene.client, 12)[2:4] == b"\5\1"  # the only port is in use
    probe.close()
    with played(Handler, options, upstream=listen_udp("127.0.0.1:0")) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(3))
        assert receive(scene.client, 12)[10:] == port.to_bytes(2, "big")


def test_udp_tunnel() -> None:
    echo, address = udp_echo()
    upstream = listen_udp("")
    with played(Handler, HandlerOptions(udp=True), upstream=upstream) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(0xF3))
        reply = receive(scene.client, 2 + 22)
        assert reply[2:22] == b"\5\0\0\4" + bytes(16)
        frame = b"\0\2\xff" + target_bytes(address) + b"dd"
        scene.client.sendall(frame[:3])
        scene.client.sendall(frame[3:])
        assert bounce(echo) == b"dd"
        assert receive(scene.client, len(frame)) == frame
        named = b"\0\2\xff\3\x09localhost" + target_bytes(address)[5:] + b"nn"
        scene.client.sendall(named)
        assert bounce(echo) == b"nn"
    echo.close()


def test_udp_bind() -> None:
    peer, _ = udp_echo()
    probe, address = udp_echo()
    probe.close()
    with played(Handler, HandlerOptions(bind=True)) as scene:
        scene.client.sendall(b"\5\1\0" + request_of(0xF3, address))
        assert receive(scene.client, 12) == b"\5\0\5\0\0" + target_bytes(address)
        host, _, port = address.partition(":")
        peer.sendto(b"bu", (host, int(port)))
        frame = b"\0\2\xff" + target_bytes(f"127.0.0.1:{peer.getsockname()[1]}") + b"bu"
        assert receive(scene.client, len(frame)) == frame
        scene.client.sendall(frame)
        assert peer.recv(100) == b"bu"
    peer.close()


def test_tor_answer_of_the_next_node() -> None:
    upstream, _far = pair()
    upstream.info.facts["resolved"] = "192.0.2.7:0"
    with played(Handler, HandlerOptions(tor=True), upstream=upstream) as scene:
        scene.client.sendall(b"\5\1\0" + b"\5\xf0\0\3\3a.b\0\0")
        assert receive(scene.client, 100) == b"\5\0\5\0\0\1\xc0\0\2\7\0\0"
        assert scene.request.protocol == "tor-resolve"


# -- connector -------------------------------------------------------------------------------------


def connected(connector: Connector, conn: Conn, request: Request) -> Any:
    return connector.connect(connector.handshake(conn), request)


GREETINGS = [
    pytest.param({}, ("", ""), b"\5\2\0\x80", id="default"),
    pytest.param({}, ("u", "pw"), b"\5\4\0\2\x80\x82", id="user"),
    pytest.param({"notls": True}, ("", ""), b"\5\1\0", id="notls"),
    pytest.param({"notls": True}, ("u", "pw"), b"\5\2\0\2", id="notls and user"),
]


@pytest.mark.parametrize(("options", "auth", "greeting"), GREETINGS)
def test_greetings(options: dict[str, Any], auth: tuple[str, str], greeting: bytes) -> None:
    conn, server = pair()
    server.sendall(b"\5\0")
    Connector(ConnectorOptions(**options), connector_context(*auth)).handshake(conn)
    assert server.recv(100) == greeting


def test_connector_with_user() -> None:
    conn, server = pair()
    server.sendall(b"\5\2" + b"\1\0" + OK + b"early")
    connector = Connector(ConnectorOptions(), connector_context("u", "pw"))
    stream = connected(connector, conn, Request("tcp", "127.0.0.1:19001"))
    assert receive(server, 6 + 6 + 10) == b"\5\4\0\2\x80\x82" + b"\1\1u\2pw" + CONNECT
    assert stream.recv() == b"early"


FAILURES = [
    pytest.param(b"\5\xff", HandshakeFailed, id="no method"),
    pytest.param(b"\5\x88", HandshakeFailed, id="method not offered"),
    pytest.param(b"\5\2\1\1", AuthFailed, id="wrong password"),
    pytest.param(b"\5\0\5\3\0\1" + bytes(6), Refused, id="unreachable"),
]


@pytest.mark.parametrize(("answer", "error"), FAILURES)
def test_connector_failures(answer: bytes, error: type[Exception]) -> None:
    conn, server = pair()
    server.sendall(answer)
    connector = Connector(ConnectorOptions(), connector_context("u", "pw"))
    with pytest.raises(error):
        connected(connector, conn, Request("tcp", "a.b:1"))


def test_connector_does_not_take_tls_that_it_did_not_offer() -> None:
    conn, server = pair()
    server.sendall(b"\5\x80")
    with pytest.raises(HandshakeFailed):
        Connector(ConnectorOptions(notls=True), connector_context()).handshake(conn)


def test_connector_timeout() -> None:
    conn, _server = pair()
    with pytest.raises(TimeoutError):
        Connector(ConnectorOptions(timeout=0.05), connector_context()).handshake(conn)


def test_connector_without_host() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + OK)
    connector = Connector(ConnectorOptions(notls=True), connector_context())
    connected(connector, conn, Request("tcp", ":80"))
    assert receive(server, 13) == b"\5\1\0" + b"\5\1\0\1\x7f\0\0\1\0\x50"


def test_connector_other_networks() -> None:
    conn, _server = pair()
    with pytest.raises(Unsupported):
        Connector(ConnectorOptions(), connector_context()).connect(conn, Request("unix", "/x"))


def test_connector_udp_tunnel() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + OK)
    connector = Connector(ConnectorOptions(), connector_context())
    packets = connected(connector, conn, Request("udp", "127.0.0.1:19001"))
    packets.send_to(b"dd")
    frame = b"\0\2\xff\1\x7f\0\0\1\x4a\x39dd"
    assert receive(server, 4 + 10 + len(frame)) == b"\5\2\0\x80" + request_of(0xF3) + frame
    server.sendall(frame)
    assert packets.recv_from() == (b"dd", "127.0.0.1:19001")
    server.close()
    with pytest.raises(ConnectionClosed):
        packets.recv_from()


def test_connector_association() -> None:
    relay, address = udp_echo()
    conn, server = pair()
    # a node that does not say its host is reached where it was reached before
    server.sendall(b"\5\0" + b"\5\0\0\1\0\0\0\0" + target_bytes(address)[5:])
    connector = Connector(ConnectorOptions(relay="udp", udp_timeout=10.0), connector_context())
    packets = connected(connector, conn, Request("udp", ""))
    assert receive(server, 14) == b"\5\2\0\x80" + request_of(3)
    packets.send_to(b"ab", "127.0.0.1:19001")
    data, sender = relay.recvfrom(100)
    assert data == b"\0\0\0\1\x7f\0\0\1\x4a\x39ab"
    relay.sendto(b"junk", sender)
    relay.sendto(data, sender)
    assert packets.recv_from() == (b"ab", "127.0.0.1:19001")
    server.close()  # the association ends with its connection
    with pytest.raises(ConnectionClosed):
        packets.recv_from()
    relay.close()


def test_connector_mux_bind() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + b"\5\0\0\1\x7f\0\0\1\x47\x9a")
    connector = Connector(ConnectorOptions(), connector_context())
    binding = connector.bind(connector.handshake(conn), Request("tcp", "127.0.0.1:18330"), mux=True)
    assert receive(server, 14) == b"\5\2\0\x80\5\xf2\0\1\x7f\0\0\1\x47\x9a"
    assert binding.address == ("127.0.0.1", 18330)
    server.sendall(b"\1\0\0\0\3\0\0\0" + b"\1\2\x0d\0\3\0\0\0\5\0\0\1\x7f\0\0\1\xbf\x86mux")
    peer = binding.accept()
    assert peer.info.peer == ("127.0.0.1", 49030)
    assert peer.recv() == b"mux"
    server.close()
    with pytest.raises(ConnectionClosed):
        binding.accept()


def test_connector_bind() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + b"\5\0\0\1\x7f\0\0\1\x47\x9a" + b"\5\0\0\1\x7f\0\0\1\xbf\x86data")
    connector = Connector(ConnectorOptions(), connector_context())
    binding = connector.bind(connector.handshake(conn), Request("tcp", ":18330"), mux=False)
    peer = binding.accept()
    assert (peer.info.peer, peer.info.local) == (("127.0.0.1", 49030), ("127.0.0.1", 18330))
    assert peer.recv() == b"data"
    with pytest.raises(ConnectionClosed):
        binding.accept()


def test_connector_udp_bind() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + b"\5\0\0\1\x7f\0\0\1\x46\xc9")
    connector = Connector(ConnectorOptions(), connector_context())
    binding = connector.bind(connector.handshake(conn), Request("udp", "127.0.0.1:18121"))
    server.sendall(b"\0\2\xff\1\x7f\0\0\1\x4a\x37bu")
    session = binding.accept()
    assert session.recv_from() == (b"bu", "127.0.0.1:18999")
    binding.close()


def test_connector_tor() -> None:
    conn, server = pair()
    server.sendall(b"\5\0" + b"\5\0\0\1\xc0\0\2\7\0\0")
    connector = Connector(ConnectorOptions(notls=True), connector_context())
    made = connected(connector, conn, Request("tcp", "a.b:0", protocol="tor-resolve"))
    assert receive(server, 13) == b"\5\1\0\5\xf0\0\3\3a.b\0\0"
    assert made.info.facts["resolved"] == "192.0.2.7:0"


@pytest.mark.parametrize("auth", [("", ""), ("u", "pw")], ids=["tls", "tls and user"])
def test_tls_inside(auth: tuple[str, str]) -> None:
    """Our own two sides, since TLS cannot be written down."""
    context = {"authenticate": only_u} if auth[0] else {}
    with played(Handler, HandlerOptions(), **context) as scene:
        # the client socket of the scene becomes the connector's conn
        connector = Connector(ConnectorOptions(), connector_context(*auth))
        stream = connected(connector, conn_over(scene.client), Request("tcp", "127.0.0.1:19001"))
        assert stream.info.tls.version == "TLSv1.3"
        stream.sendall(b"question")
        assert receive(scene.target, 8) == b"question"
        scene.target.sendall(b"answer")
        assert stream.recv() == b"answer"
        stream.close()


def conn_over(sock: socket.socket) -> Conn:
    import _socket

    from gostpy.net.endpoint import SocketEndpoint

    raw = _socket.socket(fileno=socket.dup(sock.fileno()))
    raw.setblocking(False)
    return Conn(SocketEndpoint(raw))
