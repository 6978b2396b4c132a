"""gRPC tunnels: what is asked and answered, options, keep-alive of both sides, and bad calls."""

import gevent
import pytest

from gostpy.channel import grpc, grpctls
from gostpy.errors import ConfigError, ConnectionClosed, GostError
from gostpy.interfaces import Context
from gostpy.net.timers import timeout
from gostpy.options import parse
from gostpy.stream.grpc import ServerSession
from gostpy.stream.http2 import Session, StreamReset
from gostpy.wire.grpc import MESSAGE_LIMIT
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair

ASK = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/GostTunel/Tunnel"),
    (":authority", "a"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def mux(listening, options=None, address="node.test:8080"):
    cls = grpc.ListenOptions if listening else grpc.DialOptions
    return grpc.Mux(parse(cls, options), Context(address, SilentLog(), listening=listening))


class Both:
    """A session of each side."""

    def __init__(self, listen=None, dial=None):
        left, right = socket_pair()
        self.conns = []
        self.served = mux(True, listen).serve(right, self.conns.append)
        self.session = mux(False, dial).connect(left)

    def open(self):
        """(our conn, the one that was delivered)."""
        conn = self.session.open()
        until(lambda: self.conns)
        return conn, self.conns.pop()

    def close(self):
        self.session.close()


class Played:
    """A server whose client is the test, with plain HTTP/2."""

    def __init__(self, listen=None):
        left, right = socket_pair()
        self.conns = []
        self.served = mux(True, listen).serve(right, self.conns.append)
        self.session = Session(left, True)
        self.session.start()

    def ask(self, **changed):
        fields = {**dict(ASK), **{key.replace("_", "-"): v for key, v in changed.items()}}
        return self.session.request(list(fields.items()))


def until(condition, seconds=5):
    with timeout(seconds):
        while not condition():
            gevent.sleep(0.001)


@pytest.fixture
def both():
    made = Both()
    yield made
    made.close()


@pytest.fixture
def played():
    made = Played()
    yield made
    made.session.close()


def test_both_ways(both):
    left, right = both.open()
    for data in (b"short", bytes(range(256)) * 10_000):
        for sender, receiver in ((left, right), (right, left)):
            sending = gevent.spawn(sender.sendall, data)
            assert receiver.read_exact(len(data)) == data
            sending.get(timeout=5)


def test_half_close_both_ways(both):
    left, right = both.open()
    left.shut()
    assert right.recv() == b""
    right.sendall(b"after the end of the other side")
    right.shut()
    assert left.recv() == b"after the end of the other side"
    assert left.recv() == b""
    assert dict(left.endpoint.trailers) == {"grpc-status": "0", "grpc-message": ""}


# -- what is asked ---------------------------------------------------------------------------------


def asked(options=None, address="node.test:8080"):
    """The request that a dialer makes."""
    left, right = socket_pair()
    seen = []
    Session(right, False, seen.append).start()
    session = mux(False, options, address).connect(left)
    session.open()
    until(lambda: seen)
    session.close()
    return seen[0].request


def test_request_is_that_of_gost():
    request = asked()
    assert (request.method, request.path, request.authority, request.scheme) == (
        "POST",
        "/GostTunel/Tunnel",
        "node.test",
        "http",
    )
    assert dict(request.headers) == {
        "content-type": "application/grpc",
        "user-agent": "grpc-go/1.67.1",
        "te": "trailers",
    }


@pytest.mark.effect("dialer:grpc", "grpc.authority", "grpc.path")
@pytest.mark.parametrize(
    ("options", "authority", "path"),
    [
        ({"host": "a.test"}, "a.test", "/GostTunel/Tunnel"),
        ({"grpc.host": "a.test:1"}, "a.test", "/GostTunel/Tunnel"),
        ({"grpc.authority": "a.test", "path": "/svc/run"}, "a.test", "/svc/run"),
        ({"grpc.path": "svc"}, "node.test", "/svc/Tunnel"),
    ],
)
def test_dial_options(options, authority, path):
    request = asked(options)
    assert (request.authority, request.path) == (authority, path)


def test_names_that_cannot_be_sent():
    with pytest.raises(ConfigError):
        mux(False, {"host": "a\r\nb"})
    with pytest.raises(ConfigError):
        mux(True, {"path": "/é/b"})


# -- what is answered ------------------------------------------------------------------------------


@pytest.mark.effect("listener:grpc", "grpc.path")
def test_path_of_a_listener():
    played = Played({"path": "/svc/run"})
    refused = played.ask()
    with timeout(5):
        answer = refused.response()
        assert (answer.status, answer.get("grpc-status")) == (200, "12")
        assert "/GostTunel/Tunnel" in answer.get("grpc-message")
        taken = played.session.request([(k, "/svc/run" if k == ":path" else v) for k, v in ASK])
        assert taken.response().get("grpc-status") == ""
    assert len(played.conns) == 1
    played.session.close()


@pytest.mark.parametrize(
    ("field", "value", "status"), [(":method", "GET", 405), ("content-type", "text/html", 415)]
)
def test_not_grpc(played, field, value, status):
    with timeout(5):
        stream = played.session.request([(k, value if k == field else v) for k, v in ASK])
        assert stream.response().status == status
    assert not played.conns


BAD = [
    pytest.param(b"\x01\x00\x00\x00\x01x", "12", id="compressed"),
    pytest.param(b"\x00" + (MESSAGE_LIMIT + 1).to_bytes(4, "big"), "8", id="too large"),
    pytest.param(b"\x00\x00\x00\x00\x03\x0b\x01x", "13", id="not protobuf"),
]


@pytest.mark.parametrize(("wire", "status"), BAD)
def test_bad_messages(played, wire, status):
    """The call ends with its status; other calls go on."""
    with timeout(5):
        good, bad = played.ask(), played.ask()
        bad.response()
        until(lambda: len(played.conns) == 2)
        bad.conn.sendall(wire)
        with pytest.raises(GostError):
            played.conns[1].recv()
        played.conns[1].close()
        assert bad.conn.recv() == b""
        assert dict(bad.trailers)["grpc-status"] == status
        good.conn.sendall(b"\x00\x00\x00\x00\x03\x0a\x01x")
        assert played.conns[0].recv() == b"x"


def answering(fields, status=200):
    """A dialer's conn whose call is answered so."""
    left, right = socket_pair()
    seen = []
    Session(right, False, seen.append).start()
    session = mux(False).connect(left)
    conn = session.open()
    until(lambda: seen)
    seen[0].respond(status, fields, end=True)
    return session, conn


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ([("content-type", "application/grpc"), ("grpc-status", "12")], 200, "status 12"),
        ([("content-type", "text/html")], 200, "text/html"),
        ([], 502, "502"),
    ],
)
def test_refused_call(fields, status, told):
    session, conn = answering(fields, status)
    with timeout(5), pytest.raises(ConnectionClosed, match=told):
        conn.recv()
    assert session.alive
    session.close()


def test_call_that_ends_at_once():
    session, conn = answering([("content-type", "application/grpc"), ("grpc-status", "0")])
    with timeout(5):
        assert conn.recv() == b""
    session.close()


def test_cancelled_call(played):
    """gost's client ends and resets its call."""
    stream = played.ask()
    with timeout(5):
        stream.response()
        stream.reset()
        with pytest.raises(ConnectionClosed) as told:
            played.conns[0].recv()
    assert isinstance(told.value.__cause__, StreamReset)


def test_source_told_by_a_proxy(played):
    played.ask(x_forwarded_for="192.0.2.7, 10.0.0.1").response()
    assert played.conns[0].info.source == ("192.0.2.7", 0)


# -- keep-alive ------------------------------------------------------------------------------------


def keep(session):
    keep = session._keep
    return keep and (keep.time, keep.timeout, keep.without_stream, keep.min_time, keep.idle)


@pytest.mark.effect(
    "dialer:grpc",
    "grpc.keepalive",
    "grpc.keepalive.time",
    "grpc.keepalive.timeout",
    "grpc.keepalive.permitWithoutStream",
)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"keepalive.time": "60s"}, None),
        ({"keepalive": True}, (30, 30, False, 0, 0)),
        ({"keepAlive": True, "keepalive.time": "1s"}, (10, 30, False, 0, 0)),
        (
            {
                "grpc.keepalive": True,
                "grpc.keepalive.time": "60s",
                "grpc.keepalive.timeout": "5s",
                "grpc.keepalive.permitWithoutStream": True,
            },
            (60, 5, True, 0, 0),
        ),
    ],
)
def test_keepalive_of_a_dialer(options, expected):
    left, _ = socket_pair()
    session = mux(False, options).connect(left)
    assert keep(session) == expected
    session.close()


@pytest.mark.effect(
    "listener:grpc",
    "grpc.keepalive",
    "grpc.keepalive.minTime",
    "grpc.keepalive.time",
    "grpc.keepalive.timeout",
    "grpc.keepalive.permitWithoutStream",
    "grpc.keepalive.maxConnectionIdle",
)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"keepalive.time": "60s"}, None),
        ({"keepalive": True}, (60, 30, False, 30, 0)),
        (
            {
                "keepalive": True,
                "keepalive.minTime": "1s",
                "keepalive.time": "2s",
                "keepalive.timeout": "3s",
                "keepalive.permitWithoutStream": True,
                "keepalive.maxConnectionIdle": "4s",
            },
            (2, 3, True, 1, 4),
        ),
    ],
)
def test_keepalive_of_a_listener(options, expected):
    _, right = socket_pair()
    session = mux(True, options).serve(right, lambda _: None)
    assert keep(session) == expected
    session.close()


FAST = {"keepalive": True, "keepalive.time": "10ms", "keepalive.timeout": "10ms"}


def test_silent_client_is_given_up():
    """A peer that answers nothing; one that does stays."""
    left, right = socket_pair()
    session = mux(True, FAST).serve(right, lambda _: None)
    until(lambda: not session.alive)
    assert "no answer to a ping" in str(session.error)
    left.close(True)
    both = Both(FAST)
    gevent.sleep(0.08)
    assert both.served.alive
    both.close()


@pytest.mark.parametrize("without", [False, True])
def test_dialer_pings_only_with_calls(monkeypatch, without):
    monkeypatch.setattr(grpc, "_LEAST_TIME", 0.0)
    left, right = socket_pair()
    session = mux(False, {**FAST, "keepalive.permitWithoutStream": without}).connect(left)
    if not without:
        gevent.sleep(0.05)
        assert session.alive
        session.open()
    until(lambda: not session.alive)
    assert "no answer to a ping" in str(session.error)
    right.close(True)


def pings(session, count, wait=0.0):
    for _ in range(count):
        session.ping()
        session.flush()
        gevent.sleep(wait)


@pytest.mark.parametrize(
    ("options", "call", "survives"),
    [
        ({"keepalive": True}, True, False),
        ({"keepalive": True, "keepalive.minTime": "1us"}, True, True),
        ({"keepalive": True, "keepalive.minTime": "1us"}, False, False),
        (
            {
                "keepalive": True,
                "keepalive.minTime": "1us",
                "keepalive.permitWithoutStream": True,
            },
            False,
            True,
        ),
        ({}, False, True),
    ],
    ids=["too often", "slowly", "without a call", "allowed without a call", "no keepalive"],
)
def test_too_many_pings(options, call, survives):
    played = Played(options)
    if call:
        with timeout(5):
            played.ask().response()
    pings(played.session, 6, 0.002)
    if survives:
        assert played.session.alive
        played.session.close()
    else:
        until(lambda: not played.served.alive)
        assert "too_many_pings" in str(played.served.error)
        until(lambda: played.session.exhausted)


def test_pings_that_follow_what_was_sent_are_no_fault():
    """A Go client measures the path so; its window updates may give back just what was sent."""
    played = Played({"keepalive": True, "keepalive.minTime": "1h"})
    served = played.served
    for _ in range(6):
        with timeout(5):
            played.ask().response()
        pings(played.session, 1, 0.002)
    served.room -= 100
    for _ in range(6):
        served.room -= 100
        served.credited(0, 100)
        pings(played.session, 1, 0.002)
    assert played.session.alive
    played.session.close()


def test_pings_between_data_are_fine():
    """grpc-go measures the path by pings while data comes."""
    played = Played({"keepalive": True})
    with timeout(5):
        stream = played.ask()
        stream.response()
        for _ in range(10):
            played.conns[0].sendall(b"x")
            assert stream.conn.recv()
            pings(played.session, 1)
    assert played.served.alive
    played.session.close()


def test_idle_connection_ends():
    played = Played({"keepalive": True, "keepalive.maxConnectionIdle": "40ms"})
    with timeout(5):
        stream = played.ask()
        stream.response()
        gevent.sleep(0.08)
        assert played.served.alive
        stream.reset()
    until(lambda: not played.served.alive)


# -- TLS or not ------------------------------------------------------------------------------------


@pytest.mark.effect("listener:grpc", "grpc.insecure")
@pytest.mark.effect("dialer:grpc", "grpc.insecure")
@pytest.mark.parametrize("key", ["grpc.insecure", "grpcInsecure", "insecure"])
@pytest.mark.parametrize("listening", [True, False])
def test_insecure(key, listening):
    cls = grpctls.ListenOptions if listening else grpctls.DialOptions
    context = Context("node.test:80", SilentLog(), listening=listening)
    assert grpctls.Layer(parse(cls, {}), context)._tls is not None
    assert grpctls.Layer(parse(cls, {key: True}), context)._tls is None


@pytest.mark.effect("dialer:grpc", "grpc.minConnectTimeout")
def test_connect_timeout():
    """The dialer takes it for the handshakes of a connection."""
    options = parse(grpctls.DialOptions, {"minConnectTimeout": "3s"})
    assert options.handshake_timeout == 3
    assert parse(grpctls.DialOptions, {}).handshake_timeout == 30


def test_server_sessions_are_told_of():
    log = SilentLog()
    left, right = socket_pair()
    made = grpc.Mux(grpc.ListenOptions(), Context("", log, listening=True))
    session = made.serve(right, lambda _: None)
    assert isinstance(session, ServerSession)
    left.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(40))
    until(lambda: any(level == "warn" for level, _ in log.messages))
