"""Snappy's framing format: against the specification, cut everywhere, and bombs."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gostpy.errors import MissingExtra, ProtocolError
from gostpy.wire.kcp.snappy import MARK, SnappyCodec, check_snappy

NOISE = random.Random(3).randbytes(150_000)
# "hello" as a plain chunk, as golang/snappy 0.0.4 writes it
HELLO = bytes.fromhex("01 09 00 00 bb 1f 1c 19 68 65 6c 6c 6f")


def unpacked(wire: bytes, step: int = 0) -> bytes:
    codec = SnappyCodec()
    step = step or max(len(wire), 1)
    return b"".join(bytes(codec.decode(wire[at : at + step])) for at in range(0, len(wire), step))


def test_first_write_on_the_wire() -> None:
    codec = SnappyCodec()
    assert codec.encode(b"hello") == MARK + HELLO
    assert codec.encode(b"hello") == HELLO
    assert codec.encode(b"") == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"x", id="byte"),
        pytest.param(bytes(300_000), id="zeros"),
        pytest.param(NOISE, id="noise"),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1348, 70_000])
def test_both_ways(data: bytes, step: int) -> None:
    codec = SnappyCodec()
    wire = bytes(codec.encode(data)) + bytes(codec.encode(data[:10]))
    if step == 1:
        wire = bytes(SnappyCodec().encode(data[:3000])) + bytes(codec.encode(data[:10]))
        data = data[:3000]
    assert unpacked(wire, step) == data + data[:10]


def test_chunks_to_be_skipped_and_repeated_marks() -> None:
    skipped = b"\x80\x03\x00\x00abc" + b"\xfe\x02\x00\x00\0\0"
    assert unpacked(MARK + skipped + HELLO + MARK + HELLO) == b"hellohello"


BROKEN = [
    pytest.param(HELLO, id="no-mark"),
    pytest.param(MARK[:-1] + b"z" + HELLO, id="wrong-mark"),
    pytest.param(MARK + b"\x02\x03\x00\x00abc", id="unknown-chunk"),
    pytest.param(MARK + HELLO[:4] + b"\0\0\0\0hello", id="wrong-checksum"),
    pytest.param(MARK + b"\x01\x03\x00\x00abc", id="no-room-for-a-checksum"),
    pytest.param(MARK + b"\x00\xff\xff\xff", id="16-MiB"),
    pytest.param(MARK + b"\xfe\xff\xff\xff", id="16-MiB-to-skip"),
    pytest.param(MARK + b"\x00\x06\x00\x00\0\0\0\0\x05\x00", id="nothing-in-it"),
    pytest.param(MARK + b"\x00\x0a\x00\x00\0\0\0\0" + b"\xff\xff\xff\xff\x0f\x00", id="4-GiB"),
    pytest.param(MARK + b"\x01\x05\x00\x01\0\0\0\0" + bytes(65537), id="more-than-64-KiB"),
    pytest.param(MARK + b"\x00\x09\x00\x00\0\0\0\0" + b"\x81\x80\x04ab", id="65537-packed"),
]


@pytest.mark.parametrize("wire", BROKEN)
def test_broken_streams(wire: bytes) -> None:
    for step in (1, 3, len(wire)):
        with pytest.raises(ProtocolError):
            unpacked(wire, step)


def test_unfinished_chunks_are_kept_in_bounds() -> None:
    codec = SnappyCodec()
    codec.decode(MARK + b"\x00\x00\x00\x01")
    for _ in range(60):
        assert codec.decode(bytes(1000)) == b""
    assert len(codec._part) < 80_000


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage(wire: bytes) -> None:
    for stream in (wire, MARK + wire, MARK + b"\x00" + wire):
        try:
            unpacked(stream)
        except ProtocolError:
            pass


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cramjam", None)
    with pytest.raises(MissingExtra, match=r"gostpy\[kcp\]"):
        check_snappy()
