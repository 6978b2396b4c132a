"""What every mux session does: smux 1, smux 2, yamux."""

import hashlib
import os

import gevent
import pytest
from gevent.event import Event

from gostpy.errors import ConfigError, ConnectionClosed
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.pipe import pipe
from gostpy.stream import smux, yamux
from gostpy.stream.mux import MuxOptions, check_mux, mux_session
from tests.net.pairs import socket_pair
from tests.stream.peers import KINDS, ByHand, Keeper, joined, waiting

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def loop_runs():
    """Deadlines alone do not keep the loop running; a program has sockets to wait for."""
    loop = gevent.get_hub().loop
    loop.update_now()  # it may not have run for long
    timer = loop.timer(60)
    timer.start(lambda: None)
    yield
    timer.close()


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


def echo(conn):
    try:
        while data := conn.recv():
            conn.sendall(data)
    except ConnectionClosed:
        pass
    conn.close()


def echoing(conn):
    gevent.spawn(echo, conn)


def gone(session):
    """An event that is set when the session has ended."""
    event = Event()
    session.on_close = lambda _: event.set()
    if not session.alive:
        event.set()
    return event


def test_echo(kind):
    client, _ = joined(kind, echoing)
    conn = client.open()
    conn.sendall(b"hello")
    assert conn.recv() == b"hello"
    conn.close()
    client.close()


def test_many_streams_at_once(kind):
    client, server = joined(kind, echoing)
    size = 1 << 20
    noise = os.urandom(size + 50)

    def exchange(number):
        conn = client.open()
        data = noise[number : number + size]
        sender = gevent.spawn(conn.sendall, data)
        digest, left = hashlib.sha256(), size
        while left:
            piece = conn.recv()
            assert piece
            left -= len(piece)
            digest.update(piece)
        sender.get()
        conn.close()
        return digest.digest() == hashlib.sha256(data).digest()

    results = [gevent.spawn(exchange, number) for number in range(20)]
    assert all(result.get() for result in results)
    client.close()
    gone(server).wait()
    assert (client._held, server._held) == (0, 0)


def test_piped_streams(kind):
    """Two sessions in a row, joined by a pipe as in a chain: nothing is lost."""
    last, _ = joined(kind, echoing)

    def forward(conn):
        pipe(conn, last.open())

    first, _ = joined(kind, lambda conn: gevent.spawn(forward, conn))
    conn = first.open()
    data = os.urandom(1 << 20)
    sender = gevent.spawn(conn.sendall, data)
    assert conn.read_exact(len(data)) == data
    sender.get()
    first.close()
    last.close()


def test_mux_in_mux(kind):
    inner_server = []

    def deliver(conn):
        session_type, config = KINDS[kind]
        inner_server.append(session_type(conn, config, False, echoing))
        inner_server[0].start()

    outer, _ = joined(kind, deliver)
    session_type, config = KINDS[kind]
    inner = session_type(outer.open(), config, True)
    inner.start()
    conn = inner.open()
    assert conn.endpoint.level == 0
    data = os.urandom(300000)
    sender = gevent.spawn(conn.sendall, data)
    assert conn.read_exact(len(data)) == data
    sender.get()
    outer.close()
    with pytest.raises(ConnectionClosed):
        conn.recv()


def test_streams_know_the_carrier(kind):
    delivered = []
    client, server = joined(kind, delivered.append)
    server.conn.info.source = ("192.0.2.9", 9)
    server.conn.info.facts["fact"] = 1
    client.open()
    client.open()
    gevent.sleep(0)
    while len(delivered) < 2:
        gevent.idle()
    info = delivered[0].info
    assert (info.peer, info.source, info.facts) == ("pair", ("192.0.2.9", 9), {"fact": 1})
    info.facts["mine"] = 1
    assert "mine" not in delivered[1].info.facts
    client.close()


def test_accept(kind):
    client, server = joined(kind)
    conn = client.open()
    conn.sendall(b"knock")
    accepted = server.accept()
    assert accepted.recv() == b"knock"
    accepted.sendall(b"come in")
    assert conn.recv() == b"come in"
    client.close()


def test_a_client_refuses_streams(kind):
    client, server = joined(kind)
    conn = server.open()
    sink = Keeper(conn)
    conn.endpoint.start()
    while not (sink.ended or sink.error):
        gevent.idle()
    assert client.stream_count == 0
    client.close()


def test_close_ends_all_streams(kind):
    client, server = joined(kind, echoing)
    conns = [client.open() for _ in range(3)]
    over = gone(client)
    server_over = gone(server)
    client.close()
    over.wait()
    server_over.wait()
    for conn in conns:
        with pytest.raises(ConnectionClosed):
            conn.recv()
        with pytest.raises(ConnectionClosed):
            conn.sendall(b"x")
    with pytest.raises(ConnectionClosed):
        client.open()
    assert not client.alive
    assert client.stream_count == 0
    client.close()


def test_what_was_written_leaves_before_a_close(kind):
    client, server = joined(kind)
    conn = client.open()
    conn.endpoint.write(b"last words")
    client.close()
    assert server.accept().recv() == b"last words"


def test_the_carrier_dies_with_data_in_flight(kind):
    client, server = joined(kind)
    conn = client.open()
    blocked = gevent.spawn(conn.sendall, bytes(8 << 20))
    sink = Keeper(client.open())
    sink.conn.endpoint.start()
    server.accept()
    over = gone(client)
    server.conn.endpoint.close(True)
    over.wait()
    with pytest.raises(ConnectionClosed):
        blocked.get()
    assert isinstance(sink.error, OSError)


def test_a_slow_reader_does_not_stop_the_others(kind):
    """One reader takes nothing of 1 MiB; another gets its 4 MiB meanwhile."""
    size = 4 << 20
    conns = {}

    def deliver(conn):
        def serve():
            name = conn.recv()
            conns[name] = conn
            conn.sendall(bytes(size if name == b"fast" else 1 << 20))

        gevent.spawn(serve)

    client, server = joined(kind, deliver)
    slow = client.open()
    slow.sendall(b"slow")
    fast = client.open()
    fast.sendall(b"fast")
    assert len(fast.read_exact(size)) == size
    assert len(slow.read_exact(1 << 20)) == 1 << 20
    assert client._held == 0
    client.close()
    assert set(conns) == {b"slow", b"fast"}
    server.close()


def test_a_stuck_reader_has_a_bound(kind):
    """Nobody reads: what the session keeps is bounded, and it goes on when somebody does."""

    def deliver(conn):
        gevent.spawn(conn.sendall, bytes(16 << 20))

    client, server = joined(kind, deliver)
    conn = client.open()
    limit = (4 << 20) + 65536 if kind == "smux1" else 262144 + 65536
    before = -1
    while client._held != before or not client._held:
        before = client._held
        for _ in range(20):
            gevent.idle()
    assert client._held <= limit
    assert client.busy == (kind == "smux1")
    for _ in range(16):
        assert len(conn.read_exact(1 << 20)) == 1 << 20
    assert client._held == 0
    assert not client.busy
    server.close()


def test_a_failing_deliver_refuses_one_stream(kind, monkeypatch):
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *_: None)
    served = []

    def deliver(conn):
        served.append(conn)
        if len(served) == 1:
            raise RuntimeError("bug")
        echoing(conn)

    client, _ = joined(kind, deliver)
    first, second = client.open(), client.open()
    second.sendall(b"x")
    assert second.recv() == b"x"
    try:
        assert first.recv() == b""
    except ConnectionClosed:
        pass
    client.close()


def test_frames_of_one_turn_leave_together(kind):
    session_type, config = KINDS[kind]
    endpoint = ByHand()
    session = session_type(Conn(endpoint, ConnInfo()), config, True)
    session.start()
    for _ in range(5):
        session.open().write(b"hello")
    assert endpoint.writes == []
    gevent.idle()
    assert len(endpoint.writes) == 1
    conn = session.open()
    conn.write(bytes(20000))
    assert len(endpoint.writes) == 2  # much leaves at once


def test_data_read_before_the_session_began(kind):
    """Bytes behind a handshake belong to the session."""
    left, right = socket_pair()
    session_type, config = KINDS[kind]
    client = session_type(left, config, True)
    client.start()
    conn = client.open()
    conn.write(b"early")
    gevent.idle()
    right.unread(right.recv())
    deliver, accept = waiting()
    server = session_type(right, config, False, deliver)
    server.start()
    assert accept().recv() == b"early"
    client.close()


def test_a_peer_that_asks_and_does_not_read(kind, monkeypatch):
    monkeypatch.setattr("gostpy.stream.session._UNREAD_LIMIT", 1 << 16)
    session_type, config = KINDS[kind]
    endpoint = ByHand(takes=False)
    session = session_type(Conn(endpoint, ConnInfo()), config, False, lambda conn: conn.close())
    session.start()
    session.full = True
    opening = {
        "smux1": lambda n: smux.header(1, smux.SYN, n),
        "smux2": lambda n: smux.header(2, smux.SYN, n),
        "yamux": lambda n: yamux.frame(yamux.WINDOW, yamux.SYN, n),
    }[kind]
    for first in range(1, 1 << 19, 2048):
        endpoint.feed(b"".join(opening(number) for number in range(first, first + 2048, 2)))
        if not session.alive:
            break
    assert not session.alive
    assert "does not read" in str(session.error)


@pytest.mark.parametrize(
    ("options", "session_type", "version"),
    [
        pytest.param({}, smux.Session, 1, id="default"),
        pytest.param({"mux_version": 2}, smux.Session, 2, id="version-2"),
        pytest.param({"mux_type": "yamux"}, yamux.Session, None, id="yamux"),
    ],
)
def test_options_choose(options, session_type, version):
    session = mux_session(Conn(ByHand(), ConnInfo()), MuxOptions(**options), True)
    assert isinstance(session, session_type)
    assert getattr(session, "version", None) == version


@pytest.mark.parametrize(
    ("options", "where"),
    [
        pytest.param({"mux_version": 3}, "mux.version", id="version"),
        pytest.param({"mux_max_frame_size": 65536}, "mux.maxFrameSize", id="frame"),
        pytest.param(
            {"mux_max_stream_buffer": 5 << 20}, "mux.maxStreamBuffer", id="stream-over-session"
        ),
        pytest.param({"mux_keepalive_interval": 31.0}, "mux.keepaliveInterval", id="keepalive"),
        pytest.param(
            {"mux_type": "yamux", "mux_max_stream_window": 1000}, "mux.maxStreamWindow", id="window"
        ),
    ],
)
def test_options_that_cannot_be_used(options, where):
    with pytest.raises(ConfigError) as caught:
        check_mux(MuxOptions(**options))
    assert caught.value.where == where
