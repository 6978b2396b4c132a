"""The packet ciphers, against packets that kcp-go 5.6.5 made; and who lacks the key."""

from __future__ import annotations

import os
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gostpy.errors import MissingExtra
from gostpy.wire.kcp.ciphers import CIPHERS, SEAL_SIZE, derive, packet_cipher
from gostpy.wire.kcp.twofish import Twofish

PACKET = b"a packet of twenty-nine bytes"
# the packet with the nonce 00 01 ... 0f, encrypted with the password "secret"
MADE = {
    "3des": (
        "8c304ed2be1c6cd2f108df9d6d318503d59abe444ec66b00cadc7165cd34c34b"
        "d50c8aa694a2628ea9fa9035b3897ad955"
    ),
    "aes": (
        "6ff37ca8f94fe49de5d0630e3968bb8205d369c9d655dda79d8359b078d31669"
        "c2a166f83673a3a8b3ac1be5973858713c"
    ),
    "aes-128": (
        "c7421e95b201af19ff694af623ed6c3fd764cd22e0e8c0361d70ab4f4a81baee"
        "587b87f14a9f696b8cbad2100b2935700e"
    ),
    "aes-192": (
        "ea4a1830ec11c6d91b101284d9bc4df4bb010f1721b6ad7b6836bea8618585c2"
        "65de0bb6c2a56155be166c697594e53566"
    ),
    "blowfish": (
        "15cdf592e9b8cf5f47e55ddd5ed116bc3d5206a4c9c11e9e867879d958c93094"
        "31016cb8b9ce7ed45a2ee95ea4bc00a4f0"
    ),
    "cast5": (
        "f51ad49a67f4bcdb468f1750245eda76b344aadf4dae9a9800d2964930076658"
        "5a7162c8fbe9e692666689e5d5c5bc2e3e"
    ),
    "none": (
        "000102030405060708090a0b0c0d0e0f0b7dc8e461207061636b6574206f6620"
        "7477656e74792d6e696e65206279746573"
    ),
    "salsa20": (
        "0001020304050607bfd9ca9b76f729e7a6b0f7a3ce16f4a9b0199eb113af3bba"
        "b4f1b460d528231ab16d7079c5f5f2526e"
    ),
    "sm4": (
        "9c647a4e01199b631cc93fdae8da33d371ebd0a7d9f01906f5f5de259ce2bfde"
        "7e4038197cea9489c11f30b057a2050462"
    ),
    "tea": (
        "00eccb0a05325141bfdd377a52708712094fb2a03359c918192d55955669f7b6"
        "feffc634e84863975227649dfd3c49a8e0"
    ),
    "twofish": (
        "6a274b999638c54498960c7f7513af7308317411ecbb301efce9ae1835d9e85d"
        "f235e4a5eb66b84b876676a0799bdf6731"
    ),
    "xor": (
        "4ab53b056090c98bddbb79e1036ce792ecf58270105a6a467f767ecdbfdfce9c"
        "a5a0d72892b4f1f15c60764bb38244b184"
    ),
    "xtea": (
        "6b3b1b4d3f3600d4175cb84413b76952d88cec40116b5954fa91ad3db6d061cd"
        "f1200e15ef167c0f39675cfaf8726ec0f9"
    ),
}

MADE_ONCE = {name: packet_cipher(name, "k") for name in CIPHERS}
every = pytest.mark.parametrize("name", list(CIPHERS))


@every
def test_packets_of_the_library(name: str) -> None:
    assert packet_cipher(name, "secret").open(bytes.fromhex(MADE[name])) == PACKET


@every
def test_both_ways(name: str) -> None:
    mine, other = packet_cipher(name, "k"), packet_cipher(name, "k")
    packets = [os.urandom(size) for size in (24, 1372, 1, 12, 28, 1372)]
    wire = mine.seal(packets)
    assert [len(each) for each in wire] == [len(packet) + SEAL_SIZE for packet in packets]
    assert [other.open(each) for each in reversed(wire)] == packets[::-1]
    assert other.open(mine.seal([PACKET])[0]) == PACKET


@every
def test_no_two_packets_look_alike(name: str) -> None:
    cipher = packet_cipher(name, "k")
    wire = [cipher.seal([PACKET])[0] for _ in range(20)] + cipher.seal([PACKET] * 20)
    assert len({each[:16] for each in wire}) == 40


@every
def test_damaged_packets_are_refused(name: str) -> None:
    cipher = packet_cipher(name, "k")
    wire = cipher.seal([PACKET])[0]
    for at in range(16, len(wire)):
        damaged = bytearray(wire)
        damaged[at] ^= 0x40
        assert cipher.open(bytes(damaged)) is None
    for size in range(len(wire)):
        assert cipher.open(wire[:size]) is None
    assert cipher.open(wire) == PACKET


@pytest.mark.parametrize("name", [name for name in CIPHERS if name != "none"])
def test_another_password(name: str) -> None:
    wire = packet_cipher(name, "k").seal([PACKET])[0]
    assert packet_cipher(name, "other").open(wire) is None


@every
def test_what_is_no_packet_of_kcp_is_refused(name: str) -> None:
    cipher = packet_cipher(name, "secret")
    assert cipher.open(cipher.seal([bytes(1480)])[0]) == bytes(1480)
    if name != "xor":  # whose mask ends there
        assert cipher.open(cipher.seal([bytes(1481)])[0]) is None


@pytest.mark.parametrize("name", ["tea", "xtea", "twofish"])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 33, 70])
def test_packets_sealed_together_are_sealed_as_alone(name: str, count: int) -> None:
    """Of any lengths: encrypted side by side, decrypted as many blocks at once."""
    cipher = packet_cipher(name, "secret")
    packets = [bytes([size % 251]) * size for size in range(0, 1480, 1480 // count)][:count]
    sealed = cipher.seal(packets)
    assert [len(each) - SEAL_SIZE for each in sealed] == [len(each) for each in packets]
    other = packet_cipher(name, "secret")
    assert [other.open(each) for each in sealed] == packets


@pytest.mark.parametrize("count", [6, 24, 94])
def test_twofish_of_many_blocks(count: int) -> None:
    key = Twofish(bytes(range(32)))
    data = random.Random(count).randbytes(16 * count)
    assert key.encrypting(count)(data) == key.encrypting(1)(data)
    assert key.encrypting(count)(data[:32])[:32] == key.encrypting(1)(data[:32])


def test_unknown_names_are_aes() -> None:
    wire = packet_cipher("rot13", "k").seal([PACKET])[0]
    assert packet_cipher("aes", "k").open(wire) == PACKET


def test_key() -> None:
    assert len(derive("")) == 32
    assert derive("secret") != derive("")


@every
@given(datagram=st.binary(max_size=1600))
@settings(max_examples=20, deadline=None)
def test_garbage(name: str, datagram: bytes) -> None:
    assert MADE_ONCE[name].open(datagram) is None


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Cryptodome", None)
    monkeypatch.setitem(sys.modules, "Cryptodome.Cipher", None)
    with pytest.raises(MissingExtra, match=r"gostpy\[kcp\]"):
        packet_cipher("salsa20", "k")
