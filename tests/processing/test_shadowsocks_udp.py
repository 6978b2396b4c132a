"""ssu, both sides: associations over datagrams and streams, nodes of either form."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from gostpy.errors import Unsupported
from gostpy.interfaces import Credentials, Request
from gostpy.net.conn import format_address
from gostpy.net.packet import PacketConn, dial_udp, listen_udp
from gostpy.net.sessions import SessionLimits, Sessions
from gostpy.processing import shadowsocks_udp as module
from gostpy.processing.context import HandlerContext
from gostpy.processing.shadowsocks_udp import (
    Connector,
    ConnectorOptions,
    Handler,
    HandlerOptions,
)
from gostpy.wire.shadowsocks import (
    METHODS,
    ClientPackets,
    ClientPackets2022,
    ServerPackets,
    ServerPackets2022,
    secret,
)
from tests.channel.fakes import SilentLog
from tests.processing.scene import connector_context, pair

pytestmark = pytest.mark.timeout(20)

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
AES, AES2022 = "aes-128-gcm", "2022-blake3-aes-128-gcm"


def password(name: str) -> str:
    return KEY if METHODS[name].edition == "2022" else "pass"


class Way:
    """A router to real sockets on this machine."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.made: list[PacketConn] = []

    def dial(self, request: Request) -> PacketConn:
        self.requests.append(request)
        self.made.append(listen_udp("127.0.0.1:0"))
        return self.made[-1]

    def bind(self, request: Request, **options: Any) -> Any:
        raise NotImplementedError


@contextmanager
def echoing() -> Iterator[str]:
    """The address of a socket that sends datagrams back, twice when they say so."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def run() -> None:
        while True:
            data, sender = sock.recvfrom(65535)
            for _ in range(2 if data.startswith(b"twice") else 1):
                sock.sendto(b"<" + data, sender)

    thread = gevent.spawn(run)
    try:
        yield format_address(sock.getsockname())
    finally:
        thread.kill()
        sock.close()


class Node:
    """A running ssu service."""

    def __init__(self, name: str, **context: Any) -> None:
        self.log, self.router = SilentLog(), Way()
        credentials = Credentials(name, password(name))
        made = HandlerContext("test", self.log, self.router, auth=credentials, **context)
        self.handler = Handler(HandlerOptions(), made)
        self.sessions = Sessions(
            listen_udp("127.0.0.1:0"),
            lambda session: gevent.spawn(self.handler.handle, session),
            SessionLimits(keepalive=False),
        )
        self.sessions.start()

    @property
    def address(self) -> str:
        return format_address(self.sessions.address)

    def close(self) -> None:
        self.sessions.close()
        for packets in self.router.made:
            packets.close()


@contextmanager
def serving(name: str, **context: Any) -> Iterator[Node]:
    node = Node(name, **context)
    try:
        yield node
    finally:
        node.close()


@contextmanager
def connected(name: str, node: str, target: str, compat: str = "auto") -> Iterator[PacketConn]:
    made = Connector(ConnectorOptions(compat=compat), connector_context(name, password(name)))
    conn = made.connect(made.handshake(dial_udp(node)), Request("udp", target))
    conn.settimeout(5)
    try:
        yield conn
    finally:
        conn.close()


@pytest.mark.parametrize("compat", ["auto", "standard", "gost"])
@pytest.mark.parametrize("name", METHODS)
def test_both_sides(name: str, compat: str) -> None:
    if compat == "gost" and METHODS[name].edition != "2022":
        return  # a client that expects what only gost's server sends
    with (
        echoing() as echo,
        serving(name) as node,
        connected(name, node.address, echo, compat) as conn,
    ):
        for data in (b"one", b"twice", b"x" * 5000):
            conn.send_to(data)
            for _ in range(2 if data == b"twice" else 1):
                assert conn.recv_from() == (b"<" + data, echo)
        assert len(node.router.requests) == 1
        assert (node.router.requests[0].network, node.router.requests[0].address) == ("udp", "")


@pytest.mark.parametrize("name", [AES, AES2022])
def test_many_targets(name: str) -> None:
    with (
        echoing() as first,
        echoing() as second,
        serving(name) as node,
        connected(name, node.address, "") as conn,
    ):
        for target in (first, second, first):
            conn.send_to(b"to " + target.encode(), target)
            assert conn.recv_from() == (b"<to " + target.encode(), target)


@pytest.mark.parametrize("name", [AES, AES2022])
def test_garbage_costs_nothing(name: str) -> None:
    with echoing() as echo, serving(name) as node, connected(name, node.address, echo) as conn:
        conn.inner.send_to(bytes(50))  # type: ignore[attr-defined]
        conn.send_to(b"ping")
        assert conn.recv_from() == (b"<ping", echo)
        assert len(node.router.requests) == 1


def test_session_moves_with_its_client() -> None:
    """2022: the session goes on from another address, through the same socket to the target."""
    with echoing() as echo, serving(AES2022) as node:
        codec = ClientPackets2022(secret(AES2022, KEY))
        for _ in range(2):
            packets = dial_udp(node.address)
            packets.settimeout(5)
            packets.send_to(codec.seal(b"ping", echo))
            assert codec.open(packets.recv_from()[0]) == (b"<ping", echo)
            packets.close()
        assert len(node.router.requests) == 1


def test_association_ends_with_its_session() -> None:
    with echoing() as echo, serving(AES) as node, connected(AES, node.address, echo) as conn:
        conn.send_to(b"ping")
        conn.recv_from()
        assert len(node.handler._associations) == 1
        node.sessions.close()
        gevent.sleep(0)
        assert node.handler._associations == {}
        assert node.router.made[0].closed


def test_idle_association_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.1)
    with echoing() as echo, serving(AES) as node, connected(AES, node.address, echo) as conn:
        conn.send_to(b"ping")
        conn.recv_from()
        with gevent.Timeout(5):
            while node.handler._associations or len(node.sessions):
                gevent.sleep(0.02)


def test_rules() -> None:
    with (
        echoing() as allowed,
        echoing() as other,
        serving(AES, bypassed=lambda *facts: "rule" * (facts[1] == other)) as node,
        connected(AES, node.address, "") as conn,
    ):
        conn.send_to(b"no", other)
        conn.send_to(b"yes", allowed)
        assert conn.recv_from() == (b"<yes", allowed)


# -- nodes of either form --------------------------------------------------------------------------


class FakeNode:
    """A node that understands one form and echoes; ``seen`` has every packet."""

    def __init__(self, legacy: bool) -> None:
        self.packets = listen_udp("127.0.0.1:0")
        self.address = format_address(self.packets.info.local)
        self.seen: list[bytes] = []
        self._server = ServerPackets2022(secret(AES2022, KEY))
        self._legacy = legacy
        self._thread = gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            wire, sender = self.packets.recv_from()
            self.seen.append(wire)
            session, payload, target = self._server.open(wire)
            if session.legacy == self._legacy:
                self.packets.send_to(session.seal(b"<" + payload, target), sender)

    def close(self) -> None:
        self._thread.kill()
        self.packets.close()


@pytest.mark.parametrize("legacy", [False, True], ids=["standard", "gost"])
def test_form_is_found_out(legacy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE", 0.05)
    node = FakeNode(legacy)
    made = Connector(ConnectorOptions(), connector_context(AES2022, KEY))
    for expected in (2 if legacy else 1, 1):  # the second conn knows already
        conn = made.connect(dial_udp(node.address), Request("udp", "127.0.0.1:53"))
        conn.settimeout(5)
        node.seen.clear()
        conn.send_to(b"ping")
        assert conn.recv_from() == (b"<ping", "127.0.0.1:53")
        assert len(node.seen) == expected
        conn.close()
    node.close()


def test_replies_without_address() -> None:
    """As gost 3.2.6 sends them for the classic methods."""
    packets = listen_udp("127.0.0.1:0")
    with connected(AES, format_address(packets.info.local), "127.0.0.1:53") as conn:
        conn.send_to(b"ping")
        packets.settimeout(5)
        wire, sender = packets.recv_from()
        shared = secret(AES, "pass")
        assert ServerPackets(shared).open(wire)[1:] == (b"ping", "127.0.0.1:53")
        salt = bytes(16)
        packets.send_to(salt + shared.session(salt).encrypt(bytes(12), b"pong", None), sender)
        assert conn.recv_from() == (b"pong", "127.0.0.1:53")
    packets.close()


def test_only_udp() -> None:
    made = Connector(ConnectorOptions(), connector_context(AES, "pass"))
    with pytest.raises(Unsupported, match="ss carries tcp"):
        made.connect(None, Request("tcp", "127.0.0.1:80"))


# -- over a stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["one", ""])
@pytest.mark.parametrize("name", [AES, AES2022, "plain"])
def test_over_a_stream(name: str, target: str) -> None:
    near, far = pair()
    server, other = pair()
    pumps = [gevent.spawn(_pump, far, other), gevent.spawn(_pump, other, far)]
    router = Way()
    context = HandlerContext("test", SilentLog(), router, auth=Credentials(name, password(name)))
    thread = gevent.spawn(Handler(HandlerOptions(), context).handle, server)
    with echoing() as echo:
        made = Connector(ConnectorOptions(), connector_context(name, password(name)))
        conn = made.connect(near, Request("udp", echo if target else ""))
        conn.settimeout(5)
        for data in (b"one", b"twice"):
            conn.send_to(data, echo)
            for _ in range(2 if data == b"twice" else 1):
                assert conn.recv_from() == (b"<" + data, echo)
        conn.close()
        thread.join(5)
    gevent.killall(pumps)
    server.close(True)
    for sock in (far, other):
        sock.close()
    for packets in router.made:
        packets.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    source.settimeout(None)
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


def test_classic_client_packets_take_both() -> None:
    shared = secret(AES, "pass")
    client = ClientPackets(shared)
    client.seal(b"", "127.0.0.1:53")
    assert client.open(ServerPackets(shared).seal(b"a", "127.0.0.1:53")) == (b"a", "127.0.0.1:53")
