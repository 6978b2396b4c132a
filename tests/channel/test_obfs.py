"""The ohttp and otls layers on real conns: when what is held leaves, options, and refusals."""

import gevent
import pytest

from gostpy.channel import ohttp, otls
from gostpy.channel.stacks import DIALERS
from gostpy.errors import HandshakeFailed, ProtocolError, Truncated
from gostpy.interfaces import Context
from gostpy.options import parse
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair

MODULES = {"ohttp": ohttp, "otls": otls}


def layers(name, listen=None, dial=None):
    module = MODULES[name]
    return (
        module.Layer(
            parse(module.ListenOptions, listen),
            Context("127.0.0.1:80", SilentLog(), listening=True),
        ),
        module.Layer(parse(module.DialOptions, dial), Context("node.test:80", SilentLog())),
    )


@pytest.fixture
def pair():
    made = socket_pair()
    yield made
    for conn in made:
        conn.close(True)


def seen(pair, name, dial=None):
    """What a dialer sends with its first data."""
    left, right = pair
    layers(name, dial=dial)[1].connect(left)
    left.sendall(b"data")
    return right.recv()


@pytest.mark.parametrize("name", MODULES)
def test_both_sides(pair, name):
    left, right = pair
    serving, dialing = layers(name)
    dialing.connect(left)
    accepting = gevent.spawn(serving.accept, right)
    left.sendall(b"first")
    accepting.get(timeout=5)
    assert right.read_exact(5) == b"first"
    for data in (b"short", bytes(range(256)) * 800):
        for sender, receiver in ((right, left), (left, right)):
            sending = gevent.spawn(sender.sendall, data)
            assert receiver.read_exact(len(data)) == data
            sending.get(timeout=5)
    left.shut()
    assert right.recv() == b""
    right.sendall(b"after the end of the other side")
    assert left.recv() == b"after the end of the other side"


@pytest.mark.parametrize("name", MODULES)
def test_server_speaks_first(pair, name):
    """A reader sends the fake hello that nobody else would send."""
    left, right = pair
    serving, dialing = layers(name)
    dialing.connect(left)
    reading = gevent.spawn(left.recv)
    serving.accept(right)
    right.sendall(b"banner")
    assert reading.get(timeout=5) == b"banner"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_sent_before_the_first_data(pair, name):
    left, right = pair
    layers(name)[1].connect(left)
    left.shut()
    assert len(right.recv()) > 100
    assert right.recv() == b""


def test_answer_rides_on_data(pair):
    """The 101 waits when data came along, and leaves at once when none did."""
    left, right = pair
    serving, _ = layers("ohttp")
    head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n"
    left.sendall(head + b"first")
    serving.accept(right)
    assert right.recv() == b"first"
    right.sendall(b"answer")
    assert left.recv().endswith(b"\r\n\r\nanswer")


@pytest.mark.effect("dialer:ohttp", "obfs.host", "obfs.path", "obfs.header")
@pytest.mark.parametrize("prefix", ["", "obfs."])
def test_http_dial_options(pair, prefix):
    options = {f"{prefix}host": "cdn.test", f"{prefix}path": "/a b", f"{prefix}header": {"x": "1"}}
    wire = seen(pair, "ohttp", options)
    assert wire.startswith(b"GET /a%20b HTTP/1.1\r\nHost: cdn.test\r\n")
    assert b"\r\nX: 1\r\n" in wire


def test_http_defaults(pair):
    assert seen(pair, "ohttp").startswith(b"GET / HTTP/1.1\r\nHost: node.test:80\r\n")


@pytest.mark.effect("listener:ohttp", "header")
def test_http_listen_header(pair):
    left, right = pair
    left.sendall(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    layers("ohttp", {"header": {"server": "nginx"}})[0].accept(right)
    assert b"\r\nServer: nginx\r\n" in left.recv()


@pytest.mark.effect("dialer:otls", "host")
def test_tls_host(pair):
    assert b"\x00\x08cdn.test" in seen(pair, "otls", {"host": "cdn.test"})


def test_tls_default_host(pair):
    assert b"\x00\x0cnode.test:80" in seen(pair, "otls")


def test_ohttps_is_ohttp():
    assert DIALERS["ohttps"] == DIALERS["ohttp"]


@pytest.mark.parametrize(
    ("name", "wire", "error", "answer"),
    [
        pytest.param("ohttp", b"POST / HTTP/1.1\r\n\r\n", HandshakeFailed, b"400", id="post"),
        pytest.param("ohttp", b"GET / HTTP/1.1\r\n\r\n", HandshakeFailed, b"400", id="no upgrade"),
        pytest.param("ohttp", b"\x05\x01\x00\r\n\r\n", ProtocolError, b"400", id="not http"),
        pytest.param("ohttp", b"", HandshakeFailed, b"", id="nothing"),
        pytest.param("ohttp", b"GET / HT", Truncated, b"", id="cut"),
        pytest.param("ohttp", b"GET /" + b"a" * 70_000, ProtocolError, b"", id="endless head"),
        pytest.param("otls", b"GET / HTTP/1.1\r\n\r\n", ProtocolError, b"", id="tls of http"),
        pytest.param("otls", b"\x16\x03\x01\x00\x50abc", Truncated, b"", id="tls cut"),
    ],
)
def test_refused(pair, name, wire, error, answer):
    left, right = pair
    sending = gevent.spawn(left.sendall, wire)
    sending.join(0.05)
    left.shut()
    with pytest.raises(error):
        layers(name)[0].accept(right)
    right.close()
    sending.join(5)
    if answer:
        assert answer in left.recv()
