"""What the streams of every mux share."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.net.conn import Conn
from gostpy.net.stream import PIECE, StreamEndpoint
from tests.stream.peers import Keeper

pytestmark = pytest.mark.timeout(10)


class Stream(StreamEndpoint):
    """A stream of no mux: notes what the session would be told."""

    def __init__(self):
        super().__init__()
        self.takes = True
        self.sent = bytearray()
        self.eaten = 0
        self.held = 0
        self.finished = 0
        self.closings = []

    def _send(self, data):
        self.sent += data
        return self.takes

    def _finish_sending(self):
        self.finished += 1

    def _closed(self, now):
        self.closings.append(now)

    def consumed(self, size):
        self.eaten += size

    def kept(self, size):
        self.held += size


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def conn(stream):
    return Conn(stream)


def test_data_before_the_relay_waits_for_recv(stream, conn):
    stream.deliver(b"x" * (PIECE + 5))
    assert (stream.held, stream.eaten) == (PIECE + 5, 0)
    assert len(stream.recv()) == PIECE
    assert len(stream.recv()) == 5
    assert (stream.held, stream.eaten) == (0, PIECE + 5)


def test_recv_waits(stream, conn):
    reader = gevent.spawn(conn.recv)
    gevent.idle()
    stream.deliver(b"late")
    assert reader.get() == b"late"


def test_start_hands_over_in_pieces_then_data_flows(stream, conn):
    stream.deliver(b"x" * (2 * PIECE + 1))
    sink = Keeper(conn)
    stream.start()
    assert sink.pieces == [PIECE, PIECE, 1]
    stream.deliver(b"direct")
    assert sink.data_seen.endswith(b"xdirect")
    assert (stream.held, stream.eaten) == (0, 2 * PIECE + 7)


def test_a_full_sink_consumes_when_it_has_drained(stream, conn):
    sink = Keeper(conn, room=1)
    stream.start()
    stream.deliver(b"one")
    stream.deliver(b"two")
    assert (bytes(sink.data_seen), stream.held, stream.eaten) == (b"one", 6, 0)
    stream.resume()
    assert (bytes(sink.data_seen), stream.held, stream.eaten) == (b"one", 3, 3)
    gevent.idle()  # never from resume itself: that runs in the middle of other streams' data
    assert (bytes(sink.data_seen), stream.held, stream.eaten) == (b"onetwo", 3, 3)


def test_the_end_comes_after_what_a_full_sink_has_not_got(stream, conn):
    sink = Keeper(conn, room=1)
    stream.start()
    stream.deliver(b"one")
    stream.deliver(b"two")
    stream.peer_end()
    for expected in (b"onetwo", b"onetwo"):
        assert not sink.ended
        stream.resume()
        gevent.idle()
        assert bytes(sink.data_seen) == expected
    assert sink.ended


def test_end_before_the_relay(stream, conn):
    stream.deliver(b"last")
    stream.peer_end()
    assert (conn.recv(), conn.recv()) == (b"last", b"")


def test_end_is_told_once_and_at_the_start(stream, conn):
    stream.peer_end()
    sink = Keeper(conn)
    stream.start()
    assert sink.ended
    sink.ended = False
    stream.start()
    assert not sink.ended


def test_abort_hands_over_the_rest_first(stream, conn):
    sink = Keeper(conn, room=1)
    stream.start()
    stream.deliver(b"one")
    stream.deliver(b"two")
    stream.abort(ConnectionClosed("gone"))
    assert bytes(sink.data_seen) == b"onetwo"
    assert str(sink.error) == "gone"
    with pytest.raises(ConnectionClosed, match="gone"):
        conn.sendall(b"x")


def test_abort_before_the_relay(stream, conn):
    stream.deliver(b"last")
    stream.abort(ConnectionClosed("gone"))
    assert conn.recv() == b"last"
    with pytest.raises(ConnectionClosed, match="gone"):
        conn.recv()


def test_an_error_of_the_sink_fails_this_conn_only(stream, conn):
    class Picky(Keeper):
        def data(self, data):
            raise ProtocolError("bad bytes")

    sink = Picky(conn)
    stream.start()
    stream.deliver(b"x")
    assert str(sink.error) == "bad bytes"


def test_sendall_waits_until_drained(stream, conn):
    stream.takes = False
    sender = gevent.spawn(conn.sendall, b"much")
    gevent.idle()
    assert not sender.ready()
    assert conn.endpoint.pending
    stream.drained()
    assert sender.get() is None


def test_sendall_ends_with_the_stream(stream, conn):
    stream.takes = False
    senders = [gevent.spawn(conn.sendall, b"much")]
    gevent.idle()
    conn.close()
    with pytest.raises(ConnectionClosed):
        senders[0].get()


def test_drained_calls_the_source(stream, conn):
    calls = []
    stream.on_drain = lambda: calls.append(1)
    stream.drained()
    assert not calls
    stream.takes = False
    assert not stream.write(b"x")
    stream.drained()
    assert calls == [1]


def test_close_forgets_what_waits(stream, conn):
    stream.deliver(b"unread")
    conn.close()
    assert (stream.held, stream.finished, stream.closings) == (0, 1, [False])
    stream.deliver(b"more")
    assert stream.held == 0
    conn.close()
    assert stream.closings == [False]


def test_shut_then_close_finishes_once(stream, conn):
    conn.shut()
    conn.close(True)
    assert (stream.finished, stream.closings) == (1, [True])
    with pytest.raises(ConnectionClosed):
        stream.write(b"x")


def test_close_wakes_a_reader(stream, conn):
    reader = gevent.spawn(conn.recv)
    gevent.idle()
    conn.close()
    assert reader.get() == b""
