"""Protection of packets: what seals them on their way out and opens them on their way in.

Packet    LENGTH(4) | PADDING SIZE(1) | payload | padding (4 to 255) | tag or MAC
aes*-gcm@openssh.com            the length is authenticated in clear; nonce of 4 fixed bytes and a
                                counter that starts at the derived value; tag of 16 bytes
chacha20-poly1305@openssh.com   the length is encrypted by a second key; nonce is the packet number
aes*-ctr with hmac-sha2-*       one key stream over everything; the MAC is over number and packet,
                                or (``-etm@openssh.com``) over number, clear length and ciphertext

Only these are spoken: those with one primitive per packet come first, in gost's order.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer

__all__ = ["CIPHERS", "MACS", "MAX_PACKET", "Opener", "Protection", "Sealer", "protection"]

MAX_PACKET = 256 * 1024
"""Largest LENGTH that is taken, as in gost."""

_PADDING = os.urandom(256)
_TAG = 16
_LENGTH = struct.Struct(">I").unpack_from


@dataclass(frozen=True, slots=True)
class Protection:
    """Sizes of the key material of a cipher and MAC, and how to make both directions."""

    cipher: str
    mac: str  # empty for AEAD
    key_size: int
    iv_size: int
    mac_size: int

    def sealer(self, key: bytes, iv: bytes, mac_key: bytes) -> Sealer:
        if self.cipher == "chacha20-poly1305@openssh.com":
            return _ChachaSealer(key)
        if not self.mac:
            return _GcmSealer(key, iv)
        return _CtrSealer(key, iv, mac_key, self.mac)

    def opener(self, key: bytes, iv: bytes, mac_key: bytes) -> Opener:
        if self.cipher == "chacha20-poly1305@openssh.com":
            return _ChachaOpener(key)
        if not self.mac:
            return _GcmOpener(key, iv)
        return _CtrOpener(key, iv, mac_key, self.mac)


# name -> (key size, iv size)
CIPHERS = {
    "aes128-gcm@openssh.com": (16, 12),
    "aes256-gcm@openssh.com": (32, 12),
    "chacha20-poly1305@openssh.com": (64, 0),
    "aes128-ctr": (16, 16),
    "aes192-ctr": (24, 16),
    "aes256-ctr": (32, 16),
}

# name -> (digest, size)
MACS = {
    "hmac-sha2-256-etm@openssh.com": ("sha256", 32),
    "hmac-sha2-512-etm@openssh.com": ("sha512", 64),
    "hmac-sha2-256": ("sha256", 32),
    "hmac-sha2-512": ("sha512", 64),
}


def protection(cipher: str, mac: str) -> Protection:
    """Of negotiated names; the MAC is of no meaning with AEAD."""
    key_size, iv_size = CIPHERS[cipher]
    if not cipher.endswith("-ctr"):
        return Protection(cipher, "", key_size, iv_size, 0)
    return Protection(cipher, mac, key_size, iv_size, MACS[mac][1])


class Sealer(Protocol):
    """Makes packets; ``number`` is that of the packet in its direction."""

    def seal(self, number: int, head: bytes, data: Buffer) -> tuple[bytes, bytes]:
        """The packet with payload ``head + data``, in two parts."""
        ...


class Opener(Protocol):
    """Takes packets apart.

    Attributes:
        head: bytes of a packet that ``size`` has to see.
    """

    head: int

    def size(self, number: int, data: Buffer, at: int) -> int:
        """Bytes of the whole packet that begins there; once per packet. Raises ProtocolError."""
        ...

    def open(self, number: int, packet: memoryview) -> memoryview:
        """The payload. Raises ProtocolError."""
        ...


def _pad(size: int, unit: int) -> int:
    """Padding after ``size`` bytes, which are padded to whole units."""
    padding = unit - size % unit
    return padding if padding >= 4 else padding + unit


def _payload(plain: Buffer) -> memoryview:
    """Of PADDING SIZE | payload | padding."""
    padding = plain[0]
    size = len(plain) - padding
    if padding < 4 or size < 2:
        raise ProtocolError("SSH packet with bad padding")
    return memoryview(plain)[1:size]


def _checked(size: int, unit: int, least: int = 8) -> int:
    if not least <= size <= MAX_PACKET or size % unit:
        raise ProtocolError(f"SSH packet of {size} bytes")
    return size


class PlainSealer:
    """Before the first key exchange."""

    def seal(self, number: int, head: bytes, data: Buffer) -> tuple[bytes, bytes]:
        size = len(head) + len(data)
        padding = _pad(5 + size, 8)
        length = 1 + size + padding
        start = length.to_bytes(4, "big") + bytes((padding,))
        return start, b"".join((head, data, _PADDING[:padding]))


class PlainOpener:
    """Before the first key exchange."""

    head = 4

    def size(self, number: int, data: Buffer, at: int) -> int:
        return _checked(_LENGTH(data, at)[0] + 4, 8, 16)

    def open(self, number: int, packet: memoryview) -> memoryview:
        return _payload(bytes(packet[4:]))


class _GcmSealer:
    def __init__(self, key: bytes, iv: bytes) -> None:
        self._encrypt = AESGCM(key).encrypt
        self._fixed = iv[:4]
        self._counter = int.from_bytes(iv[4:], "big")

    def seal(self, number: int, head: bytes, data: Buffer) -> tuple[bytes, bytes]:
        size = 1 + len(head) + len(data)
        padding = 16 - size % 16
        if padding < 4:
            padding += 16
        length = (size + padding).to_bytes(4, "big")
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFFFFFFFFFFFFFF
        plain = b"".join((bytes((padding,)), head, data, _PADDING[:padding]))
        return length, self._encrypt(self._fixed + counter.to_bytes(8, "big"), plain, length)


class _GcmOpener:
    head = 4

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._fixed = iv[:4]
        self._counter = int.from_bytes(iv[4:], "big")

    def size(self, number: int, data: Buffer, at: int) -> int:
        length: int = _LENGTH(data, at)[0]
        if length & 15 or not 16 <= length <= MAX_PACKET:
            raise ProtocolError(f"SSH packet of {length} bytes")
        return 20 + length

    def open(self, number: int, packet: memoryview) -> memoryview:
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFFFFFFFFFFFFFF
        nonce = self._fixed + counter.to_bytes(8, "big")
        try:
            plain = self._decrypt(nonce, packet[4:], packet[:4])
        except InvalidTag:
            raise ProtocolError("SSH packet with a wrong tag") from None
        return _payload(plain)


class _Chacha:
    """The construction of OpenSSH: 64-bit counter and 64-bit nonce, as ChaCha20 began."""

    head = 4

    def __init__(self, key: bytes) -> None:
        self._main, self._head = key[:32], key[32:]

    def _stream(self, key: bytes, number: int, block: int) -> Cipher[None]:
        start = block.to_bytes(8, "little") + number.to_bytes(8, "big")
        return Cipher(algorithms.ChaCha20(key, start), None)

    def _length(self, number: int, length: Buffer) -> bytes:
        """Seals and opens."""
        return self._stream(self._head, number, 0).encryptor().update(bytes(length))

    def _tag_key(self, number: int) -> bytes:
        return self._stream(self._main, number, 0).encryptor().update(bytes(32))


class _ChachaSealer(_Chacha):
    def seal(self, number: int, head: bytes, data: Buffer) -> tuple[bytes, bytes]:
        size = 1 + len(head) + len(data)
        padding = _pad(size, 8)
        length = self._length(number, (size + padding).to_bytes(4, "big"))
        plain = b"".join((bytes((padding,)), head, data, _PADDING[:padding]))
        sealed = length + self._stream(self._main, number, 1).encryptor().update(plain)
        return sealed, Poly1305.generate_tag(self._tag_key(number), sealed)


class _ChachaOpener(_Chacha):
    def size(self, number: int, data: Buffer, at: int) -> int:
        length = int.from_bytes(self._length(number, data[at : at + 4]), "big")
        return 20 + _checked(length, 8)

    def open(self, number: int, packet: memoryview) -> memoryview:
        try:
            Poly1305.verify_tag(self._tag_key(number), packet[:-_TAG], bytes(packet[-_TAG:]))
        except InvalidSignature:
            raise ProtocolError("SSH packet with a wrong tag") from None
        return _payload(self._stream(self._main, number, 1).decryptor().update(packet[4:-_TAG]))


class _Ctr:
    def __init__(self, key: bytes, iv: bytes, mac_key: bytes, mac: str) -> None:
        self._update = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update
        self._mac_key = mac_key
        self._digest, self._size = MACS[mac]
        self._etm = mac.endswith("-etm@openssh.com")
        self.head = 4 if self._etm else 16

    def _mac(self, number: int, data: Buffer) -> bytes:
        return hmac.digest(self._mac_key, number.to_bytes(4, "big") + data, self._digest)


class _CtrSealer(_Ctr):
    def seal(self, number: int, head: bytes, data: Buffer) -> tuple[bytes, bytes]:
        size = 1 + len(head) + len(data)
        padding = _pad(size if self._etm else size + 4, 16)
        length = (size + padding).to_bytes(4, "big")
        plain = b"".join((bytes((padding,)), head, data, _PADDING[:padding]))
        if self._etm:
            sealed = length + self._update(plain)
            return sealed, self._mac(number, sealed)
        return self._update(length + plain), self._mac(number, length + plain)


class _CtrOpener(_Ctr):
    def __init__(self, key: bytes, iv: bytes, mac_key: bytes, mac: str) -> None:
        super().__init__(key, iv, mac_key, mac)
        self._first = b""

    def size(self, number: int, data: Buffer, at: int) -> int:
        if self._etm:
            return 4 + _checked(_LENGTH(data, at)[0], 16) + self._size
        self._first = self._update(data[at : at + 16])
        return _checked(_LENGTH(self._first)[0] + 4, 16, 16) + self._size

    def open(self, number: int, packet: memoryview) -> memoryview:
        body, mac = packet[: -self._size], packet[-self._size :]
        if self._etm:
            signed: Buffer = body
        else:
            signed = self._first + self._update(body[16:])
        if not hmac.compare_digest(self._mac(number, signed), mac):
            raise ProtocolError("SSH packet with a wrong MAC")
        return _payload(self._update(body[4:]) if self._etm else signed[4:])
