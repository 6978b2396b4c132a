"""The packet ciphers of kcp-go: the nonce and checksum in front of each packet, and encryption.

Wire      NONCE(16) | CRC32(4, of the rest) | packet, all of it encrypted. Block ciphers work in CFB
          mode from a fixed initial vector: it is the nonce that makes packets differ. Salsa20
          leaves the first 8 bytes clear, which are its nonce. xor and none only look like this.
Key       PBKDF2-HMAC-SHA1(password, "kcp-go", 4096 rounds, 32 bytes), of which a cipher takes the
          beginning; xor stretches it to 1500 bytes with 32 more rounds
Source    xtaci/kcp-go 5.6.5 crypt.go, sess.go; go-gost/x internal/util/kcp (names)
Differs   nothing on the wire. A nonce is not drawn but comes out of the cipher: CFB from any state
          makes 16 zero bytes a block that nobody can foresee, and that is what a nonce is for.

One context per direction serves all packets, because CFB forgets: after a block of ciphertext only
that block matters. A receiver feeds the initial vector as such a block; a sender goes on from where
it is. Making a context for each packet would cost more than the encryption.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import CAST5, Blowfish, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4

from gostpy.errors import MissingExtra

__all__ = ["CIPHERS", "MOST_DATAGRAM", "SEAL_SIZE", "PacketCipher", "derive", "packet_cipher"]

MOST_DATAGRAM = 1500
SEAL_SIZE = 20

_NONCE_SIZE = 16
_NONCE = bytes(_NONCE_SIZE)
_CHECK = struct.Struct("<I")
_VECTOR = bytes.fromhex("a7734f9c12ac1b01a415f2c1fc78e66b")
_XOR_SALT = b"sH3CIVoF#rWLtJo6"
_PAD = bytes(16)


class PacketCipher(Protocol):
    """Both directions of one endpoint; packets may be lost, repeated and out of order.

    Attributes:
        slow: a packet takes milliseconds; few should be handled in one turn of the loop.
    """

    slow: bool

    def seal(self, packets: list[bytes]) -> list[bytes]:
        """Datagrams for the packets."""
        ...

    def open(self, datagram: bytes) -> bytes | None:
        """The packet; None when it is not from somebody with the key, was damaged, or is larger
        than ``MOST_DATAGRAM``: what is kept of a peer is counted in packets."""
        ...


def derive(password: str) -> bytes:
    """The key of 32 bytes that a password means."""
    return hashlib.pbkdf2_hmac("sha1", password.encode(), b"kcp-go", 4096, 32)


def _checked(plain: bytes, start: int = 0, end: int = MOST_DATAGRAM) -> bytes | None:
    """What follows nonce and checksum, when the checksum is right."""
    packet = plain[start + SEAL_SIZE : end]
    if zlib.crc32(packet) != _CHECK.unpack_from(plain, start + _NONCE_SIZE)[0]:
        return None
    return packet


class _Blocks:
    """A block cipher in CFB mode, by the cryptography library."""

    slow = False

    def __init__(self, algorithm: Any) -> None:
        self._size = size = algorithm.block_size // 8
        self._vector = _VECTOR[:size]
        self._encrypt = Cipher(algorithm, CFB(os.urandom(size))).encryptor().update
        self._decrypt = Cipher(algorithm, CFB(self._vector)).decryptor().update

    def seal(self, packets: list[bytes]) -> list[bytes]:
        size, pack = self._size, _CHECK.pack
        parts: list[bytes] = []
        for packet in packets:
            # whole blocks, so that the next nonce begins at a block
            pad = -(len(packet) + SEAL_SIZE) % size
            parts += (_NONCE, pack(zlib.crc32(packet)), packet, _PAD[:pad])
        wire = self._encrypt(b"".join(parts))
        if len(packets) == 1:
            return [wire[: SEAL_SIZE + len(packets[0])]]
        made = []
        at = 0
        for packet in packets:
            end = at + SEAL_SIZE + len(packet)
            made.append(wire[at:end])
            at = end + -(end - at) % size
        return made

    def open(self, datagram: bytes) -> bytes | None:
        length = len(datagram)
        if not SEAL_SIZE <= length <= MOST_DATAGRAM:
            return None
        size = self._size
        plain: bytes = self._decrypt(b"".join((self._vector, datagram, _PAD[: -length % size])))
        return _checked(plain, size, size + length)


class _Masked:
    """The same bytes over every datagram: xor."""

    slow = False

    def __init__(self, mask: bytes) -> None:
        self._mask = mask

    def _apply(self, data: bytes) -> bytes:
        size = len(data)
        mask = int.from_bytes(self._mask[:size], "little")
        return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")

    def seal(self, packets: list[bytes]) -> list[bytes]:
        return [
            self._apply(
                b"".join((os.urandom(_NONCE_SIZE), _CHECK.pack(zlib.crc32(packet)), packet))
            )
            for packet in packets
        ]

    def open(self, datagram: bytes) -> bytes | None:
        if not SEAL_SIZE <= len(datagram) <= MOST_DATAGRAM:
            return None
        return _checked(self._apply(datagram))


class _Clear:
    """none: the checksum is the only protection."""

    slow = False

    def seal(self, packets: list[bytes]) -> list[bytes]:
        return [
            b"".join((os.urandom(_NONCE_SIZE), _CHECK.pack(zlib.crc32(packet)), packet))
            for packet in packets
        ]

    def open(self, datagram: bytes) -> bytes | None:
        return _checked(datagram) if SEAL_SIZE <= len(datagram) <= MOST_DATAGRAM else None


class _Salsa20:
    """Salsa20, by the pycryptodomex library. Raises MissingExtra."""

    slow = False

    def __init__(self, key: bytes) -> None:
        try:
            from Cryptodome.Cipher import Salsa20
        except ModuleNotFoundError:
            raise MissingExtra("kcp", "kcp.crypt salsa20", "kcp.crypt") from None
        self._new = Salsa20.new
        self._key = key

    def seal(self, packets: list[bytes]) -> list[bytes]:
        made = []
        for packet in packets:
            nonce = os.urandom(_NONCE_SIZE)
            rest = b"".join((nonce[8:], _CHECK.pack(zlib.crc32(packet)), packet))
            made.append(nonce[:8] + self._new(self._key, nonce[:8]).encrypt(rest))
        return made

    def open(self, datagram: bytes) -> bytes | None:
        if not SEAL_SIZE <= len(datagram) <= MOST_DATAGRAM:
            return None
        nonce = datagram[:8]
        plain = nonce + self._new(self._key, nonce).decrypt(datagram[8:])
        return _checked(plain)


class _SlowBlocks:
    """A block cipher in CFB mode, in plain Python.

    Packets are encrypted side by side, block after block: each block needs the one before. Those of
    one packet are decrypted all at once.

    Args:
        make: given a number of blocks, what encrypts so many or less at a time.
    """

    slow = True

    def __init__(self, size: int, make: Callable[[int], Callable[[bytes], bytes]]) -> None:
        self._size = size
        self._encrypting = lru_cache(maxsize=4)(make)
        self._deciphering = [make(count) for count in _COUNTS]
        self._vector = _VECTOR[:size]
        self._first = make(1)(self._vector)

    def seal(self, packets: list[bytes]) -> list[bytes]:
        made: list[bytes] = []
        for start in range(0, len(packets), _TOGETHER):
            made += self._seal(
                [
                    b"".join((os.urandom(_NONCE_SIZE), _CHECK.pack(zlib.crc32(packet)), packet))
                    for packet in packets[start : start + _TOGETHER]
                ]
            )
        return made

    def _seal(self, plain: list[bytes]) -> list[bytes]:
        size, count = self._size, len(plain)
        encrypt = self._encrypting(count)
        longest = -(-max(map(len, plain)) // size) * size
        padded = [packet.ljust(longest, b"\0") for packet in plain]
        masks, width = self._first * count, size * count
        rows = []
        for at in range(0, longest, size):
            row = b"".join([packet[at : at + size] for packet in padded])
            mixed = int.from_bytes(row, "big") ^ int.from_bytes(masks, "big")
            cipher = mixed.to_bytes(width, "big")
            rows.append(cipher)
            masks = encrypt(cipher)
        return [
            b"".join([row[at : at + size] for row in rows])[: len(packet)]
            for at, packet in zip(range(0, width, size), plain, strict=True)
        ]

    def open(self, datagram: bytes) -> bytes | None:
        length = len(datagram)
        if not SEAL_SIZE <= length <= MOST_DATAGRAM:
            return None
        size = self._size
        blocks = -(-length // size)
        place = bisect_left(_COUNTS, blocks)
        before = (self._vector + datagram)[: blocks * size]
        masks = self._deciphering[place](before)[:length]
        mixed = int.from_bytes(datagram, "big") ^ int.from_bytes(masks, "big")
        return _checked(mixed.to_bytes(length, "big"))


_COUNTS = (5, 24, 94, 188)
"""Blocks that are decrypted at a time: a datagram has as many as the last at most."""

_TOGETHER = 32
"""Packets that are encrypted at a time."""


def _tea(key: bytes, extended: bool) -> _SlowBlocks:
    from gostpy.wire.kcp.tea import BLOCK_SIZE, tea, xtea

    make = xtea if extended else tea
    return _SlowBlocks(BLOCK_SIZE, lambda count: make(key, count))


def _twofish(key: bytes) -> _SlowBlocks:
    from gostpy.wire.kcp.twofish import BLOCK_SIZE, Twofish  # makes tables: only for who uses it

    return _SlowBlocks(BLOCK_SIZE, Twofish(key).encrypting)


CIPHERS: dict[str, Callable[[bytes], PacketCipher]] = {
    "aes": lambda key: _Blocks(AES(key)),
    "aes-128": lambda key: _Blocks(AES(key[:16])),
    "aes-192": lambda key: _Blocks(AES(key[:24])),
    "salsa20": _Salsa20,
    "blowfish": lambda key: _Blocks(Blowfish(key)),
    "twofish": _twofish,
    "cast5": lambda key: _Blocks(CAST5(key[:16])),
    "3des": lambda key: _Blocks(TripleDES(key[:24])),
    "tea": lambda key: _tea(key[:16], False),
    "xtea": lambda key: _tea(key[:16], True),
    "xor": lambda key: _Masked(hashlib.pbkdf2_hmac("sha1", key, _XOR_SALT, 32, MOST_DATAGRAM)),
    "sm4": lambda key: _Blocks(SM4(key[:16])),
    "none": lambda _: _Clear(),
}


def packet_cipher(name: str, password: str) -> PacketCipher:
    """A cipher by its name in gost; any other name is aes, as there. Raises MissingExtra."""
    return CIPHERS.get(name, CIPHERS["aes"])(derive(password))
