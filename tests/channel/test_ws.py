"""The ws layer: options, paths and headers, wss, pings that keep a conn alive or end it."""

from types import SimpleNamespace

import gevent
import pytest

from gostpy.channel import tls, ws
from gostpy.channel.stacks import DIALERS, LISTENERS, part_options
from gostpy.errors import HandshakeFailed
from gostpy.interfaces import Context
from gostpy.net import keepalive, timers
from gostpy.options import options_of, parse
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair
from tests.stream.peers import Keeper

_COMMON = """path handshakeTimeout readHeaderTimeout readBufferSize writeBufferSize header
enableCompression"""
_LISTEN = [f"{prefix}{key}" for key in [*_COMMON.split(), "backlog"] for prefix in ("", "ws.")]
_DIAL = [f"{prefix}{key}" for key in [*_COMMON.split(), "host"] for prefix in ("", "ws.")]
_TCP = ["keepalive", "keepalive.idle", "keepalive.interval", "keepalive.count"]

KEYS = [
    *[(name, True, [*_LISTEN, "mptcp", *_TCP]) for name in ("ws", "wss", "mws", "mwss")],
    *[
        (
            name,
            False,
            [*_DIAL, "ws.keepalive", "keepalive", "ttl", "keepalive.interval"]
            + [f"tcp.{key}" for key in _TCP],
        )
        for name in ("ws", "wss", "mws", "mwss")
    ],
]


@pytest.mark.parametrize(
    ("name", "listening", "keys"),
    KEYS,
    ids=[f"{n}-{'in' if side else 'out'}" for n, side, _ in KEYS],
)
def test_every_key_is_known_once(name, listening, keys):
    row = (LISTENERS if listening else DIALERS)[name]
    owners = {}
    for part in (*row.parts[:1], *row.layers):
        for field, option in options_of(part_options(part, listening)).items():
            for key in row.keys.get(field, option.keys):
                owners.setdefault(key.lower(), []).append(part)
    for key in keys:
        assert key.lower() in owners
    # a keep-alive of WebSocket does not set one of TCP, and the other way round
    for key in ("keepalive", "keepalive.interval", "tcp.keepalive"):
        assert len(owners.get(key, [key])) == 1


def layers(listen=None, dial=None, log=None):
    log = log or SilentLog()
    return (
        ws.Layer(parse(ws.ListenOptions, listen), Context("127.0.0.1:80", log, listening=True)),
        ws.Layer(parse(ws.DialOptions, dial), Context("node.test:80", log)),
    )


def shaken(listen=None, dial=None):
    """(client, server) conns after the upgrade."""
    serving, dialing = layers(listen, dial)
    left, right = socket_pair()
    accepting = gevent.spawn(serving.accept, right)
    try:
        dialing.connect(left)
        accepting.get(timeout=5)
    except BaseException:
        accepting.kill()
        left.close(True)
        right.close(True)
        raise
    return left, right


SETTINGS = [
    pytest.param({}, {}, id="defaults"),
    pytest.param({"path": "/a"}, {"ws.path": "/a"}, id="path"),
    pytest.param({"path": ""}, {"path": "/ws"}, id="empty path"),
    pytest.param({"header": {"X-A": "1"}}, {"header": {"X-B": "2"}}, id="headers"),
    pytest.param({"enableCompression": True}, {"enableCompression": True}, id="compression"),
    pytest.param({"enableCompression": True}, {}, id="compression not wanted"),
    pytest.param({}, {"ws.enableCompression": True}, id="compression not taken"),
    pytest.param({"handshakeTimeout": 5}, {"handshakeTimeout": "5s"}, id="timeouts"),
]


@pytest.mark.parametrize(("listen", "dial"), SETTINGS)
def test_both_sides(listen, dial):
    left, right = shaken(listen, dial)
    for data in (b"short", b"long " * 40000):
        for sender, receiver in ((left, right), (right, left)):
            sending = gevent.spawn(sender.sendall, data)
            assert receiver.read_exact(len(data)) == data
            sending.get(timeout=5)
    assert right.info.host == "node.test:80"
    left.shut()
    assert right.recv() == b""
    right.sendall(b"after the end of the other side")
    assert left.recv() == b"after the end of the other side"
    left.close(True)
    right.close(True)


@pytest.mark.effect("listener:ws", "path")
@pytest.mark.effect("dialer:ws", "path")
def test_wrong_path():
    with pytest.raises(HandshakeFailed, match="404"):
        shaken({}, {"path": "/other"})


@pytest.mark.effect("dialer:ws", "host")
def test_host_option():
    left, right = shaken({}, {"host": "front.test"})
    assert right.info.host == "front.test"
    left.close(True)
    right.close(True)


@pytest.mark.effect("dialer:ws", "header")
def test_headers_of_the_request():
    _, dialing = layers(None, {"header": {"X-Asked": "yes"}})
    left, right = socket_pair()
    asking = gevent.spawn(dialing.connect, left)
    head = b""
    while b"\r\n\r\n" not in head:
        head += right.recv()
    asking.kill()
    assert b"\r\nX-Asked: yes\r\n" in head
    left.close(True)
    right.close(True)


ASKED = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.effect("listener:ws", "header")
def test_headers_of_the_answer():
    serving, _ = layers({"header": {"X-Answered": "yes"}})
    left, right = socket_pair()
    left.sendall(ASKED)
    serving.accept(right)
    assert b"\r\nX-Answered: yes\r\n" in left.recv()
    left.close(True)
    right.close(True)


@pytest.mark.effect("listener:ws", "enableCompression")
@pytest.mark.effect("dialer:ws", "enableCompression")
@pytest.mark.parametrize(
    ("listen", "dial", "smaller"),
    [(True, True, True), (True, False, False), (False, True, False)],
    ids=["both", "listener", "dialer"],
)
def test_compression_when_both_want_it(listen, dial, smaller):
    left, right = shaken({"enableCompression": listen}, {"enableCompression": dial})
    for conn in (left, right):
        wire = b"".join(bytes(part) for part in [conn.codecs[0].encode(b"again " * 1000)])
        assert (len(wire) < 1000) == smaller
    left.close(True)
    right.close(True)


@pytest.mark.effect("listener:ws", "handshakeTimeout", "readHeaderTimeout")
@pytest.mark.parametrize("key", ["handshakeTimeout", "ws.readHeaderTimeout"])
def test_a_silent_client_runs_into_the_deadline(key):
    serving, _ = layers({key: "30ms"})
    left, right = socket_pair()
    with pytest.raises(TimeoutError):
        serving.accept(right)
    left.close()
    right.close()


@pytest.mark.effect("dialer:ws", "handshakeTimeout")
def test_a_silent_server_runs_into_the_deadline():
    _, dialing = layers(None, {"handshakeTimeout": "30ms"})
    left, right = socket_pair()
    with pytest.raises(TimeoutError):
        dialing.connect(left)
    left.close()
    right.close()


def test_over_tls():
    log = SilentLog()
    under = tls.Layer(tls.ListenOptions(), Context("127.0.0.1:443", log, listening=True))
    beneath = tls.Layer(tls.DialOptions(), Context("node.test:443", log))
    serving, dialing = layers()
    left, right = socket_pair()

    def accept():
        under.accept(right)
        serving.accept(right)

    accepting = gevent.spawn(accept)
    beneath.connect(left)
    dialing.connect(left)
    accepting.get(timeout=5)
    left.sendall(b"x" * 100_000)
    assert right.read_exact(100_000) == b"x" * 100_000
    assert right.info.tls.server_name == "node.test"
    left.close(True)
    right.close(True)


class Clock:
    """Deadlines that fire when the test says so."""

    def __init__(self):
        self.waiting = []

    def after(self, seconds, callback):
        if callback.__self__._probe.__module__ != ws.__name__:
            return timers.after(seconds, callback)  # conns of other tests may still be closing
        self.waiting.append((seconds, callback))
        return SimpleNamespace(cancel=lambda: None)

    def tick(self):
        waiting, self.waiting = self.waiting, []
        for _, callback in waiting:
            callback()
        gevent.idle()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(keepalive, "timers", SimpleNamespace(after=made.after))
    return made


def pinging(metadata, clock):
    serving, dialing = layers({}, metadata)
    left, right = socket_pair()
    accepting = gevent.spawn(serving.accept, right)
    dialing.connect(left)
    accepting.get(timeout=5)
    return left, right, Keeper(left), Keeper(right)


@pytest.mark.effect("dialer:ws", "ws.keepalive", "ttl")
def test_answered_pings_keep_a_conn(clock):
    left, right, keeper, other = pinging({"keepalive": True, "ttl": "10s"}, clock)
    left.endpoint.start()
    right.endpoint.start()
    assert [seconds for seconds, _ in clock.waiting] == [10.0]
    for _ in range(6):
        clock.tick()
        gevent.idle()
    assert keeper.error is None
    assert left.codecs[0].pongs >= 4
    assert bytes(other.data_seen) == b""
    left.close(True)
    clock.tick()
    assert clock.waiting == []  # a closed conn is forgotten
    right.close(True)


def test_without_a_pong_the_conn_fails(clock):
    left, right, keeper, _ = pinging({"ws.keepalive": True}, clock)
    left.endpoint.start()
    assert [seconds for seconds, _ in clock.waiting] == [15.0]
    clock.tick()
    assert keeper.error is None
    clock.tick()
    assert isinstance(keeper.error, TimeoutError)
    assert clock.waiting == []
    left.close(True)
    right.close(True)


def test_no_pings_unless_asked_for(clock):
    left, right, _, _ = pinging({"ttl": "1s"}, clock)
    assert clock.waiting == []
    left.close(True)
    right.close(True)
