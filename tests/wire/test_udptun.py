"""Frames that carry datagrams on a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.udptun import ShortFrames, TunnelFrames, short_frame, tunnel_frame

# captured between a real client and server; see docs/relay.md
TUNNEL = [
    pytest.param("0004ff017f0000014a3961626364", [(b"abcd", "127.0.0.1:19001")], id="ipv4"),
    pytest.param("0002ff017f0000014a376275", [(b"bu", "127.0.0.1:18999")], id="short payload"),
    pytest.param(
        "0001ff04000000000000000000000000000000010035aa", [(b"\xaa", "[::1]:53")], id="ipv6"
    ),
    pytest.param("0002ff0301610050" + "6869", [(b"hi", "a:80")], id="name"),
    pytest.param("0000ff017f0000010001", [(b"", "127.0.0.1:1")], id="empty"),
    pytest.param(
        "0001ff017f000001000178" + "0001ff0300000279",
        [(b"x", "127.0.0.1:1"), (b"y", ":2")],
        id="two frames",
    ),
]


@pytest.mark.parametrize(("wire", "datagrams"), TUNNEL)
def test_tunnel_frames_both_ways(wire: str, datagrams: list[tuple[bytes, str]]) -> None:
    stream = bytes.fromhex(wire)
    assert b"".join(tunnel_frame(*datagram) for datagram in datagrams) == stream
    for cut in range(len(stream) + 1):
        frames = TunnelFrames()
        assert frames.receive(stream[:cut]) + frames.receive(stream[cut:]) == datagrams
        assert not frames.partial


def test_tunnel_frames_byte_by_byte() -> None:
    datagrams = [(b"one", "10.0.0.1:1"), (b"two", "[2001:db8::1]:2"), (b"three", "example.org:3")]
    frames, found = TunnelFrames(), []
    for datagram in datagrams:
        for byte in tunnel_frame(*datagram):
            found += frames.receive(bytes((byte,)))
    assert found == datagrams


@pytest.mark.parametrize("kind", [0, 2, 5, 255])
def test_unknown_address_type_ends_the_stream(kind: int) -> None:
    with pytest.raises(ProtocolError):
        TunnelFrames().receive(bytes((0, 1, 255, kind, 0, 0, 0)))


@pytest.mark.parametrize("frame", [tunnel_frame(b"data", "1.2.3.4:5"), short_frame(b"data")])
def test_partial(frame: bytes) -> None:
    frames = TunnelFrames() if len(frame) > 6 else ShortFrames()
    frames.receive(frame[:-1])
    assert frames.partial


def test_short_frames_cut_everywhere() -> None:
    stream = short_frame(b"ping1") + short_frame(b"") + short_frame(b"x")
    assert stream.startswith(bytes.fromhex("000570696e6731"))
    for cut in range(len(stream) + 1):
        frames = ShortFrames("peer:1")
        found = frames.receive(stream[:cut]) + frames.receive(stream[cut:])
        assert found == [(b"ping1", "peer:1"), (b"", "peer:1"), (b"x", "peer:1")]


def test_too_large() -> None:
    with pytest.raises(ProtocolError):
        tunnel_frame(bytes(65536), "1.2.3.4:5")
    with pytest.raises(ProtocolError):
        short_frame(bytes(65536))


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_any_bytes(pieces: list[bytes]) -> None:
    for frames in (TunnelFrames(), ShortFrames()):
        try:
            for piece in pieces:
                frames.receive(piece)
        except ProtocolError:
            pass
