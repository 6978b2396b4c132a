"""TLS over conns: handshakes of both sides, data, ends, verification, resumption, new files."""

import os
import subprocess
import sys

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import GostError, HandshakeFailed, ProtocolError
from gostpy.interfaces import TLSSettings
from gostpy.stream import tlscontext
from gostpy.stream.tls import ClientContext, ServerContext, accept_tls, connect_tls, host_of
from gostpy.wire.codec import Codec
from tests.channel.fakes import SilentLog
from tests.net.pairs import socket_pair
from tests.stream.peers import Keeper
from tests.stream.pki import Authority

NAME = "host.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue(NAME)


@pytest.fixture(scope="module")
def server(pair):
    return ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1]))


def shaken(server, client, name=NAME, under=None):
    """(client conn, server conn) after the handshake; both sides' errors are raised."""
    left, right = socket_pair()
    if under is not None:
        under(left, right)
    accepting = gevent.spawn(accept_tls, right, server)
    try:
        connect_tls(left, client, name)
        left.sendall(b"first")
        accepting.get(timeout=5)
    except BaseException:
        accepting.kill()
        left.close(True)
        right.close(True)
        raise
    assert right.recv() == b"first"
    return left, right


def finish(*conns):
    for conn in conns:
        conn.close(True)


def test_facts(server):
    left, right = shaken(server, ClientContext())
    assert right.info.tls.server_name == NAME
    assert left.info.tls.version == right.info.tls.version == "TLSv1.3"
    assert left.info.tls.cipher == right.info.tls.cipher
    assert left.info.tls.alpn == ""
    assert left.info.tls.peer_subject == f"CN={NAME}"
    assert right.info.tls.peer_subject == ""
    finish(left, right)


def test_data_both_ways_and_half_close(server):
    left, right = shaken(server, ClientContext())
    data = os.urandom(300_000)
    sending = gevent.spawn(right.sendall, data)
    assert left.read_exact(len(data)) == data
    sending.get(timeout=5)
    left.shut()
    assert right.recv() == b""
    right.sendall(b"still")
    assert left.recv() == b"still"
    right.shut()
    assert left.recv() == b""
    finish(left, right)


def test_large_writes_in_the_relay_phase(server):
    left, right = shaken(server, ClientContext())
    keeper = Keeper(right)
    right.endpoint.start()
    data = os.urandom(500_000)
    left.sendall(data)
    left.shut()
    with gevent.Timeout(5):
        while not keeper.ended and keeper.error is None:
            gevent.sleep(0)
    assert keeper.error is None
    assert bytes(keeper.data_seen) == data
    finish(left, right)


def test_application_data_in_the_last_flight_is_not_lost(server):
    """The client's Finished and its first data arrive in one packet."""
    left, right = socket_pair()
    accepting = gevent.spawn(accept_tls, right, server)
    codec = connect_tls(left, ClientContext(), NAME)
    assert codec.held
    left.sendall(b"with the Finished")
    accepting.get(timeout=5)
    assert right.recv() == b"with the Finished"
    finish(left, right)


def test_a_client_that_reads_first_does_not_hang(server):
    left, right = socket_pair()
    accepting = gevent.spawn(accept_tls, right, server)
    connect_tls(left, ClientContext(), NAME)
    reading = gevent.spawn(left.recv)
    accepting.get(timeout=5)
    right.sendall(b"welcome")
    assert reading.get(timeout=5) == b"welcome"
    finish(left, right)


VERSIONS = [
    pytest.param("VersionTLS10", "TLSv1", id="1.0"),
    pytest.param("VersionTLS11", "TLSv1.1", id="1.1"),
    pytest.param("versiontls12", "TLSv1.2", id="1.2"),
    pytest.param("VersionTLS13", "TLSv1.3", id="1.3"),
]


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_versions(name, version, pair):
    limits = {"min_version": name, "max_version": name}
    context = ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1], **limits))
    left, right = shaken(context, ClientContext(TLSSettings(**limits)))
    assert right.info.tls.version == version
    right.sendall(b"answer")
    assert left.recv() == b"answer"
    finish(left, right)


def test_too_old_a_client(server):
    old = TLSSettings(min_version="VersionTLS11", max_version="VersionTLS11")
    with pytest.raises(HandshakeFailed, match="protocol version"):
        shaken(server, ClientContext(old))


def test_suites(server):
    wanted = ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_UNKNOWN")
    settings = TLSSettings(max_version="VersionTLS12", cipher_suites=wanted)
    left, right = shaken(server, ClientContext(settings))
    assert right.info.tls.cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"
    finish(left, right)


def test_every_go_suite_is_known_or_gone():
    for name in tlscontext._SUITES:
        try:
            ClientContext(TLSSettings(cipher_suites=(name,))).current()
        except GostError:
            assert "RC4" in name or "3DES" in name


ALPN = [
    pytest.param(("h2", "http/1.1"), ("http/1.1",), "http/1.1", id="common"),
    pytest.param(("h2",), (), "", id="client without"),
    pytest.param((), ("h2",), "", id="server without"),
]


@pytest.mark.parametrize(("offered", "taken", "agreed"), ALPN)
def test_alpn(offered, taken, agreed, pair):
    context = ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1], alpn=offered))
    left, right = shaken(context, ClientContext(alpn=taken))
    assert left.info.tls.alpn == right.info.tls.alpn == agreed
    finish(left, right)


def verify(authority, other, **settings):
    return ClientContext(
        TLSSettings(
            ca_file={"ours": authority.ca, "other": other, "": ""}[settings.pop("ca", "")],
            **settings,
        )
    )


VERIFIED = [
    pytest.param({}, NAME, "", id="no check"),
    pytest.param({"ca": "ours"}, "wrong.test", "", id="chain only"),
    pytest.param({"ca": "other"}, NAME, "certificate verify failed", id="wrong chain"),
    pytest.param({"ca": "ours", "secure": True}, NAME, "", id="chain and name"),
    pytest.param(
        {"ca": "ours", "secure": True}, "wrong.test", "Hostname mismatch", id="wrong name"
    ),
    pytest.param({"ca": "ours", "secure": True}, "127.0.0.1", "mismatch", id="wrong address"),
    pytest.param({"ca": "ours", "secure": True, "server_name": NAME}, "x.test", "", id="set name"),
    pytest.param({"secure": True}, NAME, "certificate verify failed", id="system roots"),
    pytest.param({"secure": True, "ca": "ours"}, "", "server name", id="no name"),
]


@pytest.mark.parametrize(("settings", "name", "failure"), VERIFIED)
def test_verification(settings, name, failure, authority, server, tmp_path):
    other = Authority(tmp_path, "other").ca
    client = verify(authority, other, **settings)
    if failure:
        with pytest.raises(HandshakeFailed, match=failure):
            shaken(server, client, name)
    else:
        finish(*shaken(server, client, name))


def test_a_pinned_certificate_needs_no_authority(server, pair):
    client = ClientContext(TLSSettings(ca_file=pair[0]))
    finish(*shaken(server, client))


def test_client_certificates(authority, pair, tmp_path):
    context = ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1], ca_file=authority.ca))
    cert, key = authority.issue("client.test")
    left, right = shaken(context, ClientContext(TLSSettings(cert_file=cert, key_file=key)))
    assert right.info.tls.peer_subject == "CN=client.test"
    finish(left, right)
    stranger = Authority(tmp_path, "stranger").issue("client.test")
    for settings in (TLSSettings(), TLSSettings(cert_file=stranger[0], key_file=stranger[1])):
        left, right = socket_pair()
        accepting = gevent.spawn(accept_tls, right, context)
        connect_tls(left, ClientContext(settings), NAME)
        left.flush()
        with pytest.raises(HandshakeFailed, match="certificate"):
            accepting.get(timeout=5)
        with pytest.raises(ProtocolError, match="alert"):
            left.recv()
        finish(left, right)


NAMES = [
    pytest.param((), NAME, True, id="in the certificate"),
    pytest.param((), "other.test", False, id="not in it"),
    pytest.param(("a.test", "*.b.test"), "A.test", True, id="listed"),
    pytest.param(("a.test", "*.b.test"), "x.b.test", True, id="wildcard"),
    pytest.param(("a.test", "*.b.test"), "x.y.b.test", False, id="one label only"),
    pytest.param(("a.test",), NAME, False, id="the list goes first"),
    pytest.param(("a.test",), "127.0.0.1", False, id="no name at all"),
]


@pytest.mark.parametrize(("names", "asked", "served"), NAMES)
def test_unknown_names_are_rejected(names, asked, served, pair):
    context = ServerContext(
        TLSSettings(
            cert_file=pair[0], key_file=pair[1], reject_unknown_names=True, server_names=names
        )
    )
    if served:
        finish(*shaken(context, ClientContext(), asked))
    else:
        with pytest.raises(HandshakeFailed, match="unrecognized name"):
            shaken(context, ClientContext(), asked)


def test_sessions_are_resumed_until_the_server_forgets(pair):
    settings = TLSSettings(cert_file=pair[0], key_file=pair[1])
    context, client = ServerContext(settings), ClientContext()

    def resumed(name=NAME):
        left, right = shaken(context, client, name)
        right.sendall(b"data, and the ticket")
        assert left.recv()
        finish(left, right)
        return right.info.tls.resumed

    assert [resumed(), resumed(), resumed()] == [False, True, True]
    assert not resumed("other.test")
    context = ServerContext(settings)  # other ticket keys
    assert [resumed(), resumed(), resumed()] == [False, False, True]


def test_a_server_without_tickets_is_left_alone(pair):
    context = ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1]))
    context.current().num_tickets = 0
    client = ClientContext()
    for _ in range(6):
        left, right = shaken(context, client)
        right.sendall(b"data")
        assert left.recv()
        finish(left, right)
    assert not client.remembered(NAME).wanted


class Swap(Codec):
    """A layer beneath that changes every byte."""

    _TABLE = bytes(255 - byte for byte in range(256))

    def decode(self, data):
        return bytes(data).translate(self._TABLE)

    encode = decode


def test_over_other_layers_and_itself(server):
    def beneath(left, right):
        left.push(Swap())
        right.push(Swap())
        outer = gevent.spawn(accept_tls, right, server)
        connect_tls(left, ClientContext(), "outer.test")
        left.flush()
        outer.get(timeout=5)

    left, right = shaken(server, ClientContext(), NAME, beneath)
    assert len(left.codecs) == 3
    data = os.urandom(200_000)
    sending = gevent.spawn(left.sendall, data)
    assert right.read_exact(len(data)) == data
    sending.get(timeout=5)
    left.shut()
    assert right.recv() == b""
    finish(left, right)


def test_new_certificate_files_are_used_and_bad_ones_are_not(authority, tmp_path, monkeypatch):
    monkeypatch.setattr(tlscontext, "_LOOK_INTERVAL", 0.0)
    cert, key = Authority(tmp_path, "first").issue("a.test", "served")
    log = SilentLog()
    context = ServerContext(TLSSettings(cert_file=cert, key_file=key), log=log)

    def subject():
        left, right = shaken(context, ClientContext())
        finish(left, right)
        return left.info.tls.peer_subject

    assert subject() == "CN=a.test"
    made = context.current()
    assert context.current() is made
    new = Authority(tmp_path, "second").issue("b.test", "new")
    os.replace(new[0], cert)  # half of the change: the old pair stays
    assert [subject(), subject()] == ["CN=a.test", "CN=a.test"]
    os.replace(new[1], key)
    assert subject() == "CN=b.test"
    os.unlink(cert)
    assert [subject(), subject()] == ["CN=b.test", "CN=b.test"]
    assert [level for level, _ in log.messages] == ["error", "error"]


def test_files_are_looked_at_once_a_second(pair, monkeypatch):
    context = ServerContext(TLSSettings(cert_file=pair[0], key_file=pair[1]))
    context.current()
    looks = []
    monkeypatch.setattr(context, "_stat", lambda: looks.append(1))
    for _ in range(10):
        context.current()
    assert looks == []


GARBAGE = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
    pytest.param(b"\x16\x03\x01\x40\x00" + b"\0" * 100, id="nonsense record"),
    pytest.param(b"\x05\x01\x00", id="cut"),
]


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_fails_the_handshake(data, server):
    left, right = socket_pair()
    accepting = gevent.spawn(accept_tls, right, server)
    left.sendall(data)
    left.shut()
    with pytest.raises(HandshakeFailed):
        accepting.get(timeout=5)
    finish(left, right)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_fail_the_handshake(data, client):
    left, right = socket_pair()
    left.sendall(data)
    left.shut()
    try:
        if client:
            connect_tls(right, ClientContext(), NAME)
        else:
            accept_tls(right, _anywhere())
    except GostError:
        pass
    finally:
        finish(left, right)


def _anywhere(kept=[]):  # noqa: B006 - one context for all examples
    if not kept:
        kept.append(ServerContext())
    return kept[0]


def test_broken_records_end_the_conn_with_an_alert(server):
    left, right = shaken(server, ClientContext())
    left.endpoint.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ProtocolError, match="tls: "):
        right.recv()
    right.close()
    with pytest.raises(ProtocolError, match="alert"):
        left.recv()
    finish(left, right)


HOSTS = [
    ("host.test:443", "host.test"),
    ("host.test", "host.test"),
    ("127.0.0.1:1", "127.0.0.1"),
    ("[::1]:8443", "::1"),
    ("::1", "::1"),
    (":8443", ""),
]


@pytest.mark.parametrize(("address", "host"), HOSTS)
def test_host_of(address, host):
    assert host_of(address) == host


ASKED = [
    pytest.param("host.test.", "host.test", id="final dot"),
    pytest.param("bücher.test", "xn--bcher-kva.test", id="international"),
    pytest.param("[::1]", "", id="IPv6 is not sent"),
    pytest.param("127.0.0.1", "", id="IPv4 is not sent"),
]


@pytest.mark.parametrize(("name", "seen"), ASKED)
def test_names_as_they_are_sent(name, seen, server):
    left, right = shaken(server, ClientContext(), name)
    assert right.info.tls.server_name == seen
    finish(left, right)


@pytest.mark.parametrize("name", [".test", "a\0b"])
def test_names_that_cannot_be_sent(name, server):
    with pytest.raises(HandshakeFailed, match="bad server name"):
        shaken(server, ClientContext(), name)


def test_works_where_the_standard_library_is_not_patched():
    """The suite runs patched; this does the same in a process that is not."""
    script = """
import gevent
from gostpy.stream.tls import *
from tests.net.pairs import socket_pair
left, right = socket_pair()
accepting = gevent.spawn(accept_tls, right, ServerContext())
connect_tls(left, ClientContext(), "host.test")
left.sendall(b"x")
assert accepting.get(timeout=20).server_name == "host.test"
assert right.recv() == b"x"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=40)
