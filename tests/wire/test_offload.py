"""Large TCP packets: taken apart and put together again, and nothing else is touched."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.wire import ip
from gostpy.wire.offload import HEADER, Coalescer, split
from tests.wire.test_ip import A4, A6, B4, B6, packet, sums_up

FAMILIES = [pytest.param(A4, B4, 20, 1, id="ipv4"), pytest.param(A6, B6, 40, 4, id="ipv6")]
OPTIONS = bytes([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])


def segment(
    source: bytes, target: bytes, number: int, text: bytes, flags: int = 0x10, options: bytes = b""
) -> bytes:
    """One TCP segment with its checksum."""
    offset = (20 + len(options)) << 2
    body = struct.pack(">HHIIBBHHH", 5, 6, number, 9, offset, flags, 512, 0, 0) + options + text
    total = ip.pseudo_sum(source, target, 6, len(body)) + ip.word_sum(body)
    return packet(source, target, 6, body[:16] + struct.pack(">H", ip.checksum(total)) + body[18:])


def large(source: bytes, target: bytes, kind: int, size: int, text: bytes, flags: int) -> bytes:
    """A frame as the system hands it over: unfinished checksum, one header."""
    at = 20 if kind == 1 else 40
    wire = bytearray(segment(source, target, 0xFFFFFF00, text, flags, OPTIONS))
    partial = ip.pseudo_sum(source, target, 6, len(wire) - at) % 65535
    struct.pack_into(">H", wire, at + 16, partial)
    return struct.pack("=BBHHHH", 1, kind, at + 32, size, at, 16) + bytes(wire)


def is_right(data: bytes) -> bool:
    parsed = ip.parse(data)
    assert parsed is not None and parsed.end == len(data)
    if parsed.version == 4 and ip.word_sum(data[:20]):
        return False
    return sums_up(data[parsed.start :], parsed.source, parsed.target, 6)


@pytest.mark.parametrize(("source", "target", "at", "kind"), FAMILIES)
@pytest.mark.parametrize("size", [1, 333, 500, 4000])
def test_taken_apart(source: bytes, target: bytes, at: int, kind: int, size: int) -> None:
    text = bytes(range(251)) * 5
    found = split(memoryview(bytearray(large(source, target, kind, size, text, 0x19))))
    assert len(found) == -(-len(text) // size)
    joined = b""
    for number, one in enumerate(found):
        assert is_right(one)
        assert struct.unpack_from(">I", one, at + 4)[0] == (0xFFFFFF00 + len(joined)) % (1 << 32)
        last = number == len(found) - 1
        assert one[at + 13] == (0x19 if last else 0x10)  # FIN and PSH belong to the last
        assert one[at + 20 : at + 32] == OPTIONS
        joined += one[at + 32 :]
    assert joined == text


@pytest.mark.parametrize(("source", "target", "at", "kind"), FAMILIES)
def test_small_packets(source: bytes, target: bytes, at: int, kind: int) -> None:
    whole = segment(source, target, 1, b"text")
    assert split(memoryview(bytearray(bytes(HEADER) + whole))) == [whole]
    wire = bytearray(whole)
    partial = ip.pseudo_sum(source, target, 6, len(wire) - at) % 65535
    struct.pack_into(">H", wire, at + 16, partial)
    head = struct.pack("=BBHHHH", 1, 0, 0, 0, at, 16)
    (found,) = split(memoryview(bytearray(head + wire)))
    assert found == whole


def collected(packets: list[bytes]) -> list[bytes]:
    """The frames that a caller writes for these packets."""
    coalescer, frames = Coalescer(), []
    for one in packets:
        if coalescer.add(one):
            continue
        frames.append(coalescer.take())
        if not coalescer.add(one):
            frames.append(bytes(HEADER) + one)
    frames.append(coalescer.take())
    return [frame for frame in frames if frame]


def taken_apart(frames: list[bytes]) -> list[bytes]:
    return [one for frame in frames for one in split(memoryview(bytearray(frame)))]


@pytest.mark.parametrize(("source", "target", "at", "kind"), FAMILIES)
def test_put_together(source: bytes, target: bytes, at: int, kind: int) -> None:
    text = bytes(range(251)) * 20
    packets = split(memoryview(bytearray(large(source, target, kind, 700, text, 0x18))))
    (frame,) = collected(packets)
    flags, found, head, size, start, offset = struct.unpack_from("=BBHHHH", frame)
    assert (flags, found, head, size, start, offset) == (1, kind, at + 32, 700, at, 16)
    assert frame[HEADER + at + 32 :] == text
    assert taken_apart([frame]) == packets


OTHERS = [
    pytest.param(segment(A4, B4, 1005, b"gap"), id="gap"),
    pytest.param(segment(A4, B4, 1003, b"longer"), id="longer"),
    pytest.param(segment(A4, B4, 1003, b"abc", options=OPTIONS), id="options"),
    pytest.param(segment(A4, A4, 1003, b"abc"), id="address"),
    pytest.param(segment(A4, B4, 1003, b"abc", flags=0x11), id="fin"),
    pytest.param(segment(A4, B4, 1003, b"abc", flags=0x30), id="urgent"),
    pytest.param(segment(A4, B4, 1003, b""), id="ack"),
    pytest.param(segment(A4, B4, 1003, b"abc")[:-1] + b"!", id="checksum"),
    pytest.param(packet(A4, B4, 17, b"\0\5\0\6\0\x0b\0\0abc"), id="udp"),
    pytest.param(segment(A6, B6, 1003, b"abc"), id="family"),
]


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_not_alike_stays_alone(other: bytes) -> None:
    """And in order."""
    packets = [segment(A4, B4, 1000, b"abc"), other, segment(A4, B4, 1003, b"abc")]
    assert taken_apart(collected(packets)) == packets
    assert len(collected(packets)) == 3


def test_a_short_or_pushed_segment_is_the_last() -> None:
    packets = [
        segment(A4, B4, 1000, b"abc"),
        segment(A4, B4, 1003, b"ab"),
        segment(A4, B4, 1005, b"ab", 0x18),
        segment(A4, B4, 1007, b"ab"),
    ]
    frames = collected(packets)
    assert len(frames) == 3
    assert [one[20:24] + one[40:] for one in taken_apart(frames)] == [
        one[20:24] + one[40:] for one in packets
    ]


def test_bounded() -> None:
    packets = [segment(A4, B4, 1400 * n, bytes(1400)) for n in range(200)]
    frames = collected(packets)
    assert all(len(frame) <= 65535 for frame in frames)
    assert [one[40:] for one in taken_apart(frames)] == [one[40:] for one in packets]


@given(st.binary(max_size=120))
def test_garbage(data: bytes) -> None:
    coalescer = Coalescer()
    for first in (b"", b"\x45", b"\x60", segment(A4, B4, 1, b"abc")):
        coalescer.add(first + data)
        coalescer.take()


@given(st.data())
def test_bent(draw: st.DataObject) -> None:
    """A packet with a wrong byte is never made right by being put together."""
    first, second = segment(A4, B4, 1000, b"abcd"), bytearray(segment(A4, B4, 1004, b"abcd"))
    at = draw.draw(st.integers(0, len(second) - 1))
    second[at] ^= draw.draw(st.integers(1, 255))
    frames = collected([first, bytes(second)])
    assert [bytes(HEADER) + first, bytes(HEADER) + bytes(second)] == frames
