"""Packet conns over a stream: green threads, callbacks, and what happens when it is congested."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError, Truncated
from gostpy.net import framed
from gostpy.net.framed import ShortFramedConn, TunnelConn
from gostpy.net.packetpipe import pipe_packets
from gostpy.wire.udptun import short_frame, tunnel_frame
from tests.processing.scene import close_pairs, pair, receive

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def _pairs() -> Iterator[None]:
    yield
    close_pairs()


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, str]] = []
        self.end: list[BaseException | None] = []

    def datagram(self, data: bytes, address: str) -> None:
        self.datagrams.append((data, address))

    def ended(self, error: BaseException | None) -> None:
        self.end.append(error)


def test_bytes_read_with_the_handshake_are_frames() -> None:
    conn, peer = pair()
    conn.unread(tunnel_frame(b"a", "1.2.3.4:5") + short_frame(b"")[:1])
    packets = TunnelConn(conn)
    assert packets.recv_from() == (b"a", "1.2.3.4:5")
    peer.close()
    with pytest.raises(Truncated):
        packets.recv_from()


def test_one_peer() -> None:
    conn, peer = pair()
    packets = TunnelConn(conn, "10.0.0.1:53")
    packets.send_to(b"q", "ignored:1")
    assert peer.recv(100) == tunnel_frame(b"q", "10.0.0.1:53")
    peer.sendall(tunnel_frame(b"a", "10.9.9.9:9"))
    assert packets.recv_from() == (b"a", "10.0.0.1:53")


def test_no_empty_frames_are_sent() -> None:
    conn, peer = pair()
    packets = ShortFramedConn(conn)
    packets.send_to(b"")
    assert packets.send_now(b"") == 0.0
    packets.send_to(b"x")
    assert peer.recv(100) == short_frame(b"x")


def test_timeout() -> None:
    conn, _peer = pair()
    packets = ShortFramedConn(conn)
    packets.settimeout(0.02)
    with pytest.raises(TimeoutError):
        packets.recv_from()


def test_end_of_the_stream_leaves_the_other_direction() -> None:
    conn, peer = pair()
    packets = ShortFramedConn(conn, "p:1")
    peer.sendall(short_frame(b"last"))
    peer.shutdown(1)
    assert packets.recv_from() == (b"last", "p:1")
    with pytest.raises(ConnectionClosed):
        packets.recv_from()
    packets.send_to(b"answer")
    assert peer.recv(100) == short_frame(b"answer")
    packets.close()
    with pytest.raises(ConnectionClosed):
        packets.send_to(b"more")


def test_closing_wakes_the_reader() -> None:
    conn, _peer = pair()
    packets = ShortFramedConn(conn)
    reading = gevent.spawn(packets.recv_from)
    gevent.sleep(0)
    packets.close()
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=10)


def test_a_stream_that_cannot_be_followed() -> None:
    conn, peer = pair()
    packets = TunnelConn(conn)
    peer.sendall(b"\0\1\xff\7junk")
    with pytest.raises(ProtocolError):
        packets.recv_from()
    with pytest.raises(ConnectionClosed):
        packets.send_to(b"x", "1.2.3.4:5")


def test_sender_waits_while_the_stream_is_congested() -> None:
    conn, peer = pair()
    packets = ShortFramedConn(conn)
    count, data = 400, b"x" * 8000

    def send() -> None:
        for _ in range(count):
            packets.send_to(data)

    sending = gevent.spawn(send)
    gevent.sleep(0)
    assert not sending.ready()
    frames = receive(peer, count * 8002)
    sending.join(10)
    assert frames == short_frame(data) * count


def test_closing_wakes_the_sender() -> None:
    conn, _peer = pair()
    packets = ShortFramedConn(conn)

    def send() -> None:
        while True:
            packets.send_to(b"x" * 60000)

    sending = gevent.spawn(send)
    gevent.sleep(0)
    packets.close()
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=10)


def test_sending_on_the_hub_is_bounded() -> None:
    conn, _peer = pair()
    packets = ShortFramedConn(conn)
    delays = [packets.send_now(b"x" * 60000) for _ in range(60)]
    assert delays[0] == 0.0
    assert delays[-1] > 0.0
    assert packets._pending < framed._MOST_PENDING + 70000


def test_reading_is_bounded() -> None:
    conn, peer = pair()
    packets = ShortFramedConn(conn)
    count = 20000

    def send() -> None:
        for number in range(count):
            peer.sendall(short_frame(b"%d" % number))

    sending = gevent.spawn(send)
    taken = []
    for _ in range(count):
        taken.append(packets.recv_from()[0])
        assert len(packets._queue) < 60000
    sending.join(10)
    assert taken == [b"%d" % number for number in range(count)]


def test_on_the_hub() -> None:
    conn, peer = pair()
    packets = TunnelConn(conn)
    kept = Kept()
    peer.sendall(tunnel_frame(b"1", "1.1.1.1:1"))
    gevent.sleep(0)
    packets.start(kept)
    peer.sendall(tunnel_frame(b"2", "1.1.1.1:1"))
    while len(kept.datagrams) < 2:
        gevent.sleep(0)
    packets.pause()
    peer.sendall(tunnel_frame(b"3", "1.1.1.1:1"))
    peer.close()
    while packets.over is None:
        gevent.sleep(0)
    assert [data for data, _ in kept.datagrams] == [b"1", b"2"]
    assert not kept.end
    packets.resume()
    assert kept.datagrams[-1] == (b"3", "1.1.1.1:1")
    assert kept.end == [None]


def test_piped() -> None:
    left_conn, client = pair()
    right_conn, server = pair()
    over = []
    pipe_packets(ShortFramedConn(left_conn), TunnelConn(right_conn, "9.9.9.9:9"), over.append)
    client.sendall(short_frame(b"q"))
    assert server.recv(100) == tunnel_frame(b"q", "9.9.9.9:9")
    server.sendall(tunnel_frame(b"a", "9.9.9.9:9"))
    assert client.recv(100) == short_frame(b"a")
    client.close()
    assert server.recv(100) == b""
    assert (over[0].forwarded, over[0].returned, over[0].error) == (1, 1, None)
