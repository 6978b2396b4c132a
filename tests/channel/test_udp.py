"""The udp carrier behind a listener: options, sessions as conns, guards."""

import contextlib
import dataclasses

import pytest

from gostpy.channel.listener import StackListener
from gostpy.channel.udp import Carrier, DialOptions, ListenOptions
from gostpy.errors import ConfigError, ConnectionClosed, Unsupported
from gostpy.interfaces import Context
from gostpy.net.packet import dial_udp
from gostpy.options import parse
from tests.channel.fakes import FakeGuards, SilentLog

pytestmark = pytest.mark.timeout(10)


@pytest.mark.parametrize(
    ("metadata", "field", "value"),
    [
        pytest.param({}, "read_buffer_size", 4096, id="default buffer"),
        pytest.param({"udp.bufferSize": 100}, "read_buffer_size", 100, id="alias"),
        pytest.param({"READQUEUESIZE": "7"}, "read_queue_size", 7, id="any case"),
        pytest.param({"recvQueueSize": 8}, "read_queue_size", 8, id="3.3 spelling"),
        pytest.param({"ttl": -1}, "ttl", 5.0, id="negative is the default"),
        pytest.param({"keepalive.ttl": "1m"}, "ttl", 60.0, id="ttl alias"),
        pytest.param({"backlog": 0}, "backlog", 128, id="zero is the default"),
        pytest.param({"keepalive": True}, "keepalive", True, id="keepalive"),
        pytest.param({"stateless": "true"}, "stateless", True, id="stateless"),
    ],
)
def test_options(metadata, field, value):
    problems = []
    assert getattr(parse(ListenOptions, metadata, problems=problems), field) == value
    assert not problems


def test_dialing_has_no_options():
    assert not dataclasses.fields(DialOptions)


class Echo:
    """Listens, and answers every datagram of every session."""

    def __init__(self, guards=None, **options):
        context = Context(address="127.0.0.1:0", log=SilentLog(), listening=True)
        carrier = Carrier(ListenOptions(**options), context)
        self.guards = guards or FakeGuards()
        self.listener = StackListener(carrier, (), None, self.guards, context)
        self.served = []
        self.listener.listen()
        self.listener.start(self._serve)
        host, port = self.listener.address[:2]
        self.address = f"{host}:{port}"

    def _serve(self, conn):
        self.served.append(conn)
        with contextlib.suppress(ConnectionClosed):
            while True:
                data, _ = conn.recv_from()
                conn.send_to(data.upper())


@pytest.fixture
def echo(request):
    made = Echo(**getattr(request, "param", {}))
    yield made
    made.listener.close()


@pytest.fixture
def client(echo):
    made = dial_udp(echo.address)
    made.settimeout(5)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("echo", "sessions"),
    [
        pytest.param({"keepalive": True}, 1, id="keepalive"),
        pytest.param({"keepalive": False}, 3, id="a session per reply"),
        pytest.param({"keepalive": True, "stateless": True}, 3, id="stateless"),
    ],
    indirect=["echo"],
)
def test_sessions(echo, client, sessions):
    for text in (b"one", b"two", b"three"):
        client.send_to(text)
        assert client.recv_from()[0] == text.upper()
    assert len(echo.served) == sessions
    assert echo.served[0].info.peer[1] == client.info.local[1]


def test_refused_by_the_guards(client, echo):
    echo.guards.admits = False
    client.send_to(b"x")
    client.settimeout(0.02)
    with pytest.raises(TimeoutError):
        client.recv_from()
    assert not echo.served


def test_closing_ends_sessions():
    made = Echo(keepalive=True)
    client = dial_udp(made.address)
    client.send_to(b"x")
    client.recv_from()
    made.listener.close()
    assert made.served[0].closed
    client.close()


def test_bad_address():
    context = Context(address="127.0.0.1:http", log=SilentLog(), listening=True)
    with pytest.raises(ConfigError, match="port"):
        Carrier(ListenOptions(), context).listen(print)


@pytest.mark.parametrize("method", ["recv", "read_exact", "peek", "push", "sendall"])
def test_a_session_is_no_byte_stream(method):
    """A handler that needs one is told so, instead of failing inside."""
    conn = dial_udp("127.0.0.1:9")
    with pytest.raises(Unsupported, match="byte stream"):
        getattr(conn, method)(1)
    conn.close()
