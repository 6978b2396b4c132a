"""Local bindings."""

from __future__ import annotations

import socket

import gevent
import pytest

from gostpy.errors import ConnectionClosed, Unsupported
from gostpy.interfaces import Request
from gostpy.net.binding import Arrivals, bind_here, socket_address

pytestmark = pytest.mark.timeout(20)


def test_streams() -> None:
    binding = bind_here(Request("tcp", "127.0.0.1:0"), mux=True)
    peer = socket.create_connection(binding.address, 10)
    conn = binding.accept()
    assert conn.info.peer == peer.getsockname()
    peer.sendall(b"x")
    assert conn.recv() == b"x"
    binding.close()
    with pytest.raises(ConnectionClosed):
        binding.accept()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(binding.address, 10)
    peer.close()
    conn.close()


def test_more_peers_than_wait() -> None:
    binding = bind_here(Request("tcp", "127.0.0.1:0"), backlog=2)
    peers = [socket.create_connection(binding.address, 10) for _ in range(8)]
    conns = [binding.accept() for _ in peers]
    assert {conn.info.peer for conn in conns} == {peer.getsockname() for peer in peers}
    binding.close()
    for conn, peer in zip(conns, peers, strict=True):
        conn.close()
        peer.close()


def test_closing_wakes_who_accepts() -> None:
    binding = bind_here(Request("tcp", "127.0.0.1:0"))
    accepting = gevent.spawn(binding.accept)
    gevent.sleep(0)
    binding.close()
    with pytest.raises(ConnectionClosed):
        accepting.get(timeout=10)


def test_in_use() -> None:
    binding = bind_here(Request("tcp", "127.0.0.1:0"))
    with pytest.raises(OSError, match="in use"):
        bind_here(Request("tcp", "127.0.0.1:%d" % binding.address[1]))  # noqa: UP031
    binding.close()


def test_datagrams() -> None:
    binding = bind_here(Request("udp", "127.0.0.1:0"), backlog=4, queue=8, buffer=2048, ttl=1.0)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for number, peer in enumerate(peers):
        peer.settimeout(10)
        peer.connect(binding.address)
        peer.send(b"%d" % number)
        session = binding.accept()
        assert session.recv_from()[0] == b"%d" % number
        session.send_to(b"back")
        assert peer.recv(10) == b"back"
    binding.close()
    with pytest.raises(ConnectionClosed):
        binding.accept()
    for peer in peers:
        peer.close()


def test_other_networks() -> None:
    with pytest.raises(Unsupported):
        bind_here(Request("serial", "/dev/null"))


def test_arrivals_are_bounded() -> None:
    arrivals = Arrivals(2)
    assert [arrivals.put(item) for item in "abc"] == [True, True, False]
    assert arrivals.get() == "a"
    assert arrivals.close() == ["b"]
    assert not arrivals.put("d")


@pytest.mark.parametrize(
    ("text", "address"),
    [("1.2.3.4:5", ("1.2.3.4", 5)), ("[::1]:5", ("::1", 5)), (":5", ("", 5)), ("", ("", 0))],
)
def test_socket_address(text: str, address: tuple[str, int]) -> None:
    assert socket_address(text) == address
