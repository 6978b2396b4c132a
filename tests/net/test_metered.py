"""Metered endpoints: rates in both phases, debts, closing with a debt."""

import _socket

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.metered import JoinedMeter, MeteredSocketEndpoint, join, rounded
from gostpy.net.pipe import pipe
from tests.net.pairs import socket_pair
from tests.net.test_pipe import Bucket

SIZE = 400_000
RATE = 2e6  # SIZE takes 0.2 s


def metered(rate: float = RATE) -> tuple[Conn, Conn]:
    """(metered conn, plain conn)."""
    socks = _socket.socketpair()
    for sock in socks:
        sock.setblocking(False)
    return (
        Conn(MeteredSocketEndpoint(socks[0], Bucket(rate))),
        Conn(SocketEndpoint(socks[1])),
    )


def timed(job) -> float:
    gevent.get_hub().loop.update_now()
    start = timers.now()
    job()
    gevent.get_hub().loop.update_now()
    return timers.now() - start


def test_reading_in_a_green_thread() -> None:
    conn, peer = metered()
    gevent.spawn(peer.sendall, bytes(SIZE))
    assert 0.1 < timed(lambda: conn.read_exact(SIZE)) < 0.5


def test_writing_in_a_green_thread() -> None:
    conn, peer = metered()
    reading = gevent.spawn(peer.read_exact, SIZE)
    assert 0.15 < timed(lambda: [conn.sendall(bytes(SIZE // 10)) for _ in range(10)]) < 0.5
    assert len(reading.get(timeout=1)) == SIZE


@pytest.mark.parametrize("back", [False, True], ids=["reading", "writing"])
def test_in_a_pipe(back: bool) -> None:
    conn, client = metered()
    right, server = socket_pair()
    pipe(conn, right)
    source, target = (server, client) if back else (client, server)
    gevent.spawn(source.sendall, bytes(SIZE))
    assert 0.1 < timed(lambda: target.read_exact(SIZE)) < 0.5


def test_debt_of_the_handshake_holds_the_pipe() -> None:
    """What was written before is paid before more is read for it."""
    conn, client = metered()
    conn.write(bytes(200_000))
    right, server = socket_pair()
    server.sendall(b"after")
    pipe(conn, right)
    assert timed(lambda: client.read_exact(200_005)) > 0.05


def test_closing_with_a_debt() -> None:
    conn, peer = metered(1e5)
    sending = gevent.spawn(conn.sendall, bytes(100_000))
    assert len(peer.read_exact(100_000)) == 100_000
    gevent.sleep(0)
    assert not sending.dead
    conn.close()
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=1)
    reading, other = metered(1e5)
    other.sendall(bytes(50_000))
    reading.recv()
    waiting = gevent.spawn(reading.recv)
    gevent.sleep(0)
    reading.close()
    with pytest.raises(ConnectionClosed):
        waiting.get(timeout=1)


def test_join() -> None:
    first, second = Bucket(1e6), Bucket(1e5)
    assert join(None, None) is None
    assert join(first, None) is first
    assert join(None, second) is second
    both = join(first, second)
    assert isinstance(both, JoinedMeter)
    assert both.received(1000) == pytest.approx(0.01, rel=0.2)
    assert (first.count, second.count) == (1000, 1000)


@pytest.mark.parametrize(
    ("delay", "expected"), [(0.0001, 0.001), (0.0123456, 0.012), (0.9999, 1.0), (1.234, 1.25)]
)
def test_rounded(delay: float, expected: float) -> None:
    assert rounded(delay) == pytest.approx(expected)
