"""Datagrams in fake TCP segments, over the loopback interface: sessions, ends, options."""

import _socket
import socket
import struct

import gevent
import pytest

from gostpy.channel.ftcp import Carrier, DialOptions, ListenOptions
from gostpy.channel.listener import StackListener
from gostpy.errors import ConnectionClosed, DialFailed, Unsupported
from gostpy.interfaces import Context
from gostpy.net.faketcp import dial_fake_tcp, listen, listen_fake_tcp
from gostpy.net.sessions import Session
from gostpy.options import parse
from gostpy.wire.rawtcp import FIN, PSH, Segment
from tests.channel.fakes import FakeGuards, SilentLog
from tests.engine.running import eventually
from tests.net.pairs import socket_pair
from tests.net.privileges import needs_raw_sockets

pytestmark = [pytest.mark.timeout(20), needs_raw_sockets]

HOSTS = [
    pytest.param("127.0.0.1", "127.0.0.1", id="ipv4"),
    pytest.param("[::1]", "[::1]", id="ipv6"),
    pytest.param("", "127.0.0.1", id="ipv4 on both"),
    pytest.param("", "[::1]", id="ipv6 on both"),
]


class Far:
    """A listening ftcp channel.

    Args:
        serving: sessions are answered; otherwise they wait.
    """

    def __init__(self, host="127.0.0.1", serving=True, **metadata):
        context = Context(address=f"{host}:0", log=SilentLog(), listening=True)
        self.carrier = Carrier(parse(ListenOptions, metadata), context)
        self.guards = FakeGuards()
        self.listener = StackListener(self.carrier, (), None, self.guards, context)
        self.served: list[Session] = []
        self.serving = serving
        self.listener.listen()
        self.listener.start(self._serve)
        self.port = self.listener.address[1]
        self.sessions = self.listener._bound

    def _serve(self, conn):
        self.served.append(conn)
        try:
            while self.serving:
                data, _ = conn.recv_from()
                conn.send_to(data.upper())
        except ConnectionClosed:
            pass


@pytest.fixture
def far():
    made = []

    def start(*arguments, **options):
        made.append(Far(*arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.listener.close()


@pytest.fixture
def dial():
    made = []

    def start(far, host="127.0.0.1"):
        conn = dial_fake_tcp(f"{host}:{far.port}")
        conn.settimeout(5)
        made.append(conn)
        return conn

    yield start
    for conn in made:
        conn.close()


def ask(conn, data):
    conn.send_to(data)
    return conn.recv_from()[0]


@pytest.mark.parametrize(("bound", "host"), HOSTS)
def test_datagrams(far, dial, bound, host):
    """The system's own TCP does not mix in: what arrives is what was sent, however large."""
    there = far(bound)
    conn = dial(there, host)
    for data in (b"", b"x", b"odd", b"y" * 1400, b"z" * 9000, b"end"):
        assert ask(conn, data) == data.upper()
    assert len(there.served) == 1
    assert there.served[0].info.peer == conn.info.local


def test_callbacks(far, dial):
    there = far()

    class Sink:
        got: list[bytes] = []  # noqa: RUF012
        over = False

        def datagram(self, data, address):
            self.got.append(data)

        def ended(self, error):
            self.over = True

    conn, sink = dial(there), Sink()
    conn.start(sink)
    for number in range(100):
        assert conn.send_now(b"%d" % number) == 0.0
    eventually(lambda: len(sink.got) == 100)
    there.listener.close()
    eventually(lambda: sink.over)
    assert conn.closed


def test_many_clients(far, dial):
    there = far()
    conns = [dial(there) for _ in range(30)]
    for number, conn in enumerate(conns):
        conn.send_to(b"c%d" % number)
    for number, conn in enumerate(conns):
        assert conn.recv_from()[0] == b"C%d" % number
    assert len(there.served) == 30


def test_the_end_of_a_client_ends_its_session(far, dial):
    there = far()
    conn = dial(there)
    ask(conn, b"x")
    conn.close()
    eventually(lambda: there.served[0].closed)
    assert not there.sessions.packets._peers
    conn.close()


def test_the_end_of_a_session_of_the_system_only(far):
    """A peer that connects and closes without a datagram leaves nothing."""
    there = far()
    sock = socket.create_connection(("127.0.0.1", there.port))
    eventually(lambda: there.sessions.packets._peers)
    sock.close()
    eventually(lambda: not there.sessions.packets._peers)


def test_silent_connections_are_bounded(far, dial, monkeypatch):
    """The oldest of those that never sent a datagram give way; others are left alone."""
    monkeypatch.setattr(listen, "_MOST_SILENT", 3)
    there = far()
    conn = dial(there)
    ask(conn, b"x")
    silent = [socket.create_connection(("127.0.0.1", there.port)) for _ in range(5)]
    silent[0].settimeout(5)
    with pytest.raises(ConnectionError):
        silent[0].recv(1)
    eventually(lambda: len(there.sessions.packets._peers) == 4)
    assert ask(conn, b"y") == b"Y"
    for sock in silent:
        sock.close()


def test_data_of_a_real_connection_is_a_datagram(far):
    """The system does not acknowledge it, as the filter keeps it from seeing it."""
    there = far(serving=False)
    with socket.create_connection(("127.0.0.1", there.port)) as sock:
        sock.sendall(b"not faked")
        eventually(lambda: there.served)
        assert there.served[0].recv_from()[0] == b"not faked"


def test_segments_without_a_connection_are_dropped(far, dial):
    there = far()
    raw = _socket.socket(_socket.AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_TCP)
    home = socket.inet_aton("127.0.0.1")
    for flags in (PSH, PSH | FIN, FIN):
        for seq in range(50):
            wire = Segment(9, there.port, seq, 0, flags, payload=b"?").encode(home, home)
            raw.sendto(wire, ("127.0.0.1", 0))
    raw.sendto(struct.pack("!HH9xB", 9, there.port, PSH), ("127.0.0.1", 0))  # too short
    raw.close()
    assert ask(dial(there), b"still here") == b"STILL HERE"
    assert len(there.served) == 1


def test_a_forged_end_does_not_fit(far, dial):
    there = far()
    conn = dial(there)
    ask(conn, b"x")
    raw = _socket.socket(_socket.AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_TCP)
    home = socket.inet_aton("127.0.0.1")
    wire = Segment(conn.info.local[1], there.port, 77, 0, FIN).encode(home, home)
    raw.sendto(wire, ("127.0.0.1", 0))
    raw.close()
    assert ask(conn, b"goes on") == b"GOES ON"


def test_idle_flows_end():
    listener = listen_fake_tcp("127.0.0.1:0", idle=0.02)
    gone = []
    listener.lost = gone.append
    listener.settimeout(5)
    port = listener.info.local[1]
    conn = dial_fake_tcp(f"127.0.0.1:{port}")
    conn.send_to(b"x")
    data, address = listener.recv_from()
    assert data == b"x"
    eventually(lambda: gone == [address])
    listener.send_to(b"lost", address)
    listener.close()
    conn.close()


def test_receiving_in_a_green_thread():
    listener = listen_fake_tcp(":0")
    port = listener.info.local[1]
    conn = dial_fake_tcp(f"[::1]:{port}")
    waiting = gevent.spawn(listener.recv_from)
    gevent.idle()
    conn.send_to(b"x")
    data, address = waiting.get(timeout=5)
    listener.send_to(data * 2, address)
    conn.settimeout(5)
    assert conn.recv_from()[0] == b"xx"
    listener.close()
    with pytest.raises(ConnectionClosed):
        listener.recv_from()
    with pytest.raises(ConnectionClosed):
        listener.send_to(b"x", address)
    conn.close()


def test_nobody_listens():
    with pytest.raises(DialFailed, match="refused"):
        dial_fake_tcp("127.0.0.1:1")


def test_guards_refuse(far, dial):
    there = far()
    there.guards.admits = False
    with pytest.raises(ConnectionClosed):
        ask(dial(there), b"x")
    assert not there.served


def test_only_as_the_first_node():
    carrier = Carrier(DialOptions(), Context(address="x:1", log=SilentLog()))
    conn, other = socket_pair()
    with pytest.raises(Unsupported, match="first node"):
        carrier.dialed(conn)
    assert conn.closed
    other.close()


@pytest.mark.effect("listener:ftcp", "ttl")
def test_ttl(far, dial):
    there = far(ttl="30ms")
    conn = dial(there)
    ask(conn, b"x")
    with pytest.raises(ConnectionClosed):  # the end of a session ends the flow
        conn.recv_from()
    assert there.served[0].closed


@pytest.mark.effect("listener:ftcp", "readQueueSize")
def test_read_queue_size(far, dial):
    there = far(serving=False, readQueueSize=3)
    conn = dial(there)
    for number in range(5):
        conn.send_to(b"%d" % number)
    eventually(lambda: there.served)
    session = there.served[0]
    session.settimeout(0.1)
    assert [session.recv_from()[0] for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(TimeoutError):
        session.recv_from()


@pytest.mark.effect("listener:ftcp", "readBufferSize")
def test_read_buffer_size(far, dial):
    """With the queue's size it bounds the bytes that wait."""
    there = far(serving=False, readBufferSize=10, readQueueSize=2)
    conn = dial(there)
    conn.send_to(b"x" * 21)
    conn.send_to(b"y")
    eventually(lambda: there.served)
    session = there.served[0]
    session.settimeout(0.1)
    assert len(session.recv_from()[0]) == 21
    with pytest.raises(TimeoutError):
        session.recv_from()


@pytest.mark.effect("listener:ftcp", "backlog")
def test_backlog(far, dial):
    there = far(serving=False, backlog=2)
    for _ in range(3):
        dial(there).send_to(b"x")
    eventually(lambda: len(there.served) == 2)
    assert len(there.sessions) == 2
