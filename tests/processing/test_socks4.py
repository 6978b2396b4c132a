"""SOCKS 4 and 4A, both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gostpy.errors import Unsupported
from gostpy.interfaces import Request
from gostpy.processing.socks4 import Connector, ConnectorOptions, Handler, HandlerOptions
from gostpy.wire.socks4 import Refused
from tests.processing.scene import close_pairs, connector_context, pair, played, receive

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


CONNECT = b"\4\1\x4a\x39\x7f\0\0\1bob\0"
GRANTED = b"\0\x5a" + bytes(6)


def only_bob(user: str, password: str, _: str) -> str | None:
    return user if (user, password) == ("bob", "") else None


def test_connect() -> None:
    with played(Handler, HandlerOptions(hash="host"), authenticate=only_bob) as scene:
        scene.client.sendall(CONNECT + b"early")
        assert receive(scene.client, 8) == GRANTED
        assert receive(scene.target, 5) == b"early"
        scene.target.sendall(b"answer")
        assert receive(scene.client, 6) == b"answer"
        request = scene.request
        assert (request.address, request.client_id) == ("127.0.0.1:19001", "bob")
        assert request.hash_source == "127.0.0.1:19001"


def test_connect_to_a_name() -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(b"\4\1\0\x50\0\0\0\1\0example.org\0")
        assert receive(scene.client, 8) == GRANTED
        assert scene.request.address == "example.org:80"


REFUSED = [
    pytest.param({}, True, 91, id="unreachable"),
    pytest.param({"bypassed": lambda *_: "rule"}, True, 92, id="bypassed"),
    pytest.param({"authenticate": lambda *_: None}, True, 93, id="user"),
]


@pytest.mark.parametrize(("context", "replies", "code"), REFUSED)
def test_refusals(context: dict[str, Any], replies: bool, code: int) -> None:
    with played(Handler, HandlerOptions(), reach=False, **context) as scene:
        scene.client.sendall(CONNECT)
        assert receive(scene.client, 100) == bytes((0, code)) + bytes(6)
    assert scene.error is not None


@pytest.mark.parametrize("wire", [b"\4\2\0\x50\1\2\3\4\0", b"\5\1\0\0\0\0\0\0\0"])
def test_no_reply_to_bind_and_other_versions(wire: bytes) -> None:
    with played(Handler, HandlerOptions()) as scene:
        scene.client.sendall(wire)
        assert receive(scene.client, 1) == b""
    assert scene.error is not None


ASKED = [
    pytest.param({}, "10.0.0.1:80", b"\4\1\0\x50\0\0\0\1bob\x0010.0.0.1\0", id="4a"),
    pytest.param({}, "a.bc:80", b"\4\1\0\x50\0\0\0\1bob\0a.bc\0", id="name"),
    pytest.param({"disable4a": True}, "10.0.0.1:80", b"\4\1\0\x50\x0a\0\0\1bob\0", id="ipv4"),
    pytest.param({"disable4a": True}, ":80", b"\4\1\0\x50\0\0\0\0bob\0", id="no host"),
]


@pytest.mark.parametrize(("options", "address", "wire"), ASKED)
def test_connector(options: dict[str, Any], address: str, wire: bytes) -> None:
    conn, server = pair()
    server.sendall(GRANTED + b"early")
    connector = Connector(ConnectorOptions(**options), connector_context("bob"))
    stream = connector.connect(connector.handshake(conn), Request("tcp", address))
    assert server.recv(100) == wire
    assert stream.recv() == b"early"


@pytest.mark.parametrize("code", [91, 92, 93])
def test_connector_refused(code: int) -> None:
    conn, server = pair()
    server.sendall(bytes((0, code)) + bytes(6))
    with pytest.raises(Refused):
        Connector(ConnectorOptions(), connector_context()).connect(conn, Request("tcp", "a:1"))


def test_connector_limits() -> None:
    conn, _server = pair()
    with pytest.raises(TimeoutError):
        Connector(ConnectorOptions(timeout=0.05), connector_context()).connect(
            conn, Request("tcp", "a:1")
        )
    with pytest.raises(Unsupported):
        Connector(ConnectorOptions(), connector_context()).connect(conn, Request("udp", "a:1"))
    with pytest.raises(Unsupported):
        Connector(ConnectorOptions(disable4a=True), connector_context()).connect(
            conn, Request("tcp", "[::1]:1")
        )
