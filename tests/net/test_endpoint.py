"""Socket endpoints: closing while something waits, lingering output, errors."""

import _socket

import gevent
import pytest

from gostpy.errors import ConnectionClosed
from gostpy.net import endpoint as endpoints
from gostpy.net.conn import Conn
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.metered import MeteredSocketEndpoint
from tests.net.pairs import socket_pair


class Free:
    """A meter without limits."""

    def received(self, size: int) -> float:
        return 0.0

    sent = received


def metered_pair() -> tuple[Conn, Conn]:
    conns = []
    for sock in _socket.socketpair():
        sock.setblocking(False)
        conns.append(Conn(MeteredSocketEndpoint(sock, Free())))
    return conns[0], conns[1]


both = pytest.mark.parametrize("pair", [socket_pair, metered_pair], ids=["plain", "metered"])


def fill(conn: Conn) -> gevent.Greenlet:
    """A greenlet that waits in sendall."""
    sending = gevent.spawn(conn.sendall, bytes(4 << 20))
    gevent.sleep(0)
    assert not sending.dead
    return sending


@both
@pytest.mark.parametrize("now", [False, True])
def test_close_wakes_a_reader(pair, now: bool) -> None:
    left, right = pair()
    reading = gevent.spawn(left.recv)
    gevent.sleep(0)
    left.close(now)
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=1)
    right.close()


@both
def test_close_wakes_a_reader_while_output_lingers(pair) -> None:
    left, right = pair()
    sending, reading = fill(left), gevent.spawn(left.recv)
    gevent.sleep(0)
    left.close()
    with pytest.raises(ConnectionClosed):
        reading.get(timeout=1)
    size = 0
    while data := right.recv():
        size += len(data)
    assert size == 4 << 20
    sending.join(1)
    assert sending.dead
    right.close()


@both
def test_close_now_wakes_a_writer(pair) -> None:
    left, right = pair()
    sending = fill(left)
    left.close(True)
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=1)
    right.close()


@both
def test_peer_that_leaves_wakes_a_writer(pair) -> None:
    left, right = pair()
    sending = fill(left)
    right.close(True)
    with pytest.raises((ConnectionClosed, OSError)):
        sending.get(timeout=1)
    left.close()


@both
def test_reader_and_writer_in_two_greenlets(pair) -> None:
    left, right = pair()
    sending, reading = fill(left), gevent.spawn(left.recv)
    gevent.sleep(0)
    right.sendall(b"x")
    assert reading.get(timeout=1) == b"x"
    assert not sending.dead
    left.close(True)
    with pytest.raises(ConnectionClosed):
        sending.get(timeout=1)
    right.close()


def test_linger_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "LINGER", 0.02)
    left, right = socket_pair()
    left.write(bytes(4 << 20))
    left.close()
    gevent.sleep(0.05)
    size = 0
    while data := right.recv():
        size += len(data)
    assert 0 < size < 4 << 20
    right.close()


def test_shut_waits_for_what_was_written() -> None:
    left, right = socket_pair()
    assert not left.write(bytes(1 << 20))
    left.shut()
    size = 0
    while data := right.recv():
        size += len(data)
    assert size == 1 << 20
    left.close()
    right.close()


def test_timeout_of_a_conn() -> None:
    left, right = socket_pair()
    left.settimeout(0.01)
    with pytest.raises(TimeoutError):
        left.recv()
    right.sendall(b"x")
    assert left.recv() == b"x"
    left.close()
    right.close()


def test_closing_twice() -> None:
    left, right = socket_pair()
    left.close()
    left.close(True)
    assert right.recv() == b""
    right.close()
    with pytest.raises(ConnectionClosed):
        right.sendall(b"x")


def test_error_in_a_sink_ends_its_conn_only() -> None:
    left, right = socket_pair()
    failed: list[BaseException] = []

    class Sink:
        def data(self, data) -> None:
            raise ValueError("bug")

        def eof(self) -> None:
            raise AssertionError

        def fail(self, error: BaseException) -> None:
            failed.append(error)

    left.sink = Sink()
    left.endpoint.start()
    right.sendall(b"x")
    gevent.sleep(0.01)
    assert [str(error) for error in failed] == ["bug"]
    left.close()
    right.close()
    assert isinstance(left.endpoint, SocketEndpoint)


@both
def test_a_lost_sink_does_not_wake_a_source_that_was_closed(pair) -> None:
    """The process would end: libev does not take descriptors that are gone."""
    source, feeder = pair()
    sink, reader = pair()

    class Closing:
        def data(self, data) -> None:
            sink.write(data)

        eof = data

        def fail(self, error: BaseException) -> None:
            source.close(True)
            sink.close(True)

    sink.sink = Closing()
    sink.endpoint.on_drain = source.endpoint.resume
    source.endpoint.start()
    assert not sink.write(bytes(4 << 20))
    source.endpoint.pause()
    reader.close(True)
    with gevent.Timeout(5):
        while not sink.closed:
            gevent.sleep(0)
    assert not source.endpoint._io.active
    source.endpoint.resume()
    assert not source.endpoint._io.active
    feeder.close()
