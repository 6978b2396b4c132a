"""The utls dialer: hellos as a browser sends them, over TLS that works like any other."""

import sys

import gevent
import pytest

from gostpy.channel import tls, utls
from gostpy.errors import ConfigError, HandshakeFailed, MissingExtra
from gostpy.interfaces import Context, TLSSettings
from gostpy.net.pipe import pipe
from gostpy.options import parse
from gostpy.stream.fingerprint import fingerprints
from gostpy.wire.tlshello import ClientHello, read_client_hello
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair
from tests.stream.pki import Authority

pytestmark = pytest.mark.timeout(20)

CHROME = {"fingerprint": "chrome"}


def layer(metadata=None, **settings):
    context = Context("server.test:443", SilentLog(), tls=TLSSettings(**settings))
    return utls.Layer(parse(utls.DialOptions, metadata or {}), context)


def hello(metadata) -> ClientHello:
    """What the dialer sends first."""
    ours, theirs = socket_pair()
    shaking = gevent.spawn(layer(metadata).connect, ours)
    found, _ = read_client_hello(theirs)
    shaking.kill()
    ours.close(True)
    theirs.close(True)
    return found


def grease(numbers) -> list[int]:
    """Values that browsers put in to keep servers tolerant (RFC 8701)."""
    return [number for number in numbers if number & 0x0F0F == 0x0A0A]


@pytest.mark.effect("dialer:utls", "fingerprint")
def test_a_browser_says_hello():
    found, plain = hello(CHROME), hello({})
    assert found.server_name == "server.test"
    assert found.alpn == ("h2", "http/1.1")
    assert grease(found.cipher_suites)
    assert grease(kind for kind, _ in found.extensions)
    assert not grease(plain.cipher_suites)
    assert not plain.alpn


def test_golang_is_none():
    assert not grease(hello({"fingerprint": "golang"}).cipher_suites)


@pytest.mark.parametrize("name", ["firefox", "safari", "randomized", "Chrome", "chrome:1", "?"])
def test_what_cannot_be_produced(name):
    with pytest.raises(ConfigError, match="chrome:stable") as told:
        layer({"fingerprint": name})
    assert repr(name) in str(told.value)


def test_every_name_can_be_had():
    for name in fingerprints():
        layer({"fingerprint": name})


def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "utls", None)
    with pytest.raises(MissingExtra, match=r"gostpy\[utls\]"):
        layer(CHROME)
    layer({})


@pytest.fixture
def shaken():
    """Conns of both sides after the handshake."""
    made = []

    def shake(client, **settings):
        ours, theirs = socket_pair()
        made.extend((ours, theirs))
        context = Context(":0", SilentLog(), listening=True, tls=TLSSettings(**settings))
        accepting = gevent.spawn(tls.Layer(tls.ListenOptions(), context).accept, theirs)
        try:
            client.connect(ours)
            ours.flush()
        finally:
            accepting.join(5)
        return ours, theirs

    yield shake
    for conn in made:
        conn.close(True)


@pytest.mark.parametrize("versions", [{}, {"max_version": "VersionTLS12"}], ids=["1.3", "1.2"])
def test_bytes_both_ways(shaken, versions):
    ours, theirs = shaken(layer(CHROME), **versions)
    assert ours.info.tls.version == ("TLSv1.2" if versions else "TLSv1.3")
    data = bytes(range(256)) * 4096
    for near, far in ((ours, theirs), (theirs, ours)):
        sending = gevent.spawn(near.sendall, data)
        assert far.read_exact(len(data)) == data
        sending.get(timeout=5)
    ours.shutdown()
    assert theirs.recv() == b""


def test_certificates_are_verified(shaken, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("server.test")
    good = layer(CHROME, secure=True, ca_file=authority.ca)
    shaken(good, cert_file=cert, key_file=key)
    wrong_cert, wrong_key = authority.issue("other.test")
    with pytest.raises(HandshakeFailed, match=r"^tls: hostname mismatch$"):
        shaken(good, cert_file=wrong_cert, key_file=wrong_key)
    with pytest.raises(HandshakeFailed):
        shaken(layer(CHROME, secure=True, ca_file=Authority(tmp_path, "no").ca))
    with pytest.raises(ConfigError, match="caFile"):
        layer(CHROME, ca_file=str(tmp_path / "none")).connect(socket_pair()[0])


def test_a_client_certificate(shaken, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("client.test")
    _, theirs = shaken(layer(CHROME, cert_file=cert, key_file=key), ca_file=authority.ca)
    assert "client.test" in theirs.info.tls.peer_subject


def test_relayed_by_callbacks(shaken):
    ours, theirs = shaken(layer(CHROME))
    inner, outer = socket_pair()
    pipe(inner, ours)
    data = bytes(range(256)) * 2048
    sending = gevent.spawn(outer.sendall, data)
    assert theirs.read_exact(len(data)) == data
    sending.get(timeout=5)
    answering = gevent.spawn(theirs.sendall, data)
    assert outer.read_exact(len(data)) == data
    answering.get(timeout=5)
    theirs.shutdown()
    assert outer.recv() == b""
    outer.close()


@pytest.mark.effect("dialer:utls", "handshakeTimeout")
def test_handshake_timeout():
    ours, theirs = socket_pair()
    with pytest.raises(TimeoutError):
        layer({**CHROME, "handshakeTimeout": "20ms"}).connect(ours)
    ours.close(True)
    theirs.close(True)


def test_garbage_in_place_of_a_server():
    ours, theirs = socket_pair()
    theirs.sendall(b"HTTP/1.0 400 no\r\n\r\n")
    with pytest.raises(HandshakeFailed):
        layer(CHROME).connect(ours)
    ours.close(True)
    theirs.close(True)
