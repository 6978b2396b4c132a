"""Frames, settings, header blocks and datagrams of HTTP/3; what MASQUE asks for."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.http3 import (
    DATA,
    HEADER_LIMIT,
    HEADERS,
    NOT_IN_CONTROL,
    NOT_IN_REQUESTS,
    SETTINGS,
    FrameReader,
    HeaderCodec,
    Http3Error,
    frame,
    read_integer,
    read_settings,
    settings,
    varint,
)
from gostpy.wire.masque import payload_of, target_of, target_path

REQUEST = frozenset({HEADERS})


@pytest.mark.parametrize(
    ("value", "data"),
    [
        pytest.param(0, "00", id="zero"),
        pytest.param(37, "25", id="one byte"),
        pytest.param(15293, "7bbd", id="two bytes"),
        pytest.param(494878333, "9d7f3e7d", id="four bytes"),
        pytest.param(151288809941952652, "c2197c5eff14e88c", id="eight bytes"),
    ],
)
def test_integers(value: int, data: str) -> None:
    """The examples of RFC 9000, appendix A.1."""
    wire = bytes.fromhex(data)
    assert varint(value) == wire
    assert read_integer(b"x" + wire, 1) == (value, 1 + len(wire))
    for cut in range(len(wire)):
        assert read_integer(wire[:cut]) == (0, 0)


@given(st.integers(0, (1 << 62) - 1))
def test_any_integer(value: int) -> None:
    assert read_integer(varint(value)) == (value, len(varint(value)))


def joined(found: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Parts of one kind that follow each other, put together."""
    made: list[tuple[int, bytes]] = []
    for kind, part in found:
        if kind == DATA and made and made[-1][0] == DATA:
            made[-1] = (kind, made[-1][1] + bytes(part))
        else:
            made.append((kind, bytes(part)))
    return made


WIRE = frame(HEADERS, b"head") + frame(DATA, b"one") + frame(0x21, b"skipped") + frame(HEADERS)
FRAMES = [(HEADERS, b"head"), (DATA, b"one"), (HEADERS, b"")]


def test_frames_at_once_and_in_pieces() -> None:
    assert joined(FrameReader(REQUEST, DATA).feed(WIRE)) == FRAMES
    for size in range(1, len(WIRE)):
        reader = FrameReader(REQUEST, DATA)
        found = []
        for at in range(0, len(WIRE), size):
            found += reader.feed(WIRE[at : at + size])
        assert joined(found) == FRAMES
        assert not reader.partial


def test_every_cut_is_partial() -> None:
    ends = {0, 6, 11, 20}
    for cut in range(len(WIRE)):
        reader = FrameReader(REQUEST, DATA)
        reader.feed(WIRE[:cut])
        assert reader.partial == (cut not in ends)


@pytest.mark.parametrize("kind", sorted(NOT_IN_REQUESTS))
def test_frames_that_requests_do_not_have(kind: int) -> None:
    with pytest.raises(Http3Error):
        FrameReader(REQUEST, DATA, NOT_IN_REQUESTS).feed(frame(kind))


@pytest.mark.parametrize("kind", sorted(NOT_IN_CONTROL))
def test_frames_that_control_streams_do_not_have(kind: int) -> None:
    with pytest.raises(Http3Error):
        FrameReader(frozenset({SETTINGS}), -1, NOT_IN_CONTROL).feed(frame(kind))


def test_headers_are_bounded_by_their_length() -> None:
    reader = FrameReader(REQUEST, DATA)
    with pytest.raises(Http3Error):
        reader.feed(varint(HEADERS) + varint(HEADER_LIMIT + 1))


def test_frames_that_are_skipped_are_not_kept() -> None:
    reader = FrameReader(REQUEST, DATA)
    assert reader.feed(varint(0x4242) + varint(1 << 40)) == []
    assert reader.feed(bytes(1 << 20)) == []
    assert reader.partial


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_frames_or_an_error(pieces: list[bytes]) -> None:
    reader = FrameReader(REQUEST, DATA, NOT_IN_REQUESTS)
    with contextlib.suppress(ProtocolError):
        for piece in pieces:
            reader.feed(piece)


def test_settings() -> None:
    values = {6: 65536, 8: 1, 0x33: 1, 0x2B603742: 1}
    ((kind, payload),) = FrameReader(frozenset({SETTINGS})).feed(settings(values))
    assert kind == SETTINGS
    assert read_settings(payload) == values
    for cut in (1, 3, len(payload) - 1):
        with pytest.raises(Http3Error):
            read_settings(payload[:cut])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x06\x01\x06\x02", id="twice"),
        pytest.param(b"\x02\x00", id="of HTTP/2"),
        pytest.param(b"\x06", id="without a value"),
    ],
)
def test_bad_settings(payload: bytes) -> None:
    with pytest.raises(Http3Error):
        read_settings(payload)


@given(st.binary(max_size=60))
def test_any_settings(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        read_settings(payload)


def test_header_blocks() -> None:
    fields = [(":method", "GET"), (":path", "/a"), ("x-name", "v\xe4lue"), ("cookie", "secret")]
    codec = HeaderCodec()
    ((_, block),) = FrameReader(REQUEST).feed(codec.encode(0, fields))
    assert HeaderCodec().decode(0, bytes(block)) == fields


@given(st.binary(max_size=80))
def test_any_header_block(block: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        HeaderCodec().decode(4, block)


# -- MASQUE ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "path"),
    [
        pytest.param("192.0.2.6:443", "/.well-known/masque/udp/192.0.2.6/443/", id="IPv4"),
        pytest.param(
            "[2001:db8::42]:443", "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/", id="IPv6"
        ),
        pytest.param("target.test:53", "/.well-known/masque/udp/target.test/53/", id="name"),
    ],
)
def test_paths(address: str, path: str) -> None:
    """The examples of RFC 9298, section 3."""
    assert target_path(address) == path
    assert target_of(path) == address
    assert target_of(path.removesuffix("/")) == address


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/.well-known/masque/udp/",
        "/.well-known/masque/udp/a/",
        "/.well-known/masque/udp//53/",
        "/.well-known/masque/udp/a/0/",
        "/.well-known/masque/udp/a/65536/",
        "/.well-known/masque/udp/a/+1/",
        "/.well-known/masque/udp/a/1/2/",
        "/.well-known/masque/udp/%2F/1/",
        "/.well-known/masque/udp/a%0d/1/",
        "/.well-known/masque/udp/%ff/1/",
        "/.well-known/masque/tcp/a/1/",
    ],
)
def test_bad_paths(path: str) -> None:
    with pytest.raises(ProtocolError):
        target_of(path)


@given(st.text(max_size=40))
def test_any_path(text: str) -> None:
    with contextlib.suppress(ProtocolError):
        target_of("/.well-known/masque/udp/" + text)


def test_payloads() -> None:
    assert payload_of(b"\x00abc") == b"abc"
    assert payload_of(b"\x00") == b""
    assert payload_of(b"\x02abc") is None
    assert payload_of(b"") is None
    assert payload_of(b"\xc0") is None
