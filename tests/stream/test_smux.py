"""smux sessions against a peer played by hand."""

import gevent
import pytest

from gostpy.errors import BadVersion, ConnectionClosed, ProtocolError
from gostpy.stream import smux
from gostpy.stream.smux import Config, Session
from gostpy.wire.smux import FIN, NOP, PSH, SYN, header, window_update
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


def client(version=2, **settings):
    return by_hand(Session, Config(version=version, **settings), True)


def server(version=2, deliver=None, takes=True, **settings):
    return by_hand(Session, Config(version=version, **settings), False, deliver, takes=takes)


def data(stream_id, payload, version=2):
    return header(version, PSH, stream_id, len(payload)) + payload


def test_a_request_over_mtcp():
    """The bytes of a captured exchange with gost 3.2.6."""
    session, peer = client()
    conn = session.open()
    conn.sendall(b"\x01" * 19)
    assert peer.written().hex() == "0200000003000000" + "0202130003000000" + "01" * 19
    peer.feed(bytes.fromhex("0204080003000000" + "0400000000000100"))
    peer.feed(bytes.fromhex("0202040003000000") + b"pong")
    assert conn.recv() == b"pong"
    assert peer.written().hex() == "0204080003000000" + "0400000000000100"
    conn.close()
    assert peer.written() == header(2, FIN, 3)


@pytest.mark.parametrize(
    ("is_client", "ids"), [(True, [3, 5, 7]), (False, [2, 4, 6])], ids=["client", "server"]
)
def test_stream_ids(is_client, ids):
    session, peer = by_hand(Session, Config(), is_client)
    for _ in ids:
        session.open()
    assert peer.written() == b"".join(header(1, SYN, number) for number in ids)


def test_a_burst_of_streams_is_spread():
    session, peer = client()
    opening = gevent.spawn(lambda: [session.open() for _ in range(100)])
    gevent.idle()
    assert len(peer.written()) == 64 * 8
    assert len(opening.get()) == 100
    assert len(peer.written()) == 36 * 8


def test_ids_run_out():
    session, _ = client()
    session._next = 0xFFFFFFFF
    session.open()
    assert session.busy
    with pytest.raises(ConnectionClosed):
        session.open()


def test_window_updates_come_at_first_and_then_by_half_windows():
    session, peer = client(max_stream_buffer=100)
    conn = session.open()
    Keeper(conn)
    conn.endpoint.start()
    peer.written()
    for size, reported in [(1, 1), (49, None), (1, 51), (49, None), (30, 130)]:
        peer.feed(data(3, bytes(size)))
        expected = b"" if reported is None else window_update(2, 3, reported, 100)
        assert peer.written() == expected


def test_version_1_sends_no_window_updates():
    session, peer = client(version=1)
    conn = session.open()
    peer.written()
    peer.feed(data(3, bytes(300000 // 10), 1))
    assert conn.recv()
    peer.feed(window_update(1, 3, 5, 5))
    assert peer.written() == b""


def test_sending_stays_in_the_window():
    session, peer = client()
    conn = session.open()
    peer.written()
    sender = gevent.spawn(conn.sendall, bytes(300000))
    gevent.idle()
    assert conn.endpoint.pending
    sent = payload_size(peer.written())
    assert sent == smux.INITIAL_WINDOW
    peer.feed(window_update(2, 3, 10000, 262144))
    assert payload_size(peer.written()) == 10000
    peer.feed(window_update(2, 3, 262144, 65536))
    assert payload_size(peer.written()) == 300000 - 262144 - 10000
    sender.get()


def payload_size(wire):
    """Data bytes in PSH frames; anything else is not expected."""
    at = total = 0
    while at < len(wire):
        assert wire[at : at + 2] == bytes((2, PSH))
        size = int.from_bytes(wire[at + 2 : at + 4], "little")
        assert 0 < size <= 32768
        total += size
        at += 8 + size
    assert at == len(wire)
    return total


def test_a_smaller_window_does_not_send_backwards():
    session, peer = client()
    conn = session.open()
    conn.write(bytes(200000))
    peer.written()
    peer.feed(window_update(2, 3, 0, 1000))
    conn.write(b"x")
    assert peer.written() == b""
    peer.feed(window_update(2, 3, 200000, 1000))
    assert peer.written() == data(3, b"x")


def test_counters_wrap():
    session, peer = client()
    conn = session.open()
    stream = conn.endpoint
    stream._sent = stream._peer_consumed = (1 << 32) - 10
    conn.write(bytes(20))
    peer.written()
    peer.feed(window_update(2, 3, 10, 50))
    assert stream._room() == 50
    assert session.alive


def test_a_peer_that_consumed_more_than_was_sent():
    session, peer = client()
    bad, good = session.open(), session.open()
    peer.written()
    peer.feed(window_update(2, 3, 1, 65536))
    assert peer.written() == header(2, FIN, 3)
    with pytest.raises(ConnectionClosed, match="consumed"):
        bad.sendall(b"x")
    good.sendall(b"x")
    assert session.stream_count == 1


def test_a_peer_that_overruns_its_window():
    delivered = []
    session, peer = server(deliver=delivered.append)
    peer.feed(header(2, SYN, 3) + header(2, SYN, 5))
    for _ in range(9):
        peer.feed(data(3, bytes(32768)))
    assert peer.written() == header(2, FIN, 3)
    assert session.stream_count == 1
    assert session.alive
    peer.feed(data(3, b"more") + data(5, b"fine"))
    assert delivered[1].recv() == b"fine"
    delivered[0].close()
    assert session._held == 0


def test_close_sends_what_waits_for_window_first():
    session, peer = client()
    conn = session.open()
    conn.write(bytes(smux.INITIAL_WINDOW + 5))
    peer.written()
    conn.close()
    peer.feed(data(3, b"ignored now"))
    assert peer.written() == b""
    assert session.stream_count == 1
    peer.feed(window_update(2, 3, smux.INITIAL_WINDOW, 65536))
    assert peer.written() == data(3, bytes(5)) + header(2, FIN, 3)
    assert (session.stream_count, session._held) == (0, 0)


@pytest.mark.parametrize("how", ["now", "peer closes", "time passes"])
def test_close_without_sending_what_waits(how):
    session, peer = client()
    conn = session.open()
    conn.write(bytes(smux.INITIAL_WINDOW + 5))
    peer.written()
    conn.close(how == "now")
    if how == "peer closes":
        peer.feed(header(2, FIN, 3))
    elif how == "time passes":
        stream = session._streams[3]
        stream._give_up()
        stream._give_up()
    assert peer.written() == header(2, FIN, 3)
    assert session.stream_count == 0


@pytest.mark.parametrize("version", [1, 2])
def test_fin_lets_read_and_not_write(version):
    session, peer = client(version)
    conn = session.open()
    peer.feed(data(3, b"last", version) + header(version, FIN, 3))
    peer.written()
    conn.sendall(b"thrown away: the peer does not read, but its data is not lost by that")
    assert conn.recv() == b"last"
    peer.written()
    with pytest.raises(ConnectionClosed):
        conn.sendall(b"x")
    assert conn.recv() == b""
    conn.close()
    assert peer.written() == header(version, FIN, 3)
    assert session.stream_count == 0


def test_fin_ends_a_sender_that_waits_for_window():
    session, peer = client()
    conn = session.open()
    sender = gevent.spawn(conn.sendall, bytes(300000))
    gevent.idle()
    peer.feed(header(2, FIN, 3))
    with pytest.raises(ConnectionClosed):
        sender.get()


def test_shut_closes():
    """There is no half-close: to end our direction is to close the stream."""
    session, peer = client()
    conn = session.open()
    peer.written()
    conn.shutdown()
    conn.close()
    assert peer.written() == header(2, FIN, 3)
    assert session.stream_count == 0


def test_frames_for_unknown_streams_are_discarded():
    session, peer = server()
    peer.feed(data(99, bytes(1000)) + header(2, FIN, 99) + window_update(2, 99, 1, 1))
    peer.feed(header(2, SYN, 3) + header(2, SYN, 3) + data(3, b"known"))
    assert session.accept().recv() == b"known"
    assert (session.stream_count, session._held) == (1, 0)


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(header(1, NOP, 0), BadVersion, id="version"),
        pytest.param(header(2, 9, 0), ProtocolError, id="command"),
        pytest.param(header(2, SYN, 2), ProtocolError, id="id-of-this-side"),
    ],
)
def test_violations_end_the_session(wire, error):
    session, peer = server()
    conn = session.open()
    reader = gevent.spawn(conn.recv)
    gevent.idle()
    peer.feed(wire)
    assert isinstance(session.error, error)
    assert peer.closed
    with pytest.raises(ConnectionClosed):
        reader.get()


def test_large_data_is_cut_into_frames():
    session, peer = client(version=1, max_frame_size=1000)
    conn = session.open()
    peer.written()
    conn.sendall(bytes(2500))
    wire = peer.written()
    sizes = []
    while wire:
        size = int.from_bytes(wire[2:4], "little")
        sizes.append(size)
        wire = wire[8 + size :]
    assert sizes == [1000, 1000, 500]


def test_the_session_is_told_when_the_conn_drains():
    session, peer = server(takes=False, deliver=lambda _: None)
    assert session.full
    conn = session.open()
    sender = gevent.spawn(conn.sendall, b"x")
    gevent.idle()
    assert not sender.ready()
    peer.takes = True
    peer.on_drain()
    assert sender.get() is None


def test_keep_alive():
    _, peer = client(version=1, keepalive_interval=0.01, keepalive_timeout=60.0)
    while not peer.writes:
        gevent.sleep(0.002)
    assert peer.written() == header(1, NOP, 0)


def test_silence_ends_the_session():
    session, peer = client(keepalive_interval=0.01, keepalive_timeout=0.05)
    over = gevent.event.Event()
    session.on_close = lambda _: over.set()
    over.wait()
    assert "silent" in str(session.error)
    assert peer.closed


def test_a_peer_that_is_heard_keeps_the_session():
    session, peer = client(keepalive_interval=0.01, keepalive_timeout=0.03)
    for _ in range(20):
        peer.feed(header(2, NOP, 0))
        gevent.sleep(0.005)
    assert session.alive


def test_no_keep_alive():
    session, _ = client(keepalive=False, keepalive_interval=0.0)
    assert session._keeping is None


def test_memory_of_one_stream_in_version_1():
    session, peer = server(version=1, max_receive_buffer=100000)
    peer.feed(header(1, SYN, 3))
    conn = session.accept()
    for _ in range(3):
        assert peer.reading
        peer.feed(data(3, bytes(40000), 1))
    assert not peer.reading
    assert session.busy
    conn.recv()
    assert peer.reading
    assert not session.busy


def test_at_most_so_many_streams(monkeypatch):
    monkeypatch.setattr("gostpy.stream.session.MAX_STREAMS", 2)
    session, peer = server(deliver=lambda _: None)
    for number in (3, 5, 7):
        peer.feed(header(2, SYN, number))
    assert peer.written() == header(2, FIN, 7)
    assert session.stream_count == 2
