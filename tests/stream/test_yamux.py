"""yamux sessions against a peer played by hand."""

import gevent
import pytest

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.stream.yamux import BACKLOG, Config, Session
from gostpy.wire.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    INITIAL_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW,
    frame,
)
from tests.stream.peers import Keeper, by_hand

pytestmark = pytest.mark.timeout(10)


@pytest.fixture(autouse=True)
def loop_runs():
    """Deadlines alone do not keep the loop running; a program has sockets to wait for."""
    loop = gevent.get_hub().loop
    loop.update_now()  # it may not have run for long
    timer = loop.timer(60)
    timer.start(lambda: None)
    yield
    timer.close()


def client(**settings):
    return by_hand(Session, Config(**settings), True)


def server(deliver=None, **settings):
    return by_hand(Session, Config(**settings), False, deliver)


def data(stream_id, payload, flags=0):
    return frame(DATA, flags, stream_id, len(payload)) + payload


def test_an_exchange():
    session, peer = client()
    conn = session.open()
    conn.sendall(b"ping")
    assert peer.written() == frame(WINDOW, SYN, 1) + data(1, b"ping")
    peer.feed(frame(WINDOW, ACK, 1) + data(1, b"pong", FIN))
    assert (conn.recv(), conn.recv()) == (b"pong", b"")
    conn.close()
    assert peer.written() == frame(WINDOW, FIN, 1)
    assert session.stream_count == 0


def test_a_larger_window_is_announced():
    session, peer = client(max_stream_window=INITIAL_WINDOW + 9)
    session.open()
    assert peer.written() == frame(WINDOW, SYN, 1, 9)
    session, peer = server(deliver=lambda _: None, max_stream_window=INITIAL_WINDOW + 9)
    peer.feed(frame(WINDOW, SYN, 1))
    assert peer.written() == frame(WINDOW, ACK, 1, 9)


def test_a_stream_is_answered_at_once():
    _, peer = server()
    peer.feed(frame(WINDOW, SYN, 1))
    assert peer.written() == frame(WINDOW, ACK, 1)


def test_only_so_many_streams_are_unanswered():
    session, peer = client()
    for _ in range(BACKLOG):
        session.open()
    assert session.busy
    late = gevent.spawn(session.open)
    gevent.idle()
    assert not late.ready()
    peer.feed(frame(WINDOW, ACK, 1))
    assert late.get().endpoint.id == 2 * BACKLOG + 1
    late = gevent.spawn(session.open)
    gevent.idle()
    session.close()
    with pytest.raises(ConnectionClosed):
        late.get()


def test_sending_stays_in_the_window():
    session, peer = client()
    conn = session.open()
    peer.written()
    sender = gevent.spawn(conn.sendall, bytes(300000))
    gevent.idle()
    assert len(peer.written()) == INITIAL_WINDOW + 12
    peer.feed(frame(WINDOW, 0, 1, 100))
    assert peer.written() == data(1, bytes(100))
    peer.feed(frame(WINDOW, 0, 1, 100000))
    assert len(peer.written()) == 300000 - INITIAL_WINDOW - 100 + 12
    sender.get()


def test_window_updates_come_by_half_windows():
    session, peer = client()
    conn = session.open()
    Keeper(conn)
    conn.endpoint.start()
    peer.written()
    peer.feed(data(1, bytes(INITIAL_WINDOW // 2 - 1)))
    assert peer.written() == b""
    peer.feed(data(1, bytes(1)))
    assert peer.written() == frame(WINDOW, 0, 1, INITIAL_WINDOW // 2)


def test_half_close():
    session, peer = client()
    conn = session.open()
    conn.shutdown()
    assert peer.written() == frame(WINDOW, SYN, 1) + frame(WINDOW, FIN, 1)
    peer.feed(data(1, b"still"))
    assert conn.recv() == b"still"
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"x")
    peer.feed(frame(WINDOW, FIN, 1))
    assert conn.recv() == b""
    assert session.stream_count == 0
    conn.close()
    assert peer.written() == b""


def test_writing_after_the_peers_fin():
    session, peer = client()
    conn = session.open()
    peer.feed(frame(WINDOW, FIN, 1))
    peer.written()
    conn.sendall(b"goes on")
    assert peer.written() == data(1, b"goes on")


def test_reset():
    session, peer = client()
    conn = session.open()
    peer.written()
    peer.feed(data(1, b"before") + frame(WINDOW, RST, 1))
    assert conn.recv() == b"before"
    with pytest.raises(ConnectionClosed):
        conn.recv()
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"x")
    conn.close()
    assert peer.written() == b""
    assert session.stream_count == 0


def test_a_stream_closed_here_waits_for_the_peer_and_is_reset_in_the_end():
    session, peer = client()
    conn = session.open()
    peer.written()
    conn.close()
    assert peer.written() == frame(WINDOW, FIN, 1)
    stream = session._streams[1]
    peer.feed(data(1, b"nobody reads it"))
    assert (session.stream_count, session._held) == (1, 0)
    stream._reset()
    assert peer.written() == frame(WINDOW, RST, 1)
    assert session.stream_count == 0


def test_closed_now_means_reset():
    session, peer = client()
    conn = session.open()
    peer.written()
    conn.close(True)
    assert peer.written().endswith(frame(WINDOW, RST, 1))
    assert session.stream_count == 0


def test_a_peer_that_ended_and_does_not_read_is_reset():
    session, peer = client()
    conn = session.open()
    peer.feed(frame(WINDOW, FIN, 1))
    sender = gevent.spawn(conn.sendall, bytes(300000))
    gevent.idle()
    peer.written()
    stream = conn.endpoint
    assert stream._timer is not None
    stream._reset()
    assert peer.written() == frame(WINDOW, RST, 1)
    with pytest.raises(ConnectionClosed):
        sender.get()


def test_close_sends_what_waits_for_window_first():
    session, peer = client()
    conn = session.open()
    conn.write(bytes(INITIAL_WINDOW + 5))
    conn.close()
    peer.written()
    peer.feed(frame(WINDOW, 0, 1, 9) + frame(WINDOW, FIN, 1))
    assert peer.written() == data(1, bytes(5)) + frame(WINDOW, FIN, 1)
    assert session.stream_count == 0


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frame(WINDOW, SYN, 2), id="id-of-this-side"),
        pytest.param(frame(WINDOW, SYN, 1) * 2, id="twice"),
        pytest.param(data(1, bytes(INITIAL_WINDOW + 1), SYN), id="overruns-window"),
        pytest.param(
            frame(WINDOW, SYN, 1, 1) + frame(WINDOW, 0, 1, 0xFFFFFFFF), id="window-too-large"
        ),
        pytest.param(frame(7, 0, 0), id="type"),
    ],
)
def test_violations_end_the_session(wire):
    session, peer = server(deliver=lambda _: None)
    peer.feed(wire)
    assert isinstance(session.error, ProtocolError)
    assert peer.written().endswith(frame(GO_AWAY, 0, 0, 1))
    assert peer.closed


def test_ping():
    _, peer = server()
    peer.feed(frame(PING, SYN, 0, 77) + frame(PING, ACK, 0, 5))
    assert peer.written() == frame(PING, ACK, 0, 77)


def test_keep_alive():
    _, peer = client(keepalive_interval=0.01)
    while not peer.writes:
        gevent.sleep(0.002)
    assert peer.written() == frame(PING, SYN, 0, 1)


def test_go_away_lets_streams_end():
    session, peer = client()
    conn = session.open()
    peer.feed(frame(GO_AWAY, 0, 0, 0))
    assert session.alive
    assert session.busy
    with pytest.raises(ConnectionClosed):
        session.open()
    conn.sendall(b"still works")
    conn.close()
    peer.feed(frame(WINDOW, FIN, 1))
    assert not session.alive


def test_go_away_with_an_error_ends_all():
    session, peer = client()
    peer.feed(frame(GO_AWAY, 0, 0, 2))
    assert not session.alive
    assert peer.closed
