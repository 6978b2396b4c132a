"""The tls layer: options, and both sides through listener and dialer."""

import pytest
from gevent.event import AsyncResult

from gostpy.channel import tls
from gostpy.channel.dialer import StackDialer
from gostpy.channel.listener import StackListener
from gostpy.channel.stacks import DIALERS, LISTENERS, part_options
from gostpy.channel.tcp import Carrier, DialOptions, ListenOptions
from gostpy.errors import ConfigError, DialFailed
from gostpy.interfaces import Context, TLSSettings
from gostpy.net.conn import format_address
from gostpy.net.dial import dial_tcp
from gostpy.options import options_of, parse
from tests.channel.fakes import FakeGuards, SilentLog
from tests.net.pairs import socket_pair

# every key of gost's tables; the carrier owns what is not the layer's
KEYS = {
    ("tls", True): {
        "mptcp",
        "keepalive",
        "keepalive.idle",
        "keepalive.interval",
        "keepalive.count",
    },
    ("tls", False): {
        "handshaketimeout",
        "keepalive",
        "keepalive.idle",
        "keepalive.interval",
        "keepalive.count",
    },
}


@pytest.mark.parametrize(("name", "listening"), KEYS, ids=["listener", "dialer"])
def test_every_key_is_known(name, listening):
    row = (LISTENERS if listening else DIALERS)[name]
    known = set()
    for part in row.parts:
        for field, option in options_of(part_options(part, listening)).items():
            known.update(key.lower() for key in row.keys.get(field, option.keys))
    assert KEYS[name, listening] <= known


@pytest.fixture
def listening():
    """Makes a listener of the layers; gives its address and the conns that it delivers."""
    made = []

    def make(options=None, **settings):
        context = Context("127.0.0.1:0", SilentLog(), listening=True, tls=TLSSettings(**settings))
        layer = tls.Layer(options or tls.ListenOptions(), context)
        listener = StackListener(
            Carrier(ListenOptions(), context), [layer], None, FakeGuards(), context
        )
        delivered = AsyncResult()
        listener.listen()
        listener.start(delivered.set)
        made.append(listener)
        return format_address(listener.address), delivered

    yield make
    for listener in made:
        listener.close()


def dialer(address, metadata=None, **settings):
    context = Context(address, SilentLog(), tls=TLSSettings(**settings))
    layer = tls.Layer(parse(tls.DialOptions, metadata), context)
    return StackDialer(Carrier(DialOptions(), context), [layer], None, context)


def direct(network, address):
    return dial_tcp(address)


def test_both_sides(listening):
    address, delivered = listening()
    client = dialer(address, server_name="name.test").dial(direct, ())
    client.sendall(b"hello")
    server = delivered.get(timeout=5)
    assert server.read_exact(5) == b"hello"
    assert server.info.tls.server_name == "name.test"
    client.close(True)
    server.close(True)


def test_secure_against_the_generated_certificate(listening):
    address, _ = listening()
    with pytest.raises(DialFailed, match="certificate verify failed"):
        dialer(address, secure=True).dial(direct, ())


def test_the_name_is_the_nodes_host():
    layer = tls.Layer(tls.DialOptions(), Context("host.test:443", SilentLog()))
    assert layer._name == "host.test"


@pytest.mark.effect("dialer:tls", "handshakeTimeout")
def test_a_silent_server_runs_into_the_deadline():
    left, right = socket_pair()
    with pytest.raises(DialFailed, match="timed out"):
        dialer("host.test:443", {"handshakeTimeout": "50ms"}).dial(lambda *_: left, ())
    right.close(True)


def test_wrong_files_are_found_when_the_layer_is_made():
    context = Context(
        "x:1", SilentLog(), tls=TLSSettings(cert_file="/nowhere", key_file="/nowhere")
    )
    with pytest.raises(ConfigError, match="/nowhere"):
        tls.Layer(tls.DialOptions(), context)
