"""IP packets: read, answered, never raising, whatever arrives."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.wire import ip

A4, B4 = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
A6, B6 = socket.inet_pton(10, "fd00::1"), socket.inet_pton(10, "fd00::2")
PAIRS = [pytest.param(A4, B4, id="ipv4"), pytest.param(A6, B6, id="ipv6")]


def packet(source: bytes, target: bytes, protocol: int, body: bytes) -> bytes:
    """A packet made the long way."""
    if len(source) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, protocol, 0)
        head += source + target
        code = ip.checksum(ip.word_sum(head))
        return head[:10] + struct.pack(">H", code) + head[12:] + body
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + source + target + body


def sums_up(data: bytes, source: bytes, target: bytes, protocol: int) -> bool:
    """Whether the checksum in a payload is right, added up word by word."""
    if protocol != ip.ICMP:
        data = source + target + struct.pack(">II", len(data), protocol) + data
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_parts(source: bytes, target: bytes) -> None:
    wire = packet(source, target, 17, struct.pack(">HHHH", 5, 6, 11, 0) + b"abc") + b"padding"
    assert ip.addresses(wire) == (source, target)
    parsed = ip.parse(wire)
    assert parsed is not None
    assert (parsed.source, parsed.target, parsed.protocol) == (source, target, 17)
    assert not parsed.fragment
    assert ip.udp_payload(wire, parsed) == (5, 6, b"abc")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_cut_anywhere(source: bytes, target: bytes) -> None:
    wire = packet(source, target, 17, struct.pack(">HHHH", 5, 6, 11, 0) + b"abc")
    for cut in range(len(wire)):
        assert ip.parse(wire[:cut]) is None


def test_extension_headers_are_passed_over() -> None:
    options = bytes([43, 0]) + bytes(6) + bytes([17, 1]) + bytes(14)
    wire = packet(A6, B6, 0, options + struct.pack(">HHHH", 1, 2, 8, 0))
    parsed = ip.parse(wire)
    assert parsed is not None
    assert ip.udp_payload(wire, parsed) == (1, 2, b"")


def test_too_many_extension_headers() -> None:
    assert ip.parse(packet(A6, B6, 60, (bytes([60, 0]) + bytes(6)) * 9)) is None


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("payload", [b"", b"x", b"hello world", bytes(1000)])
def test_echo(source: bytes, target: bytes, payload: bytes) -> None:
    protocol, kind, answer = (1, 8, 0) if len(source) == 4 else (58, 128, 129)
    wire = packet(source, target, protocol, bytes([kind, 0, 0, 0, 1, 2, 3, 4]) + payload)
    parsed = ip.parse(wire)
    assert parsed is not None
    reply = ip.echo_reply(wire, parsed)
    assert reply is not None
    back = ip.parse(reply)
    assert back is not None
    assert (back.source, back.target) == (target, source)
    body = reply[back.start :]
    assert body[0] == answer and body[4:] == bytes([1, 2, 3, 4]) + payload
    assert sums_up(body, target, source, protocol)


def test_other_icmp_is_not_answered() -> None:
    for body in (bytes([0, 0]) + bytes(6), bytes([3, 1]) + bytes(30), bytes([8, 0, 0, 0])):
        wire = packet(A4, B4, 1, body)
        parsed = ip.parse(wire)
        assert parsed is not None and ip.echo_reply(wire, parsed) is None


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_udp_checksum_is_that_of_the_pseudo_header(source: bytes, target: bytes) -> None:
    wire = ip.udp_packet(source, target, (53, 4000), b"answer!")
    parsed = ip.parse(wire)
    assert parsed is not None
    assert ip.udp_payload(wire, parsed) == (53, 4000, b"answer!")
    body = bytearray(wire[parsed.start :])
    total = ip.word_sum(bytes(body))  # what a device with offload does
    struct.pack_into(">H", body, 6, ip.checksum(total))
    assert sums_up(bytes(body), source, target, 17)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [(0x02, (0, 1001, 0x14)), (0x18, (77, 0, 0x04)), (0x11, (77, 0, 0x04)), (0x04, None)],
    ids=["syn", "data", "fin", "rst"],
)
def test_resets(
    source: bytes, target: bytes, flags: int, expected: tuple[int, int, int] | None
) -> None:
    body = struct.pack(">HHIIBBHHH", 9, 80, 1000, 77, 0x50, flags, 1, 0, 0)
    wire = packet(source, target, 6, body)
    parsed = ip.parse(wire)
    assert parsed is not None
    reply = ip.reset_for(wire, parsed)
    if expected is None:
        assert reply is None
        return
    assert reply is not None
    back = ip.parse(reply)
    assert back is not None
    found = struct.unpack_from(">HHIIBB", reply, back.start)
    assert found[:4] == (80, 9, *expected[:2]) and found[5] == expected[2]
    assert sums_up(reply[back.start :], target, source, 6)


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    _all_of_it(data)


@given(st.sampled_from([A4, A6]), st.integers(0, 255), st.binary(max_size=100), st.data())
def test_bent_packets(source: bytes, protocol: int, body: bytes, draw: st.DataObject) -> None:
    wire = bytearray(packet(source, source, protocol, body))
    wire[draw.draw(st.integers(0, len(wire) - 1))] = draw.draw(st.integers(0, 255))
    _all_of_it(bytes(wire))


def _all_of_it(data: bytes) -> None:
    ip.addresses(data)
    parsed = ip.parse(data)
    if parsed is not None:
        assert parsed.start <= parsed.end <= len(data)
        ip.udp_payload(data, parsed)
        ip.echo_reply(data, parsed)
        ip.reset_for(data, parsed)


def test_packed_address() -> None:
    assert ip.packed_address(bytes(10) + b"\xff\xff" + A4) == A4
    assert ip.packed_address(A6) == A6
