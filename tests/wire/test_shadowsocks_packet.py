"""Shadowsocks packets: what gost 3.2.6 sends, both forms of both editions, copies and old ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.shadowsocks import (
    METHODS,
    ClientPackets,
    ClientPackets2022,
    SaltFilter,
    Secret,
    ServerPackets,
    ServerPackets2022,
    secret,
    users_of,
)
from gostpy.wire.shadowsocks.packet2022 import IDLE, Window

NOW = 1_700_000_000
KEY16 = "AAECAwQFBgcICQoLDA0ODw=="
KEY32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
USER = "YWFhYWFhYWFhYWFhYWFhYQ=="
AES128 = "2022-blake3-aes-128-gcm"
OLD = [name for name, method in METHODS.items() if method.edition != "2022"]
NEW = [name for name, method in METHODS.items() if method.edition == "2022"]


def make(name: str) -> Secret:
    if METHODS[name].edition != "2022":
        return secret(name, "pass")
    return secret(name, KEY16 if METHODS[name].key_size == 16 else KEY32)


# -- classic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OLD)
def test_both_ways(name: str) -> None:
    shared = make(name)
    client, server = ClientPackets(shared), ServerPackets(shared)
    session, payload, target = server.open(client.seal(b"ping", "a.example:53"))
    assert (payload, target) == (b"ping", "a.example:53")
    assert client.open(session.seal(b"pong", "192.0.2.1:53")) == (b"pong", "192.0.2.1:53")


def test_known_packet() -> None:
    client = ClientPackets(make("aes-128-gcm"), random=lambda n: bytes(range(n)))
    assert client.seal(b"ping", "127.0.0.1:53").hex() == (
        "000102030405060708090a0b0c0d0e0f96ffbcfbeed344300b6cad2b1b7c441e85ff9d56a59f9f4ae9e16a"
    )


def test_reply_of_gost() -> None:
    """gost 3.2.6 answers without an address."""
    client = ClientPackets(make("aes-128-gcm"))
    client.seal(b"ping", "127.0.0.1:44590")
    wire = "0d57360ccc15a4885ecd8009b7cde01e4e46f52583f8036ec77874efcb5b6fcf2aface1c7f"
    assert client.open(bytes.fromhex(wire)) == (b"<ping", "127.0.0.1:44590")


ADDRESS = b"\1\x7f\0\0\1\0\x35"

REPLIES = [
    pytest.param("127.0.0.1:53", ADDRESS + b"x", (b"x", "127.0.0.1:53"), id="the target"),
    pytest.param("a.b:53", ADDRESS + b"x", (b"x", "127.0.0.1:53"), id="address of a name"),
    pytest.param("10.0.0.1:53", ADDRESS + b"x", (ADDRESS + b"x", "10.0.0.1:53"), id="looks like"),
    pytest.param("10.0.0.1:53", b"hello", (b"hello", "10.0.0.1:53"), id="no address"),
    pytest.param("10.0.0.1:53", b"", (b"", "10.0.0.1:53"), id="empty"),
]


@pytest.mark.parametrize(("target", "plain", "expected"), REPLIES)
def test_reply_forms(target: str, plain: bytes, expected: tuple[bytes, str]) -> None:
    shared = make("aes-128-gcm")
    client = ClientPackets(shared)
    client.seal(b"", target)
    wire = bytes(16) + shared.session(bytes(16)).encrypt(bytes(12), plain, None)
    assert client.open(wire) == expected


def test_a_node_once_seen_as_standard_stays_so() -> None:
    shared = make("aes-128-gcm")
    client, server = ClientPackets(shared), ServerPackets(shared)
    client.seal(b"", "10.0.0.1:53")
    assert client.open(server.seal(b"a", "10.0.0.1:53")) == (b"a", "10.0.0.1:53")
    assert client.open(server.seal(b"b", "10.9.9.9:9")) == (b"b", "10.9.9.9:9")


def test_forms_by_option() -> None:
    shared = make("aes-128-gcm")
    wire = bytes(16) + shared.session(bytes(16)).encrypt(bytes(12), b"hello", None)
    with pytest.raises(ProtocolError):
        ClientPackets(shared, reply_addressed=True).open(wire)
    client = ClientPackets(shared, reply_addressed=False)
    client.seal(b"", "127.0.0.1:53")
    reply = ServerPackets(shared).seal(b"x", "127.0.0.1:53")
    assert client.open(reply) == (ADDRESS + b"x", "127.0.0.1:53")


def test_copies_are_refused() -> None:
    shared, salts = make("aes-128-gcm"), SaltFilter()
    server = ServerPackets(shared, salts)
    wire = ClientPackets(shared).seal(b"ping", "127.0.0.1:53")
    session, _, _ = server.open(wire)
    for copy in (wire, session.seal(b"pong", "127.0.0.1:53")):
        with pytest.raises(ProtocolError, match="copy"):
            ServerPackets(shared, salts).open(copy)


def test_framed_without_cipher() -> None:
    shared = make("none")
    client = ClientPackets(shared, reply_addressed=False, framed=True, random=lambda n: b"\xff" * n)
    wire = client.seal(b"ping", "127.0.0.1:53")
    assert wire == b"\xff" * 16 + ADDRESS + b"ping"
    _, payload, target = ServerPackets(shared).open(wire)
    assert (payload, target) == (b"ping", "127.0.0.1:53")


@pytest.mark.parametrize("name", OLD)
@given(packet=st.binary(max_size=120))
def test_any_packet(name: str, packet: bytes) -> None:
    shared = make(name)
    for codec in (ServerPackets(shared), ClientPackets(shared)):
        try:
            codec.open(packet)
        except ProtocolError:
            pass


@pytest.mark.parametrize("name", ["aes-128-gcm", AES128])
def test_cut_anywhere(name: str) -> None:
    shared = make(name)
    if name == AES128:
        wire = client2022(shared).seal(b"ping", "a.b:53")
        server = server2022(shared)
    else:
        wire, server = ClientPackets(shared).seal(b"ping", "a.b:53"), ServerPackets(shared)
    for cut in range(len(wire)):
        with pytest.raises(ProtocolError):
            server.open(wire[:cut])
    assert server.open(wire)[1:] == (b"ping", "a.b:53")


# -- 2022 ------------------------------------------------------------------------------------------


def client2022(shared: Secret, legacy: bool = False, at: float = NOW) -> ClientPackets2022:
    return ClientPackets2022(shared, legacy, clock=lambda: at)


def server2022(shared: Secret, at: float = NOW) -> ServerPackets2022:
    return ServerPackets2022(shared, clock=lambda: at)


@pytest.mark.parametrize("legacy", [False, True], ids=["standard", "gost"])
@pytest.mark.parametrize("name", NEW)
def test_both_ways_2022(name: str, legacy: bool) -> None:
    shared = make(name)
    client, server = client2022(shared, legacy), server2022(shared)
    for n in range(3):
        session, payload, target = server.open(client.seal(b"ping%d" % n, "a.example:53"))
        assert (payload, target) == (b"ping%d" % n, "a.example:53")
        reply = session.seal(b"pong", "192.0.2.1:53")
        assert client.open(reply) == (b"pong", "192.0.2.1:53")
        with pytest.raises(ProtocolError, match="came before"):
            client.open(reply)


def test_forms_do_not_mix() -> None:
    shared = make(AES128)
    server = server2022(shared)
    client = ClientPackets2022(shared, True, lambda n: bytes(range(n)), lambda: NOW)
    session, _, _ = server.open(client.seal(b"", "a.b:1"))
    other = ClientPackets2022(shared, False, lambda n: bytes(range(n)), lambda: NOW)
    with pytest.raises(ProtocolError, match="authenticate"):
        other.open(session.seal(b"", "a.b:1"))


def test_packets_of_gost() -> None:
    """Recorded from gost 3.2.6 at that time."""
    shared, at = make(AES128), 1_795_392_090
    request = bytes.fromhex(
        "d29e3de0f4747ecc381567527d3f448a85b2ee8438ef0cfc381f59c2a3564a621a2d48a6d9464b165acfac59998c"
        "099d43031da0d02e94c4af7dd2dcc4d5d6b1e88fe670912f23f8b2f0a4811af39e7395"
    )
    session, payload, target = server2022(shared, at).open(request)
    assert (payload, target) == (b"ping", "127.0.0.1:19001")
    assert session.legacy
    client = ClientPackets2022(shared, True, lambda n: b"sessionX"[:n], lambda: at)
    reply = bytes.fromhex(
        "197015df1f60f52afbfc24b9caa137930ce2490046edda520ec06c71a53a7cdfef30d183ff0e58b253b718155937"
        "9467e84806cdce4e2c7afb57162415401df3da19ca1d113e629a403065c2fb7264e238d34f6be63523af4f0290e7"
        "2b7da7ac669df1cc2c275f70915df7b6929bc77852850658b275a7"
    )
    assert client.open(reply) == (b"<ping", "127.0.0.1:44590")


def test_known_packet_2022() -> None:
    client = ClientPackets2022(make(AES128), False, lambda n: bytes(range(n)), lambda: NOW)
    assert client.seal(b"ping", "127.0.0.1:53").hex() == KNOWN_2022


KNOWN_2022 = (
    "9dc28337d6d3b4be380dd72d8e5cc1a5826ef18c3e8d19a6211e3d659798b823f43e2d96ef3dca8aced2f9e0e0"
    "9126f72b98b1f39294"
)


def test_users_2022() -> None:
    shared = make(AES128)
    server = ServerPackets2022(shared, users_of(shared, {"a": USER}), clock=lambda: NOW)
    client = client2022(secret(AES128, f"{KEY16}:{USER}"))
    session, payload, _ = server.open(client.seal(b"ping", "a.b:1"))
    assert session.user is not None
    assert (session.user.name, payload) == ("a", b"ping")
    assert client.open(session.seal(b"pong", "a.b:1"))[0] == b"pong"
    stranger = client2022(secret(AES128, f"{KEY16}:{KEY16}"))
    with pytest.raises(ProtocolError, match="unknown user"):
        server.open(stranger.seal(b"ping", "a.b:1"))


def test_session_outlives_its_address_and_ends_when_idle() -> None:
    now = float(NOW)
    shared = make(AES128)
    server = ServerPackets2022(shared, clock=lambda: now)
    client, later = client2022(shared), client2022(shared, at=NOW + IDLE + 1)
    first = server.open(client.seal(b"", "a.b:1"))[0]
    assert server.open(client.seal(b"", "a.b:1"))[0] is first
    now += IDLE + 1
    server.open(later.seal(b"", "a.b:1"))
    assert list(server._sessions.values()) != [first]
    assert len(server._sessions) == 1


REFUSED = [
    pytest.param(NOW + 31, id="our clock is ahead"),
    pytest.param(NOW - 31, id="our clock is behind"),
]


@pytest.mark.parametrize("at", REFUSED)
def test_clock(at: float) -> None:
    shared = make(AES128)
    with pytest.raises(ProtocolError, match="our clock"):
        server2022(shared, at).open(client2022(shared).seal(b"", "a.b:1"))


def test_reply_of_another_session() -> None:
    shared = make(AES128)
    server = server2022(shared)
    session = server.open(client2022(shared).seal(b"", "a.b:1"))[0]
    with pytest.raises(ProtocolError, match="another session"):
        client2022(shared).open(session.seal(b"", "a.b:1"))
    with pytest.raises(ProtocolError, match="not a request"):
        server.open(session.seal(b"", "a.b:1"))
    client = client2022(shared)
    with pytest.raises(ProtocolError, match="not a reply"):
        client.open(client.seal(b"", "a.b:1"))


@pytest.mark.parametrize("name", NEW)
@given(packet=st.binary(max_size=120))
def test_any_packet_2022(name: str, packet: bytes) -> None:
    shared = make(name)
    with pytest.raises(ProtocolError):
        server2022(shared).open(packet)
    with pytest.raises(ProtocolError):
        client2022(shared).open(packet)


NUMBERS = [
    pytest.param([0, 1, 2], [True, True, True], id="in order"),
    pytest.param([2, 1, 0], [True, True, True], id="reversed"),
    pytest.param([0, 0], [True, False], id="zero twice"),
    pytest.param([5, 5, 4, 4], [True, False, True, False], id="twice"),
    pytest.param([2000, 1, 0], [True, True, False], id="too old"),
    pytest.param([1, 2**64 - 1, 1, 2**64 - 2], [True, True, False, True], id="far ahead"),
]


@pytest.mark.parametrize(("numbers", "expected"), NUMBERS)
def test_window(numbers: list[int], expected: list[bool]) -> None:
    window, taken = Window(), []
    for number in numbers:
        taken.append(window.fresh(number))
        if taken[-1]:
            window.take(number)
    assert taken == expected


@given(st.lists(st.integers(0, 5000), max_size=200))
def test_window_takes_nothing_twice(numbers: list[int]) -> None:
    window, taken = Window(), []
    for number in numbers:
        if window.fresh(number):
            window.take(number)
            taken.append(number)
    assert len(taken) == len(set(taken))
