"""SOCKS 5 messages, with gost's extensions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import BadVersion, ProtocolError, Truncated
from gostpy.wire.address import BytesReader
from gostpy.wire.socks5 import (
    Command,
    Greeting,
    Method,
    Refused,
    Reply,
    Request,
    UserPass,
    choice,
    datagram,
    read_choice,
    read_datagram,
    read_user_status,
    user_status,
)

# captured between a real client and server; see docs/socks.md
MESSAGES = [
    pytest.param(Greeting(b"\x00\x80"), "05 02 00 80", id="greeting"),
    pytest.param(Greeting(b"\x00\x02\x80\x82"), "05 04 00 02 80 82", id="greeting with user"),
    pytest.param(UserPass("u", "pw"), "01 01 75 02 7077", id="user"),
    pytest.param(UserPass("u", ""), "01 01 75 00", id="empty password"),
    pytest.param(
        Request(Command.CONNECT, "127.0.0.1:19001"), "05 01 00 01 7f000001 4a39", id="connect"
    ),
    pytest.param(Request(Command.CONNECT, "a.b:80"), "05 01 00 03 03 612e62 0050", id="name"),
    pytest.param(
        Request(Command.CONNECT, "[::1]:80"), "05 01 00 04" + "00" * 15 + "01 0050", id="ipv6"
    ),
    pytest.param(Request(Command.UDP_TUNNEL), "05 f3 00 01 00000000 0000", id="udp tunnel"),
    pytest.param(
        Request(Command.MUX_BIND, "127.0.0.1:18330"), "05 f2 00 01 7f000001 479a", id="mux bind"
    ),
    pytest.param(Reply(), "05 00 00 01 00000000 0000", id="success"),
    pytest.param(Reply(0, "[::]:44641"), "05 00 00 04" + "00" * 16 + "ae61", id="udp bound"),
]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(("message", "wire"), MESSAGES)
def test_both_ways(message: Greeting | UserPass | Request | Reply, wire: str) -> None:
    data = unhex(wire)
    assert message.encode() == data
    reader = BytesReader(data + b"early")
    assert type(message).read(reader) == message
    assert reader.rest == b"early"
    for cut in range(len(data)):
        with pytest.raises(Truncated):
            type(message).read(BytesReader(data[:cut]))


@pytest.mark.parametrize("rep", [1, 2, 3, 7, 99])
def test_refusals_need_no_address(rep: int) -> None:
    assert Reply(rep).encode() == bytes((5, rep, 0, 1, 0, 0, 0, 0, 0, 0))
    with pytest.raises(Refused) as caught:
        Reply.read(BytesReader(bytes((5, rep, 0))))
    assert caught.value.rep == rep


BAD = [
    pytest.param(Greeting, b"\4\1\0", BadVersion, id="greeting version"),
    pytest.param(Greeting, b"\5\0", ProtocolError, id="no method"),
    pytest.param(UserPass, b"\5\1u\1p", BadVersion, id="user version"),
    pytest.param(Request, b"\4\1\0\1\0\0\0\0\0\0", BadVersion, id="request version"),
    pytest.param(Request, b"\5\1\0\2\0\0\0\0\0\0", ProtocolError, id="address type"),
    pytest.param(Reply, b"\1\0\0\1\0\0\0\0\0\0", BadVersion, id="reply version"),
]


@pytest.mark.parametrize(("message", "wire", "error"), BAD)
def test_bad(
    message: type[Greeting] | type[UserPass] | type[Request] | type[Reply],
    wire: bytes,
    error: type[ProtocolError],
) -> None:
    with pytest.raises(error):
        message.read(BytesReader(wire))


def test_choice_and_status() -> None:
    assert choice(Method.TLS) == b"\x05\x80"
    assert read_choice(BytesReader(b"\x05\x82")) == Method.TLS_USER
    with pytest.raises(BadVersion):
        read_choice(BytesReader(b"\x04\x00"))
    assert user_status(1) == b"\x01\x01"
    assert read_user_status(BytesReader(b"\x05\x00")) == 0


def test_datagrams() -> None:
    wire = unhex("000000 01 7f000001 4a39 6162")
    assert datagram(b"ab", "127.0.0.1:19001") == wire
    assert read_datagram(wire) == (b"ab", "127.0.0.1:19001")
    assert read_datagram(b"\0\0\7" + wire[3:]) == (b"ab", "127.0.0.1:19001")  # FRAG is ignored
    for cut in range(10):
        with pytest.raises(Truncated):
            read_datagram(wire[:cut])


def test_texts_are_bounded_and_hidden() -> None:
    with pytest.raises(ProtocolError):
        UserPass("u" * 256, "").encode()
    assert "secret" not in repr(UserPass("u", "secret"))


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    for read in (Greeting.read, UserPass.read, Request.read, Reply.read, read_choice):
        try:
            read(BytesReader(data))
        except ProtocolError:
            pass
    try:
        read_datagram(data)
    except ProtocolError:
        pass
