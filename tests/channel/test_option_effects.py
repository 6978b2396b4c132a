"""What each option of the everyday data channels does, from its key to what can be seen of it."""

from __future__ import annotations

import os
import socket
import stat

import gevent
import pytest

from gostpy.channel import mux, rudp, tcp, udp, unix
from gostpy.interfaces import Context
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.dial import dial_tcp
from gostpy.net.packet import dial_udp
from gostpy.options import parse
from gostpy.stream import smux as smux_session
from gostpy.wire.smux import NOP, PSH, header
from tests.channel.fakes import SilentLog
from tests.stream.peers import ByHand

pytestmark = pytest.mark.timeout(20)

KEEPALIVE = {
    "keepalive": True,
    "keepalive.idle": "61s",
    "keepalive.interval": "7s",
    "keepalive.count": 5,
}
SET = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 61,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 7,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 5,
}


def context(address: str = "127.0.0.1:0", listening: bool = True) -> Context:
    return Context(address, SilentLog(), listening=listening)


# -- tcp -------------------------------------------------------------------------------------------


@pytest.fixture
def listen_tcp():
    bound = []

    def start(metadata, address="127.0.0.1:0", accepted=lambda *_: None):
        carrier = tcp.Carrier(parse(tcp.ListenOptions, metadata), context(address))
        acceptor = carrier.listen(accepted)
        bound.append(acceptor)
        return acceptor

    yield start
    for acceptor in bound:
        acceptor.close()


@pytest.mark.effect(
    "listener:tcp", "keepalive", "keepalive.idle", "keepalive.interval", "keepalive.count"
)
def test_accepted_sockets_have_the_probes_of_the_options(listen_tcp):
    sock = listen_tcp(KEEPALIVE).sock
    assert {key: sock.getsockopt(*key) for key in SET} == SET
    assert not listen_tcp({}).sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.effect(
    "dialer:tcp", "keepalive", "keepalive.idle", "keepalive.interval", "keepalive.count"
)
@pytest.mark.effect(
    "dialer:ws",
    "tcp.keepalive",
    "tcp.keepalive.idle",
    "tcp.keepalive.interval",
    "tcp.keepalive.count",
)
def test_dialed_sockets_have_the_probes_of_the_options(listen_tcp):
    host, port = listen_tcp({}).address[:2]
    conn = dial_tcp(f"{host}:{port}")
    tcp.Carrier(parse(tcp.DialOptions, KEEPALIVE), context(listening=False)).dialed(conn)
    assert {key: conn.endpoint.sock.getsockopt(*key) for key in SET} == SET
    conn.close(True)


@pytest.mark.effect("listener:tcp", "reuseport")
def test_two_services_may_share_a_port(listen_tcp):
    first = listen_tcp({"reuseport": True})
    host, port = first.address[:2]
    assert listen_tcp({"reuseport": True}, f"{host}:{port}").address == first.address
    with pytest.raises(OSError, match="in use"):
        listen_tcp({}, f"{host}:{port}")


@pytest.mark.effect("listener:tcp", "mptcp")
def test_mptcp_is_the_protocol_of_the_socket(listen_tcp):
    multipath = 262
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, multipath).close()
    except OSError:
        pytest.skip("this kernel has no multipath TCP")
    protocol = (socket.SOL_SOCKET, socket.SO_PROTOCOL)
    assert listen_tcp({"mptcp": True}).sock.getsockopt(*protocol) == multipath
    assert listen_tcp({}).sock.getsockopt(*protocol) == socket.IPPROTO_TCP


# -- mux -------------------------------------------------------------------------------------------


@pytest.fixture
def session():
    made = []

    def start(metadata, side="dial"):
        kind = mux.DialOptions if side == "dial" else mux.ListenOptions
        part = mux.Mux(parse(kind, metadata), context(listening=side != "dial"))
        peer = ByHand()
        conn = Conn(peer, ConnInfo())
        peer.conn = conn
        made.append(part.connect(conn) if side == "dial" else part.serve(conn, lambda _: None))
        return made[-1], peer

    yield start
    for each in made:
        each.close()


both = pytest.mark.parametrize("side", ["dial", "listen"])


@pytest.mark.effect("listener:mtcp", "mux.version", "mux.type")
@pytest.mark.effect("dialer:mtcp", "mux.version", "mux.type")
@both
@pytest.mark.parametrize(
    ("metadata", "first"),
    [
        pytest.param({"mux.version": 1}, b"\x01\x00", id="smux 1"),
        pytest.param({"mux.version": 2}, b"\x02\x00", id="smux 2"),
        pytest.param({"mux.type": "yamux"}, b"\x00\x01", id="yamux"),
    ],
)
def test_the_first_frame_of_a_stream(session, side, metadata, first):
    made, peer = session(metadata, side)
    made.open()
    assert peer.written()[:2] == first


@pytest.mark.effect("listener:mtcp", "mux.maxFrameSize")
@pytest.mark.effect("dialer:mtcp", "mux.maxFrameSize")
@both
def test_no_frame_is_larger(session, side):
    made, peer = session({"mux.maxFrameSize": 100}, side)
    conn = made.open()
    peer.written()
    conn.sendall(bytes(150))
    number = conn.endpoint.id
    assert peer.written() == b"".join(
        header(1, PSH, number, size) + bytes(size) for size in (100, 50)
    )


@pytest.mark.effect("listener:mtcp", "mux.maxReceiveBuffer")
@pytest.mark.effect("dialer:mtcp", "mux.maxReceiveBuffer")
@both
def test_so_much_may_wait_in_a_session(session, side):
    made, peer = session({"mux.maxReceiveBuffer": 70000}, side)
    number = made.open().endpoint.id
    peer.feed(header(1, PSH, number, 60000) + bytes(60000))
    assert peer.reading
    peer.feed(header(1, PSH, number, 20000) + bytes(20000))
    assert not peer.reading


@pytest.mark.effect("listener:mtcp", "mux.maxStreamBuffer")
@pytest.mark.effect("dialer:mtcp", "mux.maxStreamBuffer")
@both
def test_the_window_that_the_peer_is_told(session, side):
    made, peer = session({"mux.version": 2, "mux.maxStreamBuffer": 9999}, side)
    conn = made.open()
    number = conn.endpoint.id
    peer.written()
    peer.feed(header(2, PSH, number, 1) + b"x")
    assert conn.recv() == b"x"
    assert peer.written()[-4:] == (9999).to_bytes(4, "little")


@pytest.mark.effect("listener:mtcp", "mux.maxStreamWindow")
@pytest.mark.effect("dialer:mtcp", "mux.maxStreamWindow")
@both
def test_a_larger_window_is_announced(session, side):
    made, peer = session({"mux.type": "yamux", "mux.maxStreamWindow": 262144 + 77}, side)
    made.open()
    assert int.from_bytes(peer.written()[8:12], "big") == 77


@pytest.mark.effect("listener:mtcp", "mux.keepaliveInterval", "mux.keepaliveDisabled")
@pytest.mark.effect("dialer:mtcp", "mux.keepaliveInterval", "mux.keepaliveDisabled")
@both
@pytest.mark.parametrize("disabled", [False, True])
def test_probes_come_at_the_interval(session, side, disabled, monkeypatch):
    asked = []
    monkeypatch.setattr(
        smux_session.Session, "keep_alive", lambda _, *times: asked.append(times), raising=True
    )
    session({"mux.keepaliveInterval": "3s", "mux.keepaliveDisabled": disabled}, side)
    assert asked == ([] if disabled else [(3.0, 30.0)])


@pytest.mark.effect("listener:mtcp", "mux.keepaliveTimeout", "mux.keepaliveInterval")
@pytest.mark.effect("dialer:mtcp", "mux.keepaliveTimeout", "mux.keepaliveInterval")
@both
def test_a_silent_peer_is_given_up(session, side):
    made, peer = session({"mux.keepaliveInterval": "10ms", "mux.keepaliveTimeout": "30ms"}, side)
    over = gevent.event.Event()
    made.on_close = lambda _: over.set()
    assert over.wait(5)
    assert header(1, NOP, 0) in peer.written()
    assert "silent" in str(made.error)


# -- udp -------------------------------------------------------------------------------------------


@pytest.fixture
def listen_udp():
    bound = []

    def start(metadata):
        carrier = udp.Carrier(parse(udp.ListenOptions, metadata), context())
        arrived = []
        sessions = carrier.listen(lambda session, _: arrived.append(session))
        sessions.start()
        bound.append(sessions)
        host, port = sessions.address[:2]
        return arrived, lambda: dial_udp(f"{host}:{port}")

    yield start
    for sessions in bound:
        sessions.close()


def until(condition):
    with gevent.Timeout(5):
        while not condition():
            gevent.sleep(0.002)


@pytest.mark.effect("listener:udp", "backlog")
def test_so_many_sessions_may_wait(listen_udp):
    arrived, dial = listen_udp({"backlog": 2})
    clients = [dial() for _ in range(4)]
    for client in clients:
        client.send_to(b"x")
    until(lambda: len(arrived) == 2)
    arrived[0].recv_from()  # somebody serves it: there is room for one more
    clients[3].send_to(b"x")
    until(lambda: len(arrived) == 3)
    for client in clients:
        client.close()


def queued(listen_udp, metadata, sizes):
    """How many datagrams of these sizes a session keeps that nobody reads."""
    arrived, dial = listen_udp({**metadata, "keepalive": True})
    client, marker = dial(), dial()
    for size in sizes:
        client.send_to(bytes(size))
    marker.send_to(b"last")
    until(lambda: len(arrived) == 2)
    arrived[0].settimeout(0.01)
    count = 0
    while True:
        try:
            arrived[0].recv_from()
        except TimeoutError:
            client.close()
            marker.close()
            return count
        count += 1


@pytest.mark.effect("listener:udp", "readQueueSize")
def test_so_many_datagrams_may_wait(listen_udp):
    assert queued(listen_udp, {"readQueueSize": 3}, [10] * 6) == 3


@pytest.mark.effect("listener:udp", "readBufferSize")
def test_so_many_bytes_may_wait(listen_udp):
    assert queued(listen_udp, {"readQueueSize": 3, "readBufferSize": 100}, [301, 1, 1]) == 1


@pytest.mark.effect("listener:udp", "ttl")
def test_an_unused_session_ends(listen_udp):
    arrived, dial = listen_udp({"ttl": "20ms", "keepalive": True})
    client = dial()
    client.send_to(b"x")
    until(lambda: arrived and arrived[0].closed)
    client.close()


@pytest.mark.effect("listener:udp", "keepalive", "stateless")
@pytest.mark.parametrize(
    ("metadata", "sessions"),
    [
        pytest.param({}, 2, id="a session per reply"),
        pytest.param({"keepalive": True}, 1, id="keepalive"),
        pytest.param({"keepalive": True, "stateless": True}, 2, id="stateless"),
    ],
)
def test_how_long_a_session_lives(listen_udp, metadata, sessions):
    arrived, dial = listen_udp(metadata)
    client = dial()
    client.settimeout(5)
    for number in (1, 2):
        client.send_to(b"x")
        expected = min(number, sessions)
        until(lambda: len(arrived) >= expected)  # noqa: B023
        arrived[-1].recv_from()
        arrived[-1].send_to(b"y")
        client.recv_from()
    assert len(arrived) == sessions
    client.close()


@pytest.mark.effect("listener:rudp", "ttl", "readBufferSize", "readQueueSize", "backlog")
def test_what_a_remote_node_is_asked_for():
    metadata = {"ttl": "7s", "readBufferSize": 100, "readQueueSize": 9, "backlog": 3}
    asked = context()
    asked.router = object()
    carrier = rudp.Carrier(parse(rudp.Options, metadata), asked)
    assert carrier.bind_options() == {"ttl": 7.0, "buffer": 100, "queue": 9, "backlog": 3}


# -- unix ------------------------------------------------------------------------------------------


@pytest.mark.effect("listener:unix", "mode")
def test_permissions_of_the_socket(tmp_path):
    path = str(tmp_path / "s")
    made = unix.Carrier(parse(unix.ListenOptions, {"mode": "0640"}), context(path))
    acceptor = made.listen(lambda *_: None)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    acceptor.close()
