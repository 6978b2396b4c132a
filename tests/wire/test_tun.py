"""Registrations of tun clients."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.tun import (
    MOST_ADDRESSES,
    Registration,
    acknowledgement,
    is_acknowledgement,
    is_registration,
)

V4, V6 = socket.inet_aton("10.0.0.2"), socket.inet_pton(10, "fd00::2")
MAPPED = bytes(10) + b"\xff\xff" + V4

CASES = [
    pytest.param(Registration(b"", (V4,)), b"GOST" + bytes(16) + MAPPED, id="ipv4"),
    pytest.param(
        Registration(b"secret", (V6, V4)), b"GOSTsecret" + bytes(10) + V6 + MAPPED, id="both"
    ),
    pytest.param(Registration(b"k" * 16, (V6,)), b"GOST" + b"k" * 16 + V6, id="full-key"),
]


@pytest.mark.parametrize(("message", "wire"), CASES)
def test_both_ways(message: Registration, wire: bytes) -> None:
    assert message.encode() == wire
    assert is_registration(wire)
    assert Registration.read(wire) == message
    for cut in range(len(wire)):
        if cut > 20 and (cut - 20) % 16 == 0:
            continue  # shorter, and as good
        with pytest.raises(ProtocolError):
            Registration.read(wire[:cut])


def test_long_passphrase_is_cut() -> None:
    assert Registration(b"0123456789abcdefgh", (V4,)).encode()[4:20] == b"0123456789abcdef"


def test_too_many_addresses() -> None:
    with pytest.raises(ProtocolError):
        Registration.read(b"GOST" + bytes(16) + MAPPED * (MOST_ADDRESSES + 1))


def test_passphrase_is_not_shown() -> None:
    assert "secret" not in repr(Registration(b"secret", (V4,)))


@pytest.mark.parametrize(("host", "wire"), [("10.0.0.2", MAPPED), ("fd00::2%eth0", V6)])
def test_acknowledgement(host: str, wire: bytes) -> None:
    assert acknowledgement(host) == b"GOST" + wire
    assert is_acknowledgement(acknowledgement(host))
    assert not is_registration(acknowledgement(host))


@given(st.binary(max_size=100), st.booleans())
def test_garbage(data: bytes, magic: bool) -> None:
    try:
        Registration.read(b"GOST" + data if magic else data)
    except ProtocolError:
        pass
