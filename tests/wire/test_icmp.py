"""Datagrams in ICMP echo messages, and datagrams sealed with cipherKey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError, ProtocolError, Truncated
from gostpy.wire.icmp import Echo, payload_of
from gostpy.wire.ip import word_sum
from gostpy.wire.quiccipher import OVERHEAD, DatagramCipher

CASES = [
    pytest.param(
        Echo(False, 0x1234, 7, b"quic"),
        False,
        bytes.fromhex("0800 7044 1234 0007 474f5354 0000 0000 0004") + b"quic",
        id="request",
    ),
    pytest.param(
        Echo(True, 0x1234, 7, b"quic"),
        False,
        bytes.fromhex("0000 7843 1234 0007 474f5354 0001 0000 0004") + b"quic",
        id="reply",
    ),
    pytest.param(
        Echo(False, 1, 65535, b""),
        True,
        bytes.fromhex("8000 0000 0001 ffff 474f5354 0000 0000 0000"),
        id="request over IPv6",
    ),
    pytest.param(
        Echo(True, 65535, 0, b"odd"),
        True,
        bytes.fromhex("8100 0000 ffff 0000 474f5354 0001 0000 0003") + b"odd",
        id="reply over IPv6",
    ),
]


@pytest.mark.parametrize(("echo", "ipv6", "wire"), CASES)
def test_both_ways(echo: Echo, ipv6: bool, wire: bytes) -> None:
    assert echo.encode(ipv6) == wire
    assert Echo.read(wire, ipv6) == echo
    assert Echo.read(wire + b"padding", ipv6) == echo
    for cut in range(len(wire)):
        with pytest.raises(Truncated):
            Echo.read(wire[:cut], ipv6)


@pytest.mark.parametrize("size", [0, 1, 2, 1431, 1432])
def test_checksum(size: int) -> None:
    assert word_sum(_of(size)) == 0


def _of(size: int) -> bytes:
    return Echo(False, 5, 6, (bytes(range(256)) * 6)[:size]).encode(False)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param("0800 0000 1234 0007 474f5355 0000 0000 0000", id="magic"),
        pytest.param("0800 0000 1234 0007 474f5354 0001 0000 0000", id="a request of a server"),
        pytest.param("0000 0000 1234 0007 474f5354 0000 0000 0000", id="the kernel's reply"),
        pytest.param("0800 0000 0000 0007 474f5354 0000 0000 0000", id="id zero"),
        pytest.param("0b00 0000 1234 0007 474f5354 0000 0000 0000", id="time exceeded"),
    ],
)
def test_messages_of_others(wire: str) -> None:
    with pytest.raises(ProtocolError):
        Echo.read(bytes.fromhex(wire), False)


def test_header_of_ipv4() -> None:
    header = bytes([0x46]) + bytes(23)
    assert payload_of(header + b"x") == b"x"
    for cut in range(len(header)):
        with pytest.raises(Truncated):
            payload_of(header[:cut])
    with pytest.raises(Truncated):
        payload_of(b"\x44" + bytes(40))


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes(data: bytes, ipv6: bool) -> None:
    try:
        Echo.read(data if ipv6 else payload_of(data), ipv6)
    except ProtocolError:
        pass


@pytest.mark.parametrize("size", [16, 24, 32])
def test_sealed(size: int) -> None:
    cipher = DatagramCipher(bytes(size))
    sealed = cipher.encode(b"datagram")
    assert len(sealed) == len(b"datagram") + OVERHEAD
    assert sealed != cipher.encode(b"datagram")
    assert cipher.decode(sealed) == b"datagram"
    for cut in range(len(sealed)):
        with pytest.raises(ProtocolError):
            cipher.decode(sealed[:cut])
    with pytest.raises(ProtocolError):
        DatagramCipher(b"x" * size).decode(sealed)
    known = bytes.fromhex("000102030405060708090a0b")  # as gost seals it
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    assert cipher.decode(known + AESGCM(bytes(size)).encrypt(known, b"x", None)) == b"x"


@pytest.mark.parametrize("size", [0, 15, 17, 33])
def test_key_sizes(size: int) -> None:
    with pytest.raises(ConfigError):
        DatagramCipher(bytes(size))


@given(st.binary(max_size=100))
def test_any_sealed_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        DatagramCipher(bytes(16)).decode(data)
