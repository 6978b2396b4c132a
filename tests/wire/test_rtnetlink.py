"""Messages of rtnetlink, by hand."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.rtnetlink import add_address, read_answer, replace_route, set_link


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        size, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:size]
        data = data[(size + 3) // 4 * 4 :]
    return found


def head(message: bytes) -> tuple[int, int]:
    """(type, flags), after a look at the length."""
    size, kind, flags = struct.unpack_from("=IHH", message)
    assert size == len(message) and not size % 4
    return kind, flags


def test_link() -> None:
    message = set_link(7, mtu=1280)
    assert head(message) == (16, 5)
    assert struct.unpack_from("=BxHiII", message, 16) == (0, 0, 7, 1, 1)
    assert attributes(message[32:]) == {4: struct.pack("=I", 1280)}


@pytest.mark.parametrize(
    ("text", "family", "broadcast"),
    [
        ("10.1.0.5/24", 2, bytes([10, 1, 0, 255])),
        ("10.1.0.5/32", 2, None),
        ("fd00::5/64", 10, None),
    ],
)
def test_address(text: str, family: int, broadcast: bytes | None) -> None:
    address = ipaddress.ip_interface(text)
    message = add_address(9, address)
    assert head(message) == (20, 5 | 0x600)
    assert message[16] == family and message[17] == address.network.prefixlen
    found = attributes(message[24:])
    assert found[1] == found[2] == address.ip.packed
    assert found.get(4) == broadcast


@pytest.mark.parametrize("gateway", [b"", bytes([10, 1, 0, 1])])
def test_route(gateway: bytes) -> None:
    message = replace_route(ipaddress.ip_network("10.2.0.0/16"), gateway, 0 if gateway else 9)
    assert head(message) == (24, 5 | 0x500)
    assert message[16:18] == bytes([2, 16])
    expected = {1: bytes([10, 2, 0, 0])}
    expected |= {5: gateway} if gateway else {4: struct.pack("=I", 9)}
    assert attributes(message[28:]) == expected


def test_answers() -> None:
    assert read_answer(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, 0) + bytes(16)) == 0
    assert read_answer(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -17) + bytes(16)) == 17


@given(st.binary(max_size=60))
def test_garbage(data: bytes) -> None:
    try:
        read_answer(data)
    except ProtocolError:
        pass
