"""Packet conns, sessions and the pipe between them."""

import gevent
import gevent.queue
import pytest
from gevent.event import Event

from gostpy.errors import ConnectionClosed, DialFailed
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.packet import MAX_DATAGRAM, PacketConn, StreamPackets, dial_udp, listen_udp
from gostpy.net.packetpipe import pipe_packets
from gostpy.net.sessions import SessionLimits, Sessions
from tests.net.pairs import socket_pair

pytestmark = pytest.mark.timeout(10)


@pytest.fixture(autouse=True)
def loop_runs():
    """Deadlines alone do not keep the loop running; a program has sockets to wait for."""
    timer = gevent.get_hub().loop.timer(60)
    timer.start(lambda: None)
    yield
    timer.close()


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self, expected=1):
        self.datagrams = []
        self.error = None
        self.enough = Event()
        self.over = Event()
        self._expected = expected

    def datagram(self, data, address):
        self.datagrams.append((data, address))
        if len(self.datagrams) >= self._expected:
            self.enough.set()

    def ended(self, error):
        self.error = error
        self.over.set()


class Meter:
    """Delays and refuses as told."""

    def __init__(self, delay=0.0, largest=MAX_DATAGRAM):
        self.delay = delay
        self.largest = largest
        self.counted = [0, 0]

    def received(self, size):
        self.counted[0] += size
        return self.delay

    def sent(self, size):
        self.counted[1] += size
        return self.delay

    def admits(self, size, outgoing):
        return size <= self.largest


class Fake(PacketConn):
    """Many peers in memory; blocking or on the hub."""

    def __init__(self, on_hub=True):
        super().__init__(ConnInfo(local=("127.0.0.1", 1)))
        self.on_hub = on_hub
        self.sent = []
        self.waiting = gevent.queue.Queue() if not on_hub else None

    def start(self, sink):
        self.sink = sink

    def send_now(self, data, address=""):
        self.sent.append((data, address))
        return 0.0

    def send_to(self, data, address=""):
        self.send_now(data, address)

    def recv_from(self):
        item = self.waiting.get()
        if item is None:
            raise ConnectionClosed("closed")
        return item


@pytest.fixture
def server():
    packets = listen_udp("127.0.0.1:0")
    yield packets
    packets.close()


@pytest.fixture
def client(server):
    packets = dial_udp(address_of(server))
    yield packets
    packets.close()


def address_of(packets):
    host, port = packets.info.local[:2]
    return f"{host}:{port}"


def test_connected_and_unconnected(server, client):
    client.send_to(b"ask", "ignored:1")
    data, sender = server.recv_from()
    assert (data, sender) == (b"ask", address_of(client))
    server.send_to(b"answer", sender)
    assert client.recv_from() == (b"answer", address_of(server))


@pytest.mark.parametrize("size", [0, 1, 1472, 4097, 60000])
def test_sizes_arrive_whole(server, client, size):
    client.send_to(b"x" * size)
    assert len(server.recv_from()[0]) == size


def test_names_are_resolved(server, client):
    server.send_to(b"by name", f"localhost:{client.info.local[1]}")
    assert client.recv_from()[0] == b"by name"
    with pytest.raises(DialFailed):
        server.send_to(b"", "127.0.0.1:port")


def test_name_is_looked_up_behind_a_send_on_the_hub(server, client):
    assert server.send_now(b"later", f"localhost:{client.info.local[1]}") == 0.0
    assert client.recv_from()[0] == b"later"


def test_dual_stack_speaks_ipv4():
    with_all = listen_udp(":0")
    peer = dial_udp(f"127.0.0.1:{with_all.info.local[1]}")
    peer.send_to(b"four")
    data, sender = with_all.recv_from()
    assert sender == address_of(peer)
    with_all.send_to(data, sender)
    assert peer.recv_from()[0] == b"four"
    with_all.close()
    peer.close()


def test_timeout(server):
    server.settimeout(0.01)
    with pytest.raises(TimeoutError):
        server.recv_from()


def test_close_wakes_the_reader(server):
    reader = gevent.spawn(server.recv_from)
    gevent.sleep(0)
    server.close()
    server.close()
    with pytest.raises(ConnectionClosed):
        reader.get(timeout=5)
    with pytest.raises(ConnectionClosed):
        server.send_to(b"", "127.0.0.1:1")


def test_port_in_use_is_named(server):
    with pytest.raises(OSError, match="listen udp"):
        listen_udp(address_of(server))


def test_unreachable_peer_costs_nothing():
    gone = listen_udp("127.0.0.1:0")
    client = dial_udp(address_of(gone))
    gone.close()
    client.settimeout(0.01)
    for _ in range(3):
        client.send_to(b"x")
    with pytest.raises(TimeoutError):
        client.recv_from()
    client.close()


def test_a_peer_that_cannot_be_answered_costs_nothing(server):
    """Port 0 is what a forged datagram may come from."""
    assert server.send_now(b"x", "127.0.0.1:0") == 0.0
    server.send_to(b"x", "127.0.0.1:0")
    assert not server.closed


def test_bursts_come_by_callback(server, client):
    sink = Collector(200)
    server.start(sink)
    for number in range(200):
        client.send_to(b"%d" % number)
    assert sink.enough.wait(5)
    assert [data for data, _ in sink.datagrams] == [b"%d" % number for number in range(200)]
    server.close()
    assert sink.over.is_set()


def test_pause_holds_datagrams(server, client):
    sink = Collector(2)
    server.start(sink)
    server.pause()
    client.send_to(b"a")
    client.send_to(b"b")
    gevent.sleep(0.02)
    assert not sink.datagrams
    server.resume()
    assert sink.enough.wait(5)


def test_sink_that_fails_ends_its_conn_only(server, client):
    class Broken(Collector):
        def datagram(self, data, address):
            raise ValueError("broken")

    sink = Broken()
    server.start(sink)
    client.send_to(b"x")
    assert sink.over.wait(5)
    assert isinstance(sink.error, ValueError)
    assert server.closed


def test_meter_drops_what_is_larger_than_a_burst(server, client):
    server.meter = Meter(largest=10)
    client.send_to(b"x" * 11)
    client.send_to(b"small")
    assert server.recv_from()[0] == b"small"
    server.send_to(b"y" * 11, address_of(client))
    server.send_to(b"fits", address_of(client))
    assert client.recv_from()[0] == b"fits"
    assert server.meter.counted == [5, 4]


def test_meter_delays_by_callback(server, client):
    sink = Collector(3)
    server.meter = Meter(delay=0.02)
    server.start(sink)
    started = gevent.get_hub().loop.now()
    for _ in range(3):
        client.send_to(b"x")
    assert sink.enough.wait(5)
    assert gevent.get_hub().loop.now() - started > 0.03


def test_stream_as_datagrams():
    left, right = socket_pair()
    packets = StreamPackets(left)
    packets.send_to(b"out", "ignored")
    assert right.recv() == b"out"
    right.sendall(b"in")
    assert packets.recv_from()[0] == b"in"
    right.close()
    with pytest.raises(ConnectionClosed):
        packets.recv_from()
    packets.close()
    assert isinstance(left, Conn) and left.closed


# -- sessions --------------------------------------------------------------------------------------


def sessions_of(fake, **limits):
    born = []
    made = Sessions(fake, born.append, SessionLimits(**limits))
    made.start()
    return made, born


def test_one_session_per_peer():
    fake = Fake()
    sessions, born = sessions_of(fake)
    for data, peer in [(b"1", "10.0.0.1:5"), (b"2", "[::1]:6"), (b"3", "10.0.0.1:5")]:
        sessions.datagram(data, peer)
    assert [session.peer for session in born] == ["10.0.0.1:5", "[::1]:6"]
    assert [session.info.peer for session in born] == [("10.0.0.1", 5), ("::1", 6)]
    assert [born[0].recv_from()[0] for _ in range(2)] == [b"1", b"3"]
    born[1].send_to(b"back", "10.9.9.9:9")
    assert fake.sent == [(b"back", "[::1]:6")]


def test_without_keepalive_the_first_reply_ends_it():
    fake = Fake()
    sessions, born = sessions_of(fake, keepalive=False)
    sessions.datagram(b"1", "10.0.0.1:5")
    sink = Collector()
    born[0].start(sink)
    born[0].send_now(b"r")
    born[0].send_now(b"same turn")
    assert [data for data, _ in fake.sent] == [b"r", b"same turn"]
    assert sink.over.wait(5)
    assert born[0].closed
    sessions.datagram(b"2", "10.0.0.1:5")
    assert len(born) == 2 and born[1] is not born[0]


def test_a_peer_may_return_before_its_session_is_gone():
    sessions, born = sessions_of(Fake(), keepalive=False)
    sessions.datagram(b"1", "10.0.0.1:5")
    born[0].send_now(b"r")
    sessions.datagram(b"2", "10.0.0.1:5")
    assert len(born) == 2
    gevent.sleep(0)
    gevent.sleep(0)
    assert born[0].closed and not born[1].closed
    assert len(sessions) == 1


def test_stateless_datagrams_are_sessions_each():
    sessions, born = sessions_of(Fake(), keepalive=False, stateless=True)
    sessions.datagram(b"1", "10.0.0.1:5")
    sessions.datagram(b"2", "10.0.0.1:5")
    assert [session.recv_from()[0] for session in born] == [b"1", b"2"]


def test_backlog_bounds_sessions_that_nobody_serves():
    sessions, born = sessions_of(Fake(), backlog=2)
    for port in range(5):
        sessions.datagram(b"x", f"10.0.0.1:{port}")
    assert len(born) == 2
    born[0].recv_from()
    born[1].close()
    for port in range(10, 15):
        sessions.datagram(b"x", f"10.0.0.1:{port}")
    assert len(born) == 4


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        pytest.param([1] * 9, 4, id="datagrams"),
        pytest.param([60000] * 9, 3, id="bytes"),
    ],
)
def test_queue_is_bounded(sizes, kept):
    sessions, born = sessions_of(Fake(), queue_size=4, buffer_size=32768)
    for size in sizes:
        sessions.datagram(b"x" * size, "10.0.0.1:5")
    born[0].settimeout(0.01)
    for _ in range(kept):
        born[0].recv_from()
    with pytest.raises(TimeoutError):
        born[0].recv_from()


def test_unused_sessions_end():
    sessions, born = sessions_of(Fake(), ttl=0.03)
    for peer in ("10.0.0.1:5", "10.0.0.1:6"):
        sessions.datagram(b"x", peer)
    idle, busy = Collector(), Collector()
    born[0].start(idle)
    born[1].start(busy)
    while not idle.over.wait(0.01):
        born[1].send_now(b"still here")
    assert not busy.over.is_set()
    assert busy.over.wait(5)
    assert len(sessions) == 0


def test_refused_sessions_leave_nothing():
    sessions = Sessions(Fake(), lambda session: session.close(), SessionLimits(backlog=1))
    for port in range(3):
        sessions.datagram(b"x", f"10.0.0.1:{port}")
    assert len(sessions) == 0 and sessions.untaken == 0


def test_end_of_the_socket_ends_sessions():
    over = []
    born = []
    server = listen_udp("127.0.0.1:0")
    sessions = Sessions(server, born.append, ended=over.append)
    sessions.start()
    client = dial_udp(address_of(server))
    client.send_to(b"x")
    while not born:
        gevent.sleep(0.001)
    sessions.close()
    assert over == [None] and born[0].closed
    client.close()


def test_blocking_packet_conns_have_sessions_too():
    fake = Fake(on_hub=False)
    over = []
    born = []
    Sessions(fake, born.append, ended=over.append).start()
    fake.waiting.put((b"x", "10.0.0.1:5"))
    gevent.sleep(0)
    assert not born[0].on_hub
    assert born[0].recv_from() == (b"x", "10.0.0.1:5")
    born[0].send_to(b"y")
    assert fake.sent == [(b"y", "10.0.0.1:5")]
    fake.waiting.put(None)
    with pytest.raises(ConnectionClosed):
        born[0].recv_from()
    assert isinstance(over[0], ConnectionClosed) and fake.closed


def test_session_meter():
    sessions, born = sessions_of(Fake())
    sessions.datagram(b"first", "10.0.0.1:5")
    born[0].meter = Meter(delay=0.02, largest=10)
    sink = Collector(3)
    born[0].start(sink)
    for data in (b"second", b"x" * 11, b"third"):
        sessions.datagram(data, "10.0.0.1:5")
    assert len(sink.datagrams) == 2
    assert sink.enough.wait(5)
    assert [data for data, _ in sink.datagrams] == [b"first", b"second", b"third"]
    assert born[0].send_now(b"z" * 11) == 0.0
    assert born[0].send_now(b"fits") == 0.02


# -- the pipe --------------------------------------------------------------------------------------


@pytest.fixture
def relayed():
    """A client, a target, and a pipe between."""
    inner, target = listen_udp("127.0.0.1:0"), listen_udp("127.0.0.1:0")
    client = dial_udp(address_of(inner))
    born, over = Event(), Event()
    state = {"client": client, "target": target, "over": over}

    def accepted(session):
        upstream = dial_udp(address_of(target))
        state["pipe"] = pipe_packets(
            session, upstream, lambda _: over.set(), idle=state.get("idle", 0.0)
        )
        born.set()

    sessions = Sessions(inner, accepted)
    sessions.start()
    yield state
    sessions.close()
    client.close()
    target.close()


def test_pipe_both_ways(relayed):
    client, target = relayed["client"], relayed["target"]
    client.send_to(b"there")
    data, sender = target.recv_from()
    target.send_to(data + b" and back", sender)
    assert client.recv_from()[0] == b"there and back"
    relay = relayed["pipe"]
    assert (relay.forwarded, relay.returned) == (5, 14)
    relay.left.close()
    assert relayed["over"].wait(5)
    assert relay.right.closed and relay.error is None


def test_pipe_loses_what_cannot_leave(relayed):
    client, target = relayed["client"], relayed["target"]
    client.send_to(b"a")
    target.recv_from()
    relay = relayed["pipe"]
    relay._forward.datagram(b"x" * 65536, "")
    client.send_to(b"b")
    assert target.recv_from()[0] == b"b"


def test_pipe_ends_when_idle(relayed):
    relayed["idle"] = 0.03
    relayed["client"].send_to(b"a")
    assert relayed["over"].wait(5)
    assert isinstance(relayed["pipe"].error, TimeoutError)


def test_pipe_holds_the_source_for_a_limit(relayed):
    client, target = relayed["client"], relayed["target"]
    client.send_to(b"a")
    _, sender = target.recv_from()
    relayed["pipe"].left.meter = Meter(delay=0.03)
    started = gevent.get_hub().loop.now()
    for _ in range(3):
        target.send_to(b"r", sender)
    for _ in range(3):
        client.recv_from()
    assert gevent.get_hub().loop.now() - started > 0.04
