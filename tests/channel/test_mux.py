"""mtcp over real sockets: listener and dialer, sessions shared and replaced."""

import pytest

from gostpy.channel import mux, tcp
from gostpy.channel.dialer import StackDialer
from gostpy.channel.listener import StackListener
from gostpy.channel.stacks import DIALERS, LISTENERS, part_options
from gostpy.errors import ConfigError, ConnectionClosed, DialFailed
from gostpy.interfaces import Context
from gostpy.net.dial import dial_tcp
from gostpy.options import parse
from gostpy.stream.session import MuxSession
from tests.channel.fakes import FakeGuards, SilentLog

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def log():
    return SilentLog()


def listener(log, deliver, address="127.0.0.1:0", **options):
    context = Context(address, log, listening=True, service="s1")
    made = StackListener(
        tcp.Carrier(tcp.ListenOptions(), context),
        (),
        mux.Mux(mux.ListenOptions(**options), context),
        FakeGuards(),
        context,
    )
    made.listen()
    made.start(deliver)
    return made


class Node:
    """A dialer whose carrier connections can be counted and cut."""

    def __init__(self, address, log, **options):
        context = Context(address, log, node="n1")
        carrier = tcp.Carrier(tcp.DialOptions(), context)
        self.dialer = StackDialer(
            carrier, (), mux.Mux(mux.DialOptions(**options), context), context
        )
        self.carriers = []

    def open(self, network, address):
        self.carriers.append(dial_tcp(address))
        return self.carriers[-1]

    def dial(self, beneath=()):
        return self.dialer.dial(self.open, beneath)


def echo(conn):
    try:
        while data := conn.recv():
            conn.sendall(data)
    except ConnectionClosed:
        pass
    conn.close()


def exchange(conn, data=b"hello"):
    conn.sendall(data)
    assert conn.read_exact(len(data)) == data


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"mux_version": 1}, id="smux1"),
        pytest.param({"mux_version": 2}, id="smux2"),
        pytest.param({"mux_type": "yamux"}, id="yamux"),
    ],
)
def test_streams_share_a_connection(log, options):
    bound = listener(log, echo, **options)
    node = Node(f"127.0.0.1:{bound.address[1]}", log, **options)
    conns = [node.dial() for _ in range(10)]
    for conn in conns:
        exchange(conn)
    assert len(node.carriers) == 1
    exchange(node.dial(beneath=("another way",)))
    assert len(node.carriers) == 2
    node.dialer.close()
    bound.close()


def test_a_lost_connection_is_replaced(log):
    bound = listener(log, echo)
    node = Node(f"127.0.0.1:{bound.address[1]}", log)
    exchange(node.dial())
    session = node.carriers[0].sink
    assert isinstance(session, MuxSession)
    session.fail(OSError("cable cut"))
    exchange(node.dial())
    assert len(node.carriers) == 2
    told = [message for level, message in log.messages if level in ("warn", "info")]
    assert told == ["node n1 is down: cable cut", "node n1 is back"]
    node.dialer.close()
    bound.close()


def test_versions_that_differ_do_not_go_together(log):
    bound = listener(log, echo, mux_version=1)
    node = Node(f"127.0.0.1:{bound.address[1]}", log, mux_version=2)
    conn = node.dial()
    conn.write(b"x")
    with pytest.raises(OSError, match="session was closed"):
        conn.recv()
    assert any(level == "warn" and "version" in text for level, text in log.messages)
    bound.close()
    node.dialer.close()


def test_nobody_listens(log):
    bound = listener(log, echo)
    address = f"127.0.0.1:{bound.address[1]}"
    bound.close()
    with pytest.raises(DialFailed):
        Node(address, log).dial()


def test_options_that_no_session_can_have_are_told_at_once(log):
    with pytest.raises(ConfigError):
        mux.Mux(mux.DialOptions(mux_version=9), Context("x:1", log))


@pytest.mark.parametrize(
    ("rows", "listening"), [(LISTENERS, True), (DIALERS, False)], ids=["listeners", "dialers"]
)
def test_version_by_transport(rows, listening):
    options = part_options("smux", listening)
    versions = {
        name: parse(options, {}, defaults=row.defaults).mux_version
        for name, row in rows.items()
        if row.mux == "smux"
    }
    assert versions["mtcp"] == 2
    assert {versions[name] for name in ("mtls", "mws", "mwss")} == {1}


def test_option_keys():
    made = parse(
        mux.ListenOptions,
        {
            "mux.type": "yamux",
            "mux.version": 2,
            "mux.keepaliveInterval": "5s",
            "mux.keepaliveDisabled": True,
            "mux.keepaliveTimeout": 20,
            "mux.maxFrameSize": 1000,
            "mux.maxReceiveBuffer": 2000,
            "mux.maxStreamBuffer": 1500,
            "mux.maxStreamWindow": 300000,
            "backlog": 5,
        },
    )
    assert made == mux.ListenOptions("yamux", 2, 5.0, True, 20.0, 1000, 2000, 1500, 300000, 5)
