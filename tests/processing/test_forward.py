"""Port forwarding handlers, by the conns that they get and the requests that they make."""

import gevent
import pytest
from gevent.event import Event

from gostpy.errors import DialFailed, LimitExceeded
from gostpy.interfaces import Context, Request
from gostpy.net.conn import ConnInfo
from gostpy.net.packet import StreamPackets, dial_udp, listen_udp
from gostpy.net.sessions import Sessions
from gostpy.options import parse
from gostpy.processing import forward, remote, unix
from gostpy.processing.context import HandlerContext
from gostpy.route.hop import Hop
from gostpy.route.node import Node
from gostpy.route.selector import Selector
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair

pytestmark = pytest.mark.timeout(10)


class FakeRouter:
    """Gives one conn, or fails."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    def dial(self, request):
        self.requests.append((request.network, request.address))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def hop_of(*addresses, network="tcp"):
    nodes = [Node(f"target-{n}", a, network=network) for n, a in enumerate(addresses)]
    return Hop("targets", nodes, Selector())


def handler_of(router, hop, cls=forward.Handler, options=forward.HandlerOptions, **metadata):
    context = HandlerContext("service", SilentLog(), router, hop=hop)
    return cls(parse(options, metadata), context)


@pytest.fixture
def client():
    """Our end and the far end of a client's conn."""
    near, far = socket_pair()
    near.info = ConnInfo(peer=("192.0.2.1", 1000), local=("192.0.2.2", 80))
    yield near, far
    near.close(True)
    far.close(True)


@pytest.fixture
def target():
    near, far = socket_pair()
    yield near, far
    near.close(True)
    far.close(True)


@pytest.mark.parametrize(
    ("address", "network", "asked"),
    [
        pytest.param("10.0.0.1:80", "tcp", ("tcp", "10.0.0.1:80"), id="as it is"),
        pytest.param("example.com", "tcp", ("tcp", "example.com:0"), id="no port"),
        pytest.param("[2001:db8::1]:80", "tcp", ("tcp", "[2001:db8::1]:80"), id="v6"),
        pytest.param("[2001:db8::1]", "tcp", ("tcp", "[2001:db8::1]:0"), id="v6 without port"),
        pytest.param("/run/app.sock", "unix", ("unix", "/run/app.sock"), id="unix"),
    ],
)
def test_target(client, target, address, network, asked):
    router = FakeRouter(target[0])
    handler_of(router, hop_of(address, network=network)).handle(client[0])
    assert router.requests == [asked]
    client[1].sendall(b"ping")
    assert target[1].recv() == b"ping"
    target[1].sendall(b"pong")
    target[1].shutdown()
    assert client[1].recv() == b"pong"
    assert client[1].recv() == b""


def test_relay_is_logged_once(client, target):
    handler = handler_of(FakeRouter(target[0]), hop_of("10.0.0.1:80"))
    handler.handle(client[0])
    client[1].close()
    assert target[1].recv() == b""
    target[1].close()
    while not handler.context.log.messages:
        gevent.sleep(0.001)
    assert handler.context.log.messages == [("info", "192.0.2.1:1000 >-< 10.0.0.1:80")]


def test_failure_marks_the_node_and_success_clears_it(client, target):
    hop = hop_of("10.0.0.1:80")
    router = FakeRouter(DialFailed("refused"))
    handler = handler_of(router, hop)
    with pytest.raises(DialFailed, match="refused"):
        handler.handle(client[0])
    assert hop.nodes[0].marker.fails == 1
    assert len(router.requests) == 1  # nothing is tried again within a conn
    router.answer = target[0]
    handler.handle(client[0])
    assert hop.nodes[0].marker.fails == 0


@pytest.mark.parametrize(
    ("hop", "message"),
    [
        pytest.param(Hop("empty", ()), "no nodes", id="no nodes"),
        pytest.param(
            Hop("picky", [Node("t", "10.0.0.1:1", matches=lambda _: False)]),
            "no target",
            id="none matches",
        ),
    ],
)
def test_no_target(client, hop, message):
    router = FakeRouter(None)
    with pytest.raises(DialFailed, match=message):
        handler_of(router, hop).handle(client[0])
    assert not router.requests


def test_without_a_forwarder_the_far_end_decides(client):
    router = FakeRouter(DialFailed("asked"))
    with pytest.raises(DialFailed, match="asked"):
        handler_of(router, None).handle(client[0])
    assert router.requests == [("tcp", ":0")]


def test_request_rate(client):
    handler = handler_of(FakeRouter(None), hop_of("10.0.0.1:80"))
    handler.context.admit_request = lambda address: address != "192.0.2.1"
    with pytest.raises(LimitExceeded):
        handler.handle(client[0])


@pytest.mark.parametrize(
    ("version", "header"),
    [
        pytest.param(1, b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n", id="v1"),
        pytest.param(
            2,
            bytes.fromhex("0d0a0d0a000d0a515549540a 2111000c c0000201 c0000202 03e8 0050"),
            id="v2",
        ),
    ],
)
def test_proxy_protocol(client, target, version, header):
    handler_of(FakeRouter(target[0]), hop_of("t:1"), proxyProtocol=version).handle(client[0])
    assert target[1].read_exact(len(header)) == header


@pytest.mark.parametrize(
    ("version", "header"),
    [
        pytest.param(1, b"PROXY UNKNOWN\r\n", id="v1"),
        pytest.param(
            2,
            bytes.fromhex("0d0a0d0a000d0a515549540a 2112000c c0000201 c0000202 03e8 0050"),
            id="v2",
        ),
    ],
)
def test_proxy_protocol_before_datagrams(version, header):
    target = listen_udp("127.0.0.1:0")
    with_header = dial_udp(f"127.0.0.1:{target.info.local[1]}")
    session = dial_udp("127.0.0.1:1")
    session.info.peer, session.info.local = ("192.0.2.1", 1000), ("192.0.2.2", 80)
    handler_of(FakeRouter(with_header), hop_of("t:1"), proxyProtocol=version).handle(session)
    assert target.recv_from()[0] == header
    session.close()
    target.close()


def test_idle_timeout(client, target):
    handler_of(FakeRouter(target[0]), hop_of("t:1"), idleTimeout="20ms").handle(client[0])
    assert client[1].recv() == b""


# -- datagrams -------------------------------------------------------------------------------------


@pytest.fixture
def datagrams():
    """(client, handle): datagrams of the client are handled as sessions by what ``handle`` gets."""
    inner = listen_udp("127.0.0.1:0")
    client = dial_udp(f"127.0.0.1:{inner.info.local[1]}")
    client.settimeout(5)
    started = []

    def handle(handler):
        made = Sessions(inner, lambda session: gevent.spawn(handler.handle, session))
        made.start()
        started.append(made)

    yield client, handle
    client.close()
    for sessions in started:
        sessions.close()


def test_datagrams_to_datagrams(datagrams):
    client, handle = datagrams
    target = listen_udp("127.0.0.1:0")
    router = FakeRouter(dial_udp(f"127.0.0.1:{target.info.local[1]}"))
    handle(handler_of(router, hop_of("t:53")))
    client.send_to(b"ask")
    data, sender = target.recv_from()
    assert data == b"ask"
    target.send_to(b"answer", sender)
    assert client.recv_from()[0] == b"answer"
    assert router.requests == [("udp", "t:53")]
    target.close()


def test_datagrams_to_a_stream(datagrams, target):
    client, handle = datagrams
    handle(handler_of(FakeRouter(target[0]), hop_of("t:53")))
    client.send_to(b"ask")
    assert target[1].recv() == b"ask"
    target[1].sendall(b"answer")
    assert client.recv_from()[0] == b"answer"


def test_stream_to_datagrams(client):
    target = listen_udp("127.0.0.1:0")
    router = FakeRouter(dial_udp(f"127.0.0.1:{target.info.local[1]}"))
    served = gevent.spawn(handler_of(router, hop_of("t:53", network="udp")).handle, client[0])
    client[1].sendall(b"ask")
    data, sender = target.recv_from()
    target.send_to(data + b"ed", sender)
    assert client[1].recv() == b"asked"
    assert router.requests == [("udp", "t:53")]
    client[1].close()
    served.join(5)
    assert served.successful()
    target.close()


@pytest.mark.parametrize("answers", [True, False])
def test_stateless(datagrams, answers):
    client, handle = datagrams
    target = listen_udp("127.0.0.1:0")
    upstream = dial_udp(f"127.0.0.1:{target.info.local[1]}")
    handler = handler_of(FakeRouter(upstream), hop_of("t:53"), stateless=True, readTimeout="20ms")
    over = Event()

    def serve(session):
        try:
            handler.handle(session)
        except TimeoutError:
            over.set()

    handle(type("Serving", (), {"handle": staticmethod(serve)}))
    client.send_to(b"ask")
    _, sender = target.recv_from()
    if answers:
        target.send_to(b"answer", sender)
        assert client.recv_from()[0] == b"answer"
    else:
        assert over.wait(5)
    assert upstream.closed
    target.close()


# -- remote, unix, connectors ----------------------------------------------------------------------


def remote_of(router, hop):
    return handler_of(router, hop, remote.Handler, remote.HandlerOptions)


@pytest.mark.parametrize(
    ("hop", "host", "asked"),
    [
        pytest.param(hop_of("10.0.0.1:80"), "", "10.0.0.1:80", id="forwarder"),
        pytest.param(hop_of("10.0.0.1:80"), "a.example:443", "10.0.0.1:80", id="forwarder first"),
        pytest.param(hop_of("plain"), "", "plain", id="as it is"),
        pytest.param(None, "a.example:443", "a.example:443", id="asked for by the visitor"),
    ],
)
def test_remote_target(client, target, hop, host, asked):
    client[0].info.host = host
    router = FakeRouter(target[0])
    remote_of(router, hop).handle(client[0])
    assert router.requests == [("tcp", asked)]


def test_remote_without_target(client):
    with pytest.raises(DialFailed, match="neither"):
        remote_of(FakeRouter(None), None).handle(client[0])


@pytest.mark.parametrize(
    ("hop", "asked"),
    [
        pytest.param(hop_of("/run/b"), ("unix", "/run/b"), id="forwarder"),
        pytest.param(None, ("tcp", "@"), id="chain decides"),
    ],
)
def test_unix(client, target, hop, asked):
    router = FakeRouter(target[0])
    handler_of(router, hop, unix.Handler, unix.HandlerOptions).handle(client[0])
    assert router.requests == [asked]
    client[1].sendall(b"x")
    assert target[1].recv() == b"x"


def test_unix_marks_failures(client):
    hop = hop_of("/run/b")
    handler = handler_of(FakeRouter(DialFailed("no")), hop, unix.Handler, unix.HandlerOptions)
    with pytest.raises(DialFailed):
        handler.handle(client[0])
    assert hop.nodes[0].marker.fails == 1


def test_connector_passes_the_conn_through(target):
    context = Context(address="a:1", log=SilentLog())
    connector = forward.Connector(forward.ConnectorOptions(), context)
    conn = connector.handshake(target[0])
    assert connector.connect(conn, Request("tcp", "x:1")) is target[0]
    packets = connector.connect(conn, Request("udp", "x:1"))
    assert isinstance(packets, StreamPackets) and packets.conn is target[0]
