"""The direct connector."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gostpy.errors import ConnectionClosed, DialFailed, Unsupported
from gostpy.interfaces import Request
from gostpy.net.pipe import pipe
from gostpy.processing.direct import Connector, ConnectorOptions
from tests.processing.scene import close_pairs, connector_context, pair

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


def test_dials() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    conn, _ = pair()
    made = Connector(ConnectorOptions(), connector_context()).connect(
        conn, Request("tcp", f"127.0.0.1:{server.getsockname()[1]}")
    )
    accepted, _ = server.accept()
    made.sendall(b"x")
    assert accepted.recv(10) == b"x"
    for sock in (accepted, server):
        sock.close()
    made.close()


def test_failures() -> None:
    connector = Connector(ConnectorOptions(), connector_context())
    server = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    with pytest.raises(DialFailed):
        connector.connect(pair()[0], Request("tcp", address))
    with pytest.raises(Unsupported):
        connector.connect(pair()[0], Request("serial", "x"))


def test_reject() -> None:
    connector = Connector(ConnectorOptions(action="reject"), connector_context())
    made = connector.connect(pair()[0], Request("tcp", "127.0.0.1:1"))
    assert made.recv() == b""
    with pytest.raises(ConnectionClosed):
        made.sendall(b"x")
    packets = connector.connect(pair()[0], Request("udp", "127.0.0.1:1"))
    with pytest.raises(ConnectionClosed):
        packets.recv_from()
    with pytest.raises(ConnectionClosed):
        packets.send_to(b"x")


@pytest.mark.parametrize("early", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_reject_ends_a_pipe(early: bytes) -> None:
    made = Connector(ConnectorOptions(action="reject"), connector_context()).connect(
        pair()[0], Request("tcp", "127.0.0.1:1")
    )
    conn, client = pair()
    conn.unread(early)
    over = []
    pipe(conn, made, over.append)
    assert client.recv(10) == b""
    assert over
