"""Relay messages, byte for byte as a real client and server exchange them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import BadVersion, ProtocolError, Truncated
from gostpy.wire.address import BytesReader
from gostpy.wire.relay import (
    BIND,
    CONNECT,
    UDP,
    Address,
    ClientCodec,
    Network,
    Refused,
    Request,
    Response,
    Status,
    Tunnel,
    UserAuth,
)

AUTH = UserAuth("u", "pw")
TARGET = Address("127.0.0.1:19001")

# captured between a real client and server; see docs/relay.md
REQUESTS = [
    pytest.param(
        Request(CONNECT, 0, (AUTH, TARGET)),
        "01010012 0100050175027077 020007017f0000014a39",
        id="connect",
    ),
    pytest.param(
        Request(CONNECT, UDP, (Network("udp"), AUTH, TARGET)),
        "01810017 0400020001 0100050175027077 020007017f0000014a39",
        id="udp connect",
    ),
    pytest.param(
        Request(BIND, UDP, (AUTH, Network("udp"), Address(":0"))),
        "01820014 0100050175027077 0400020001 020004 03000000",
        id="udp association",
    ),
    pytest.param(
        Request(BIND, 0, (AUTH, Network("tcp"), Address("127.0.0.1:18120"))),
        "01020017 0100050175027077 0400020000 020007 017f000001 46c8",
        id="bind",
    ),
    pytest.param(
        Request(BIND, UDP, (AUTH, Network("udp"), Address("127.0.0.1:18121"))),
        "01820017 0100050175027077 0400020001 020007 017f000001 46c9",
        id="udp bind",
    ),
    pytest.param(Request(CONNECT), "01010000", id="forward mode, no features"),
    pytest.param(
        Request(CONNECT, 0, (Tunnel(bytes(range(16)), 0x80, 7), Address("a.b:1"))),
        "01010021 030014 000102030405060708090a0b0c0d0e0f 80000007 020007 0303612e62 0001",
        id="tunnel",
    ),
]

RESPONSES = [
    pytest.param(Response(), "01000000", id="ok"),
    pytest.param(Response(Status.UNAUTHORIZED), "01020000", id="wrong password"),
    pytest.param(Response(Status.NETWORK_UNREACHABLE), "01070000", id="target refused"),
    pytest.param(Response(Status.FORBIDDEN), "01030000", id="bypassed or bind disabled"),
    pytest.param(Response(Status.HOST_UNREACHABLE), "01060000", id="dead forward target"),
    pytest.param(
        Response(0, (Address("127.0.0.1:18120"),)), "0100000a 020007 017f000001 46c8", id="bound"
    ),
    pytest.param(
        Response(0, (Address("[::]:52492"),)),
        "01000016 020013 04" + "00" * 16 + "cd0c",
        id="association",
    ),
]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(("message", "wire"), REQUESTS)
def test_requests_both_ways(message: Request, wire: str) -> None:
    data = unhex(wire)
    assert message.encode() == data
    reader = BytesReader(data + b"payload")
    assert Request.read(reader) == message
    assert reader.rest == b"payload"
    for cut in range(len(data)):
        with pytest.raises(Truncated):
            Request.read(BytesReader(data[:cut]))


@pytest.mark.parametrize(("message", "wire"), RESPONSES)
def test_responses_both_ways(message: Response, wire: str) -> None:
    data = unhex(wire)
    assert message.encode() == data
    assert Response.read(BytesReader(data)) == message
    for cut in range(len(data)):
        with pytest.raises(Truncated):
            Response.read(BytesReader(data[:cut]))


BAD = [
    pytest.param("02010000", BadVersion, id="version 2"),
    pytest.param("01010003 050000", ProtocolError, id="unknown feature"),
    pytest.param("01010004 02000105", ProtocolError, id="address type 5"),
    pytest.param("01010007 020004 017f0000", ProtocolError, id="short address"),
    pytest.param("01010004 04000100", ProtocolError, id="short network"),
    pytest.param("01010005 0300020000", ProtocolError, id="short tunnel id"),
    pytest.param("01010006 010003 056100", ProtocolError, id="short user"),
    pytest.param("01010002 0100", ProtocolError, id="cut feature header"),
]


@pytest.mark.parametrize(("wire", "error"), BAD)
def test_bad_requests(wire: str, error: type[ProtocolError]) -> None:
    with pytest.raises(error):
        Request.read(BytesReader(unhex(wire)))


def test_facts_of_a_request() -> None:
    request = Request.read(
        BytesReader(
            Request(
                0, 0, (UserAuth("a", "b"), Address("x:1"), AUTH, Network("unix"), Address("y:2"))
            ).encode()
        )
    )
    assert request.command == CONNECT
    assert request.credentials == ("u", "pw")
    assert request.network == "unix"
    assert request.addresses == ["x:1", "y:2"]
    assert request.tunnel is None
    assert Request(CONNECT, UDP, (Network("tcp"),)).network == "udp"
    assert Request(CONNECT).credentials == ("", "")


def test_unknown_network_is_tcp() -> None:
    assert Request.read(BytesReader(unhex("01010005 0400020099"))).network == "tcp"


def test_passwords_stay_out_of_repr() -> None:
    assert "pw" not in repr(Request(CONNECT, 0, (AUTH,)))


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for message in (Request, Response):
        try:
            message.read(BytesReader(data))
        except ProtocolError:
            pass


def exchange(codec: ClientCodec, stream: bytes, cut: int) -> bytes:
    return bytes(codec.decode(stream[:cut])) + bytes(codec.decode(stream[cut:]))


def test_codec_rides_and_takes_the_reply_off() -> None:
    request = Request(CONNECT, 0, (AUTH, TARGET)).encode()
    for cut in range(10):
        codec = ClientCodec(request)
        assert codec.held
        assert codec.encode(b"hello") == request + b"hello"
        assert not codec.held
        assert codec.encode(b"more") == b"more"
        assert exchange(codec, b"\x01\x00\x00\x00hello", cut) == b"hello"
        assert codec.decode(b"next") == b"next"


def test_codec_reply_with_features() -> None:
    reply = Response(0, (Address("1.2.3.4:5"),)).encode()
    for cut in range(len(reply) + 1):
        assert exchange(ClientCodec(b""), reply + b"x", cut) == b"x"


@pytest.mark.parametrize("status", range(1, 10))
def test_codec_refused(status: int) -> None:
    with pytest.raises(Refused, match=str(status)) as caught:
        ClientCodec(b"").decode(bytes((1, status, 0, 0)))
    assert caught.value.status == status


def test_codec_bad_version_at_the_first_byte() -> None:
    with pytest.raises(BadVersion):
        ClientCodec(b"").decode(b"H")


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_codec_any_bytes(pieces: list[bytes]) -> None:
    codec = ClientCodec(b"request")
    try:
        for piece in pieces:
            codec.decode(piece)
    except ProtocolError:
        pass
