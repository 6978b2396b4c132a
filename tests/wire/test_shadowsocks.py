"""Shadowsocks streams: exchanges recorded from real gost 3.2.6, our own bytes with fixed salts, and
whatever a peer that knows nothing, or too much, may send."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gostpy.errors import ConfigError, MissingExtra, ProtocolError
from gostpy.wire.address import encode_address
from gostpy.wire.codec import Codec
from gostpy.wire.shadowsocks import (
    METHODS,
    SaltFilter,
    Secret,
    StreamCodec,
    client_stream,
    secret,
    server_stream,
)
from gostpy.wire.shadowsocks.plain import framed

KEY16 = "AAECAwQFBgcICQoLDA0ODw=="
KEY32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
TARGET = encode_address("127.0.0.1:19001")
CLASSIC = [name for name, method in METHODS.items() if method.edition == "classic"]


def password(name: str) -> str:
    if METHODS[name].edition != "2022":
        return "pass"
    return KEY16 if METHODS[name].key_size == 16 else KEY32


def make(name: str) -> Secret:
    return secret(name, password(name))


def counting(size: int) -> bytes:
    return bytes(n & 0xFF for n in range(size))


def in_pieces(codec: Codec, wire: bytes, size: int) -> bytes:
    return b"".join(bytes(codec.decode(wire[n : n + size])) for n in range(0, len(wire), size))


# what a client of gost 3.2.6 sent for "hello" to 127.0.0.1:19001, password "pass"
GOST_CLIENTS = [
    pytest.param(
        "aes-128-gcm",
        "64a7a06de6061846f5c5f4b5a0b542b3393782b60f59b3bda499634919c0ac53ba3bb015657e8d0c39d5f267da"
        "fb21679d40f25d847b8b4cf9bdd798c6936be2171921c70f37a0285e8d65b5739710d43066603f7601c45e5129"
        "b1cdad8c3d4f",
        id="aes-128-gcm",
    ),
    pytest.param(
        "aes-256-gcm",
        "fd5b4cd92a8f4cf8688abbb319df9bd636a405314302094b00e6a1f1d5c6fdd685bfa1b5182ee304d6ad2ef228"
        "5378c6f650ada7df753c4be1cb7eb171d17e2993addb19a392606b43cc1645d9d8b69a15681e880e3e39982207"
        "36b667b13adec5334d1d66c19b356344fb02cd3c48e5",
        id="aes-256-gcm",
    ),
    pytest.param(
        "chacha20-ietf-poly1305",
        "f4f59b06e6f108588d6b39a4130027c20508661408e33175f4def9071db3cf2776e1035c4539812a384cc0ae53"
        "1b3c0acd4b0e830fc4cbce0ea68a56a735b79ddaa11f4eb8ec2026dc7e21581fbfa3731c51df50ac7b177f3efa"
        "168d78d46f896aa66a664d1eb4ca225452b40deb827f",
        id="chacha20",
    ),
]


@pytest.mark.parametrize(("name", "wire"), GOST_CLIENTS)
def test_request_of_gost(name: str, wire: str) -> None:
    for size in (1, 7, 1000):
        codec = StreamCodec(make(name), salts=SaltFilter())
        assert in_pieces(codec, bytes.fromhex(wire), size) == TARGET + b"hello"


def test_answer_of_gost() -> None:
    codec = StreamCodec(make("aes-128-gcm"), TARGET)
    codec.encode(b"world")
    wire = bytes.fromhex(
        "d0bc5900b31996faf2dbae957604a74edb2f4ab58b53b11d682a8960c9ab78359e17bf4aceea1f617b5eb1e832"
        "25c09199f67ada08e711c44e8a031db3b8182d"
    )
    assert bytes(codec.decode(wire)) == b"220 helloworld"


# salts of 00 01 02 ..., "hello"
REQUESTS = [
    pytest.param(
        "aes-128-gcm",
        "000102030405060708090a0b0c0d0e0f978c547660b887acd5da3f745415f4aa909bff30775f998afb846eae37"
        "34347cc403d46f34e40d2e977397b3bb33",
        id="aes-128-gcm",
    ),
    pytest.param(
        "aes-192-gcm",
        "000102030405060708090a0b0c0d0e0f101112131415161750dedd5b0070824dbd677a778ec317257a056b3c6c"
        "0c3c167aa2002f95eb50f33e4fd81773b0f15298105a1c704b",
        id="aes-192-gcm",
    ),
    pytest.param(
        "aes-256-gcm",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f19881c8813ce076236700fc1bf"
        "c13a81469f9049454d29108e329b26adeed7fe5e5a6011568aa2e54efce9cdc3d5",
        id="aes-256-gcm",
    ),
    pytest.param(
        "chacha20-ietf-poly1305",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f3908822d4aea809f670e99e147"
        "6476a28fdcc7b6e98d6be02917c38a7dd4c5490b2716ef264c385ff9cbd4c43d8a",
        id="chacha20",
    ),
    pytest.param(
        "xchacha20-ietf-poly1305",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fbbc9894ba7cdd07fa25c14040e"
        "34b634c3fa079ffe9d88f11f3b71873ea822342a58880bfb80fd0d3b08038ac744",
        id="xchacha20",
    ),
]


@pytest.mark.parametrize(("name", "wire"), REQUESTS)
def test_request_both_ways(name: str, wire: str) -> None:
    codec = StreamCodec(make(name), TARGET, random=counting)
    assert codec.held
    assert bytes(codec.encode(b"hello")).hex() == wire
    assert not codec.held
    data = bytes.fromhex(wire)
    for cut in range(len(data)):  # nothing comes early, nothing is lost
        server = StreamCodec(make(name))
        early = bytes(server.decode(data[:cut]))
        assert early == b""
        assert bytes(server.decode(data[cut:])) == TARGET + b"hello"


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25)
@given(messages=st.lists(st.binary(min_size=1, max_size=300), max_size=5), size=st.integers(1, 99))
def test_conversation(name: str, messages: list[bytes], size: int) -> None:
    client, server = ends(name)
    sent = b"".join(bytes(client.encode(message)) for message in messages) or client.take()
    assert in_pieces(server, sent, size) == TARGET + b"".join(messages)
    if messages:
        answer = b"".join(bytes(server.encode(message)) for message in messages)
        assert in_pieces(client, answer, size) == b"".join(messages)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [1, 16383, 16384, 65535, 65536, 200_001])
def test_large_data(name: str, size: int) -> None:
    client, server = ends(name)
    data = bytes(range(256)) * (size // 256 + 1)
    assert in_pieces(server, bytes(client.encode(data[:size])), 65536) == TARGET + data[:size]
    assert in_pieces(client, bytes(server.encode(data[:size])), 10_007) == data[:size]


def test_nested_level_with_large_input() -> None:
    """What a layer below hands up at once may be larger than the shared buffer."""
    client, server = ends("aes-128-gcm")
    data = bytes(300_000)
    assert bytes(server.decode(client.encode(data))) == TARGET + data


@pytest.mark.parametrize("name", METHODS)
def test_target_alone(name: str) -> None:
    client, server = ends(name)
    assert client.encode(b"") != b""
    assert not client.held
    assert client.encode(b"") == b""
    client, server = ends(name)
    assert bytes(server.decode(client.take())) == TARGET


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].tag_size])
@settings(max_examples=25)
@given(wire=st.binary(max_size=400), flip=st.integers(0, 10_000))
def test_only_protocol_errors(name: str, wire: bytes, flip: int) -> None:
    client, server = ends(name)
    good = bytearray(client.encode(b"hello"))
    good[flip % len(good)] ^= 1 + flip % 255
    for codec, data in ((server, wire), (ends(name)[1], bytes(good)), (client, wire)):
        try:
            codec.decode(data)
        except ProtocolError:
            pass


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].tag_size])
def test_changed_bytes_do_not_pass(name: str) -> None:
    for position in range(0, 150, 7):
        client, server = ends(name)
        wire = bytearray(client.encode(b"x" * 100))
        wire[position] ^= 0x80
        with pytest.raises(ProtocolError):
            server.decode(bytes(wire))


def ends(name: str) -> tuple[Codec, Codec]:
    """A client's and a server's codec of one service."""
    shared = make(name)
    return client_stream(shared, TARGET, SaltFilter()), server_stream(shared, {}, SaltFilter())


@pytest.mark.parametrize("name", [*CLASSIC, "2022-blake3-aes-128-gcm"])
def test_replay_is_refused(name: str) -> None:
    salts = SaltFilter()
    wire = bytes(client_stream(make(name), TARGET, SaltFilter()).encode(b"hello"))
    assert bytes(server_stream(make(name), {}, salts).decode(wire)) == TARGET + b"hello"
    with pytest.raises(ProtocolError, match="repeated salt"):
        server_stream(make(name), {}, salts).decode(wire)


def test_reflection_is_refused() -> None:
    salts = SaltFilter()
    client, server = (
        StreamCodec(make(CLASSIC[0]), TARGET),
        StreamCodec(make(CLASSIC[0]), b"", salts),
    )
    server.decode(client.encode(b"hello"))
    answer = bytes(server.encode(b"answer"))
    with pytest.raises(ProtocolError, match="repeated salt"):
        StreamCodec(make(CLASSIC[0]), b"", salts).decode(answer)


def test_garbage_is_not_remembered() -> None:
    salts = SaltFilter()
    with pytest.raises(ProtocolError, match="authenticate"):
        StreamCodec(make(CLASSIC[0]), b"", salts).decode(bytes(100))
    assert bytes(16) not in salts


def test_salt_filter_forgets() -> None:
    salts = SaltFilter(capacity=2)
    for n in range(4):
        assert not salts.repeated(bytes((n,)))
    assert salts.repeated(b"\3")
    assert b"\2" in salts
    for n in range(4, 9):
        salts.add(bytes((n,)))
    assert b"\3" not in salts
    assert not SaltFilter(capacity=0).repeated(b"a")


def test_salt_filter_keeps_for_a_period() -> None:
    now = 0.0
    salts = SaltFilter(capacity=1, period=60.0, clock=lambda: now)
    salts.add(b"a")
    salts.add(b"b")
    now = 59.0
    assert b"a" in salts
    now = 61.0
    salts.add(b"c")
    assert b"a" in salts
    now = 300.0
    salts.add(b"d")
    assert b"a" not in salts
    assert b"c" not in salts


PLAIN = [
    pytest.param("", None, id="nothing"),
    pytest.param("01 7f000001 4a39", False, id="target alone"),
    pytest.param("01 7f000001 4a39 68656c6c6f", False, id="target and data"),
    pytest.param("03 03 612e62 0050 " + "41" * 20, False, id="name and data"),
    pytest.param("01 7f0000", None, id="part of a target"),
    pytest.param("ff" * 3, True, id="salt"),
    pytest.param("03" + "aa" * 15, None, id="salt that may be a target"),
    pytest.param("01" + "aa" * 15 + "0007 01 7f000001 4a39", True, id="salt, chunk"),
    pytest.param("01" + "aa" * 15 + "0007 03 7f000001 4a39", False, id="no chunk"),
]


@pytest.mark.parametrize(("wire", "expected"), PLAIN)
def test_forms_without_cipher(wire: str, expected: bool | None) -> None:
    data = bytes.fromhex(wire.replace(" ", ""))
    assert (framed(data) if data else None) is expected


@given(data=st.binary(min_size=1, max_size=60))
def test_form_of_any_bytes(data: bytes) -> None:
    assert framed(data) in (True, False, None)


BAD = [
    pytest.param("", "", "needed", id="no credentials"),
    pytest.param("aes-128-cfb", "pw", "not supported", id="stream cipher"),
    pytest.param("AEAD_AES_128_GCM", "pw", "not supported", id="old name"),
    pytest.param("2022-blake3-aes-128-gcm", "pw", "base64", id="no base64"),
    pytest.param("2022-blake3-aes-128-gcm", "AAAA", "3 bytes", id="short key"),
    pytest.param("2022-blake3-chacha20-poly1305", KEY16, "16 bytes", id="key of another size"),
    pytest.param(
        "2022-blake3-chacha20-poly1305", f"{KEY32}:{KEY32}", "identity", id="chacha20 with identity"
    ),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_bad_credentials(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        secret(name, text)


def test_names_ignore_case() -> None:
    assert secret("AES-128-GCM", "pass") == make("aes-128-gcm")


def test_secrets_are_not_shown() -> None:
    assert KEY16 not in repr(make("2022-blake3-aes-128-gcm"))
    assert "keys" not in repr(make("aes-128-gcm"))


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(MissingExtra) as caught:
        make("2022-blake3-aes-128-gcm")
    assert caught.value.extra == "ss2022"
    assert make("xchacha20-ietf-poly1305")
