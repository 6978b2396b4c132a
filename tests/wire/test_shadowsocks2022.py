"""Shadowsocks streams of the 2022 edition: both forms of the response, identity headers, clocks."""

from __future__ import annotations

import pytest

from gostpy.errors import ConfigError, ProtocolError
from gostpy.wire.address import encode_address
from gostpy.wire.shadowsocks import Secret, secret, users_of
from gostpy.wire.shadowsocks.methods import InvalidTag
from gostpy.wire.shadowsocks.stream2022 import ClientStream, ServerStream

NOW = 1_700_000_000
TARGET = encode_address("127.0.0.1:19001")
AES128, AES256 = "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm"
CHACHA = "2022-blake3-chacha20-poly1305"
KEY16 = "AAECAwQFBgcICQoLDA0ODw=="
KEY32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
USER_A, USER_B = "YWFhYWFhYWFhYWFhYWFhYQ==", "YmJiYmJiYmJiYmJiYmJiYg=="


def make(name: str = AES128) -> Secret:
    return secret(name, KEY16 if name == AES128 else KEY32)


def counting(size: int) -> bytes:
    return bytes(range(size)) if size > 2 else b"\0\2"  # three bytes of padding


def client(name: str = AES128, at: float = NOW) -> ClientStream:
    return ClientStream(make(name), TARGET, counting, lambda: at)


def server(name: str = AES128, at: float = NOW) -> ServerStream:
    return ServerStream(make(name), None, None, lambda n: counting(n)[::-1], lambda: at)


# "hello" and, in the standard form, "answer"; salts of 00 01 02 ... and reversed
EXCHANGES = [
    pytest.param(
        AES128,
        "000102030405060708090a0b0c0d0e0f35862b4f511b18084f6b424f3bc8d4ab7b78e90848c4b92a9a08bb458c"
        "613a187d5ab61b086a26c83bac331631b845cbdbb306a67d5202206646a9d000fcc7e972ff52dcb8c70add6187"
        "abbf0fc0d077bb7ca94b174bd9fc0a5578160b1b",
        "0f0e0d0c0b0a090807060504030201009991a6cc57671cd24fa98ada889abd1b5595a920a2986e5807eb626323"
        "c177b8e656761231f0c9b42baefda3ccd4a6e32b64e61ea13862159a65028c8da4990e3a",
        id="aes-128",
    ),
    pytest.param(
        AES256,
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f8ad2318b967481973d90b3b20c"
        "d6241baf837d9b9fa0fea842b67ce1847ec07b3848d84290f84ea0c823cbf4dd4c1770183da7a2fd7c6b74aa6f"
        "cbaa6b710b390f358a5cfdd136626cbe7866fd3d7c04902c9b538cc1e214b0083469aeb5",
        "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a090807060504030201006141b49ae1637c676a51550b89"
        "f967a686bc3611afd34a20f0d171f5da3b9010c87bf2069a5f3b7cf48fafa0c9fa4df07a76db66c1c622bb38f7"
        "660fe22f5687ae9cc2eb82eca3df887d0d3a4be4d2a75f",
        id="aes-256",
    ),
    pytest.param(
        CHACHA,
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f9f2a5c3e72a7e6373487bd8a7d"
        "7c1e90a7eb2d92ac43c28d7878edc549576066cb70eaf5d9c095794f55e88525e1e1ab7c70cb60c82b14abb752"
        "92e29eacae09fc1080cc9dc81531f6bc91f58111f08e1a724caf0499495844c156c487ba",
        "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100b3e548482abcd6631ff6569fc9"
        "966ca3b58332aeef401556353389dd9bf3cc68beaf13260f1371c1d5ac8e798decf066c4b96d22134aaf3afb63"
        "7e88c3ac873b569542b6fba6b12105dea3d47ea104756e",
        id="chacha20",
    ),
]


@pytest.mark.parametrize(("name", "request_wire", "response_wire"), EXCHANGES)
def test_exchange(name: str, request_wire: str, response_wire: str) -> None:
    asking, serving = client(name), server(name)
    assert bytes(asking.encode(b"hello")).hex() == request_wire
    assert bytes(serving.decode(bytes.fromhex(request_wire))) == TARGET + b"hello"
    assert not serving.had_payload
    assert serving.followed
    assert bytes(serving.encode(b"answer")).hex() == response_wire
    assert bytes(asking.decode(bytes.fromhex(response_wire))) == b"answer"


@pytest.mark.parametrize("legacy", [False, True], ids=["standard", "gost"])
@pytest.mark.parametrize("name", [AES128, CHACHA])
def test_cut_at_every_byte(name: str, legacy: bool) -> None:
    wire = bytes(client(name).encode(b"hello"))
    for cut in range(len(wire)):
        serving = server(name)
        data = bytes(serving.decode(wire[:cut]))
        assert data + bytes(serving.decode(wire[cut:])) == TARGET + b"hello"
    serving = server(name)
    serving.decode(wire)
    serving.legacy = legacy
    answer = bytes(serving.encode(b"answer")) + bytes(serving.encode(b"again"))
    for cut in range(len(answer)):
        asking = client(name)
        asking.encode(b"hello")
        data = bytes(asking.decode(answer[:cut]))
        assert data + bytes(asking.decode(answer[cut:])) == b"answeragain"


def test_request_of_gost() -> None:
    """Recorded from gost 3.2.6 at that time, "hello"; with padding, without payload."""
    wire = bytes.fromhex(
        "7ea9140689a248314bf2d57d8b19c2d58f98a1e763ef19ef016a421ff4052ea76247bc42fd6db2072588e3aaa0"
        "391ae0253d4f30f6fe4db2f58bb3fb887522c183a13afc6ad3ab4c211234d177dba59d63c363bb51dd03ce99aa"
        "ced26553ff2b988577af0193e3a0758bb319ce67c75ff0e0d2bbdde94c054f368229"
    )
    serving = server(at=1_795_392_078)
    assert bytes(serving.decode(wire)) == TARGET + b"hello"
    assert serving.followed
    assert not serving.had_payload


def test_answer_of_gost() -> None:
    """Recorded from gost 3.2.6; LENGTH is 0 and the chunks are prefixed."""
    salt = bytes.fromhex("8882d0d38f106b39084f5bb36e93c16c")
    asking = ClientStream(make(), TARGET, lambda n: salt[:n], lambda: 1_795_392_089)
    asking.encode(b"world")
    wire = bytes.fromhex(
        "7141b91d68153ed4b1a676cd2d1d059eccde8e7b4426689708e0905b37245c1c72886cfd06ec730305a4991dd1"
        "b45c7d2f5cc85e3304c5733150d6e64d4aae2708c1cf25fb3c0085144f1ef7fb86e2f62aaf0060950ce929f91d"
        "865e60c44cfb800e4468d08694d445d698179fc3a711214779c06bdf8595ffbd39ae12df3280af39ca4854f97c"
        "8aa86aa32727"
    )
    assert bytes(asking.decode(wire)) == b"220 helloworld"


class Crafted:
    """A peer that writes its AEAD units itself."""

    def __init__(self, name: str = AES128, salt: bytes = bytes(16)) -> None:
        self.aead = make(name).session(salt)
        self.wire = salt
        self.count = 0

    def unit(self, plain: bytes) -> Crafted:
        self.wire += self.aead.encrypt(self.count.to_bytes(12, "little"), plain, None)
        self.count += 1
        return self

    def fixed(self, kind: int, length: int, extra: bytes = b"", at: int = NOW) -> Crafted:
        head = bytes((kind,)) + at.to_bytes(8, "big") + extra
        return self.unit(head + length.to_bytes(2, "big"))


def crafted_request(variable: bytes, *, kind: int = 0, at: int = NOW) -> bytes:
    return Crafted().fixed(kind, len(variable), at=at).unit(variable).wire


def test_payload_in_the_header() -> None:
    serving = server()
    assert bytes(serving.decode(crafted_request(TARGET + b"\0\0" + b"early"))) == TARGET + b"early"
    assert serving.had_payload
    assert serving.followed


def test_header_alone_is_not_followed() -> None:
    serving = server()
    wire = crafted_request(TARGET + b"\0\1p")
    serving.decode(wire)
    assert not serving.followed
    serving.decode(b"x")  # of the next chunk
    assert serving.followed


REFUSED = [
    pytest.param(crafted_request(TARGET + b"\0\1p", kind=1), "type 1", id="a response"),
    pytest.param(crafted_request(TARGET + b"\0\1p", at=NOW - 31), "-31 s", id="too old"),
    pytest.param(crafted_request(TARGET + b"\0\1p", at=NOW + 31), r"\+31 s", id="too new"),
    pytest.param(crafted_request(TARGET + b"\0\0"), "neither", id="neither padding nor payload"),
    pytest.param(
        crafted_request(TARGET + (901).to_bytes(2, "big") + bytes(901)), "901", id="padding size"
    ),
    pytest.param(crafted_request(TARGET + b"\0\7p"), "padding of 7", id="padding cut off"),
    pytest.param(crafted_request(TARGET), "padding of 0", id="no padding length"),
    pytest.param(crafted_request(b"\2" + TARGET[1:]), "address type", id="address type"),
    pytest.param(crafted_request(TARGET[:5]), "early", id="address cut off"),
    pytest.param(crafted_request(b""), "early", id="nothing"),
]


@pytest.mark.parametrize(("wire", "message"), REFUSED)
def test_refused_requests(wire: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        server().decode(wire)


def answered(response: Crafted) -> bytes:
    asking = client()
    asking.encode(b"hello")
    return bytes(asking.decode(response.wire))


def test_refused_responses() -> None:
    salt = bytes(range(16))
    with pytest.raises(ProtocolError, match="type 0"):
        answered(Crafted().fixed(0, 1, salt))
    with pytest.raises(ProtocolError, match="another request"):
        answered(Crafted().fixed(1, 1, salt[::-1]))
    with pytest.raises(ProtocolError, match="our clock"):
        answered(Crafted().fixed(1, 1, salt, at=NOW - 60))
    with pytest.raises(ProtocolError, match="another request"):
        client().decode(Crafted().fixed(1, 1, salt).wire)  # before anything was asked


def test_empty_first_payload() -> None:
    """The standard allows LENGTH=0: an empty unit, then chunks."""
    response = Crafted().fixed(1, 0, bytes(range(16))).unit(b"").unit(b"\0\2").unit(b"ok")
    assert answered(response) == b"ok"
    for cut in range(len(response.wire)):
        asking = client()
        asking.encode(b"hello")
        data = bytes(asking.decode(response.wire[:cut]))
        assert data + bytes(asking.decode(response.wire[cut:])) == b"ok"


def test_neither_form() -> None:
    response = Crafted().fixed(1, 0, bytes(range(16)))
    response.wire += bytes(18)
    with pytest.raises(ProtocolError, match="authenticate"):
        answered(response)


def test_server_speaks_first() -> None:
    serving = server()
    with pytest.raises(ProtocolError, match="not read"):
        serving.encode(b"too early")
    asking = client()
    serving.decode(asking.take())
    assert bytes(asking.decode(serving.encode(b"220 hello"))) == b"220 hello"


# -- users -----------------------------------------------------------------------------------------


def test_users() -> None:
    shared = make()
    users = users_of(shared, {"a": USER_A, "b": USER_B})
    for name, key in (("a", USER_A), ("b", USER_B)):
        asking = ClientStream(secret(AES128, f"{KEY16}:{key}"), TARGET, clock=lambda: NOW)
        serving = ServerStream(shared, users, clock=lambda: NOW)
        wire = bytes(asking.encode(b"hello"))
        pieces = b"".join(bytes(serving.decode(wire[n : n + 1])) for n in range(len(wire)))
        assert pieces == TARGET + b"hello"
        assert serving.user is not None
        assert serving.user.name == name
        assert bytes(asking.decode(serving.encode(b"answer"))) == b"answer"


def test_unknown_user() -> None:
    shared = make()
    asking = ClientStream(secret(AES128, f"{KEY16}:{USER_B}"), TARGET, clock=lambda: NOW)
    serving = ServerStream(shared, users_of(shared, {"a": USER_A}), clock=lambda: NOW)
    with pytest.raises(ProtocolError, match="unknown user"):
        serving.decode(asking.encode(b"hello"))


def test_two_identity_keys() -> None:
    """A relay in front takes the first header off; what is left is for the server behind it."""
    chain = ClientStream(secret(AES128, f"{KEY16}:{USER_A}:{USER_B}"), TARGET, clock=lambda: NOW)
    wire = bytes(chain.encode(b""))
    behind = secret(AES128, USER_A)
    serving = ServerStream(behind, users_of(behind, {"b": USER_B}), clock=lambda: NOW)
    assert bytes(serving.decode(wire[:16] + wire[32:])) == TARGET


def test_bad_users() -> None:
    with pytest.raises(ConfigError, match=r"users\.a.*base64"):
        users_of(make(), {"a": "?"}, "users")
    with pytest.raises(ConfigError, match="knows no users"):
        users_of(make(CHACHA), {"a": KEY32})


def test_invalid_tag_is_not_seen_outside() -> None:
    with pytest.raises(ProtocolError) as caught:
        server().decode(bytes(100))
    assert not isinstance(caught.value, InvalidTag)
