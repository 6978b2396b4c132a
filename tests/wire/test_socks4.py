"""SOCKS 4 and 4A messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import BadVersion, ProtocolError, Truncated
from gostpy.wire.address import BytesReader
from gostpy.wire.socks4 import CONNECT, Code, Refused, Reply, Request

REQUESTS = [
    pytest.param(Request(1, "127.0.0.1:19001"), "0401 4a39 7f000001 00", id="ipv4"),
    pytest.param(Request(1, "1.2.3.4:80", "bob"), "0401 0050 01020304 626f6200", id="user"),
    pytest.param(Request(1, "a.bc:80", "", True), "0401 0050 00000001 00 612e626300", id="name"),
    pytest.param(
        Request(1, "127.0.0.1:80", "u", True),
        "0401 0050 00000001 7500 3132372e302e302e3100",
        id="address as a name, as gost's connector writes it",
    ),
    pytest.param(Request(2, "0.0.0.0:1"), "0402 0001 00000000 00", id="bind"),
    pytest.param(Request(1, "[::1]:9", "", True), "0401 0009 00000001 00 3a3a3100", id="ipv6"),
]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(("message", "wire"), REQUESTS)
def test_requests_both_ways(message: Request, wire: str) -> None:
    data = unhex(wire)
    assert message.encode() == data
    reader = BytesReader(data + b"early")
    assert Request.read(reader) == message
    assert reader.rest == b"early"
    for cut in range(len(data)):
        with pytest.raises(Truncated):
            Request.read(BytesReader(data[:cut]))


@pytest.mark.parametrize("code", [90, 91, 92, 93])
def test_replies(code: int) -> None:
    wire = bytes((0, code, 0, 0, 0, 0, 0, 0))
    assert Reply(code).encode() == wire
    reply = Reply.read(BytesReader(wire))
    assert reply == Reply(code)
    for cut in range(8):
        with pytest.raises(Truncated):
            Reply.read(BytesReader(wire[:cut]))
    if code == Code.GRANTED:
        reply.check()
    else:
        with pytest.raises(Refused) as caught:
            reply.check()
        assert caught.value.code == code


def test_bad_versions() -> None:
    with pytest.raises(BadVersion):
        Request.read(BytesReader(b"\5\1\0\0\0\0\0\0\0"))
    with pytest.raises(BadVersion):
        Reply.read(BytesReader(b"\4\x5a\0\0\0\0\0\0"))


def test_texts_are_bounded() -> None:
    with pytest.raises(ProtocolError):
        Request.read(BytesReader(b"\4\1\0\x50\1\2\3\4" + b"x" * 300 + b"\0"))
    with pytest.raises(ProtocolError):
        Request(CONNECT, "1.2.3.4:5", "x" * 256).encode()
    with pytest.raises(ProtocolError):
        Request(CONNECT, "1.2.3.4:5", "a\0b").encode()


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    for message in (Request, Reply):
        try:
            message.read(BytesReader(data))
        except ProtocolError:
            pass
