"""Packets in fragments: put together in any order, bounded, never raising."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.wire import ip
from gostpy.wire.fragments import MOST_PACKETS, PATIENCE, Reassembly
from tests.wire.test_ip import A4, A6, B4, B6, packet

PAYLOAD = struct.pack(">HHHH", 5, 6, 3008, 0) + bytes(range(250)) * 12


def fragments(source: bytes, target: bytes, identity: int = 7, size: int = 800) -> list[bytes]:
    """PAYLOAD as UDP, in pieces."""
    pieces = [(at, PAYLOAD[at : at + size]) for at in range(0, len(PAYLOAD), size)]
    found = []
    for at, piece in pieces:
        more = at + len(piece) < len(PAYLOAD)
        if len(source) == 4:
            wire = bytearray(packet(source, target, 17, piece))
            struct.pack_into(">HH", wire, 4, identity, at // 8 | more << 13)
        else:
            head = struct.pack(">BxHI", 17, at | more, identity)
            wire = bytearray(packet(source, target, 44, head + piece))
        found.append(bytes(wire))
    return found


def add(reassembly: Reassembly, wire: bytes, now: float = 0.0) -> bytes | None:
    parsed = ip.parse(wire)
    assert parsed is not None and parsed.fragment
    return reassembly.add(parsed, wire, now)


@pytest.mark.parametrize(("source", "target"), [(A4, B4), (A6, B6)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 3, 0, 2]])
def test_any_order(source: bytes, target: bytes, order: list[int]) -> None:
    reassembly, pieces = Reassembly(), fragments(source, target)
    results = [add(reassembly, pieces[index]) for index in order]
    assert results[:-1] == [None] * (len(order) - 1)
    whole = results[-1]
    assert whole is not None and len(reassembly) == 0
    parsed = ip.parse(whole)
    assert parsed is not None and not parsed.fragment
    assert ip.udp_payload(whole, parsed) == (5, 6, PAYLOAD[8:])
    if len(source) == 4:
        assert ip.word_sum(whole[:20]) == 0


def test_overlap_spoils() -> None:
    reassembly, pieces = Reassembly(), fragments(A4, B4)
    other = fragments(A4, B4, size=400)
    assert add(reassembly, pieces[0]) is None
    assert add(reassembly, other[1]) is None
    assert add(reassembly, pieces[2]) is None
    assert add(reassembly, pieces[3]) is None
    assert add(reassembly, pieces[1]) is None
    assert len(reassembly) <= 1


def test_changed_piece_spoils() -> None:
    reassembly, pieces = Reassembly(), fragments(A4, B4)
    add(reassembly, pieces[0])
    add(reassembly, pieces[0][:-1] + b"!")
    assert len(reassembly) == 0


def test_bounds() -> None:
    reassembly = Reassembly()
    for identity in range(MOST_PACKETS * 3):
        add(reassembly, fragments(A4, B4, identity)[0])
    assert len(reassembly) == MOST_PACKETS
    add(reassembly, fragments(A4, B4, 65000)[0], PATIENCE + 1)
    assert len(reassembly) == 1


def test_not_longer_than_a_packet() -> None:
    """Ping of death: the last fragment ends behind the 65535th byte."""
    reassembly = Reassembly()
    wire = bytearray(packet(A4, B4, 1, bytes(1000)))
    struct.pack_into(">HH", wire, 4, 7, 0x1FFF)
    assert add(reassembly, bytes(wire)) is None
    assert len(reassembly) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300), st.booleans()), max_size=30))
def test_whatever_comes(pieces: list[tuple[int, int, bool]]) -> None:
    reassembly = Reassembly()
    for offset, size, more in pieces:
        wire = bytearray(packet(A4, B4, 17, bytes(size)))
        struct.pack_into(">HH", wire, 4, 7, offset * 8 | more << 13)
        parsed = ip.parse(bytes(wire))
        if parsed is not None:
            whole = reassembly.add(parsed, bytes(wire), 0.0)
            assert whole is None or ip.parse(whole) is not None
