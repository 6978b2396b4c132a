"""Shadowsocks written for the tests alone: what is inside, without salts, times and padding.

Shadow      salt | AEAD(length) AEAD(payload) ... <-> the payloads
Shadow2022  <-> 00 | address of the target | payloads, and 01 | payloads, in the form of gost 3.2.6
            (the first payload of a response has a length of its own)
Packets     salt | AEAD(packet) <-> the packet
Packets2022 <-> type | address | payload; its AEAD keys are made of session ids reversed, as in gost
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from typing import Any, Protocol

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["Packets", "Packets2022", "Shadow", "Shadow2022", "address_size", "packets"]

_SUBKEY_2022 = "shadowsocks 2022 session subkey"
_TAG = 16
_PADDING = 3


class Inner(Protocol):
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


def _aead(method: str, key: bytes) -> Any:
    return ChaCha20Poly1305(key) if "chacha20" in method else AESGCM(key)


def _key_size(method: str) -> int:
    return 16 if "128" in method else 32


def _master(method: str, password: str) -> bytes:
    """EVP_BytesToKey with MD5."""
    made = last = b""
    while len(made) < _key_size(method):
        last = hashlib.md5(last + password.encode()).digest()
        made += last
    return made[: _key_size(method)]


def _subkey(master: bytes, salt: bytes) -> bytes:
    return HKDF(SHA1(), len(master), salt, b"ss-subkey").derive(master)


def _subkey_2022(key: bytes, salt: bytes) -> bytes:
    return blake3(key + salt, derive_key_context=_SUBKEY_2022).digest(len(key))


def address_size(data: bytes) -> int:
    """Bytes of the SOCKS address at the start."""
    return {1: 7, 4: 19, 3: 4 + data[1]}[data[0]]


class _Counted:
    """One direction: an AEAD whose nonce counts."""

    def __init__(self, aead: Any) -> None:
        self._aead = aead
        self._count = 0

    def seal(self, data: bytes) -> bytes:
        sealed: bytes = self._aead.encrypt(self._nonce(), data, None)
        return sealed

    def open(self, data: bytes) -> bytes:
        opened: bytes = self._aead.decrypt(self._nonce(), data, None)
        return opened

    def _nonce(self) -> bytes:
        self._count += 1
        return (self._count - 1).to_bytes(12, "little")


class Shadow:
    """AEAD streams."""

    def __init__(self, inner: Inner, method: str, password: str) -> None:
        self._inner = inner
        self._method = method
        self._master = _master(method, password)
        self._came = b""
        self._opener: _Counted | None = None
        self._sealer: _Counted | None = None

    def _session(self, salt: bytes) -> _Counted:
        return _Counted(_aead(self._method, _subkey(self._master, salt)))

    def _take(self, size: int) -> bytes:
        while len(self._came) < size:
            data = self._inner.read()
            if not data:
                return b""
            self._came += data
        taken, self._came = self._came[:size], self._came[size:]
        return taken

    def read(self) -> bytes:
        if self._opener is None:
            salt = self._take(len(self._master))
            if not salt:
                return b""
            self._opener = self._session(salt)
        return self._chunk(self._opener)

    def _chunk(self, opener: _Counted) -> bytes:
        sealed = self._take(2 + _TAG)
        if not sealed:
            return b""
        (size,) = struct.unpack("!H", opener.open(sealed))
        return opener.open(self._take(size + _TAG))

    def write(self, data: bytes) -> None:
        out = b""
        if self._sealer is None:
            out = os.urandom(len(self._master))
            self._sealer = self._session(out)
        self._inner.write(out + self._sealed(self._sealer, data))

    @staticmethod
    def _sealed(sealer: _Counted, data: bytes) -> bytes:
        return sealer.seal(struct.pack("!H", len(data))) + sealer.seal(data)

    def close(self) -> None:
        self._inner.close()


class Shadow2022(Shadow):
    """The 2022 edition."""

    def __init__(self, inner: Inner, role: str, method: str, password: str) -> None:
        super().__init__(inner, method, "")
        self._master = base64.b64decode(password)
        self._role = role
        self._request_salt = b""

    def _session(self, salt: bytes) -> _Counted:
        return _Counted(_aead(self._method, _subkey_2022(self._master, salt)))

    def read(self) -> bytes:
        if self._opener is not None:
            return self._chunk(self._opener)
        salt = self._take(len(self._master))
        if not salt:
            return b""
        self._opener = self._session(salt)
        if self._role == "client":
            return self._read_response(self._opener)
        self._request_salt = salt
        kind, stamp, size = struct.unpack("!BQH", self._opener.open(self._take(11 + _TAG)))
        _check(kind, 0, stamp)
        body = self._opener.open(self._take(size + _TAG))
        end = address_size(body)
        (padding,) = struct.unpack_from("!H", body, end)
        assert len(body) == end + 2 + padding, "no payload in the header of a request"
        assert 0 < padding <= 900
        return b"\0" + body[:end]

    def _read_response(self, opener: _Counted) -> bytes:
        head = opener.open(self._take(11 + len(self._master) + _TAG))
        _check(head[0], 1, int.from_bytes(head[1:9], "big"))
        assert head[9:-2] == self._request_salt
        assert head[-2:] == b"\0\0"
        return b"\1"

    def write(self, data: bytes) -> None:
        out = b""
        if self._sealer is None:
            out = os.urandom(len(self._master))
            self._sealer = self._session(out)
            now = int(time.time())
            if self._role == "client":
                self._request_salt = out
                end = 1 + address_size(data[1:])
                body = data[1:end] + struct.pack("!H", _PADDING) + bytes(_PADDING)
                out += self._sealer.seal(struct.pack("!BQH", 0, now, len(body)))
                out += self._sealer.seal(body)
            else:
                end = 1
                head = struct.pack("!BQ", 1, now) + self._request_salt + b"\0\0"
                out += self._sealer.seal(head)
            data = data[end:]
        if data:
            out += self._sealed(self._sealer, data)
        self._inner.write(out)


def _check(kind: int, wanted: int, stamp: int) -> None:
    assert kind == wanted
    assert abs(time.time() - stamp) < 30


# -- datagrams -----------------------------------------------------------------------------------


class PacketForm(Protocol):
    """Datagrams of one association, one side's view of them."""

    def open(self, datagram: bytes) -> bytes: ...
    def seal(self, packet: bytes) -> bytes: ...


def packets(secret: str, role: str) -> PacketForm:
    """The form for METHOD:PASSWORD; as they are when there is none."""
    method, _, password = secret.partition(":")
    if not method:
        return AsTheyAre()
    if method.startswith("2022"):
        return Packets2022(role, method, password)
    return Packets(method, password)


class AsTheyAre:
    """No encryption."""

    def open(self, datagram: bytes) -> bytes:
        return datagram

    seal = open


class Packets:
    """AEAD datagrams."""

    def __init__(self, method: str, password: str) -> None:
        self._method = method
        self._master = _master(method, password)

    def _aead(self, salt: bytes) -> Any:
        return _aead(self._method, _subkey(self._master, salt))

    def open(self, datagram: bytes) -> bytes:
        size = len(self._master)
        opened: bytes = self._aead(datagram[:size]).decrypt(bytes(12), datagram[size:], None)
        return opened

    def seal(self, packet: bytes) -> bytes:
        salt = os.urandom(len(self._master))
        sealed: bytes = self._aead(salt).encrypt(bytes(12), packet, None)
        return salt + sealed


class Packets2022:
    """Datagrams of the 2022 edition; ``role`` is that of whoever seals."""

    def __init__(self, role: str, method: str, password: str) -> None:
        self._role = role
        self._key = base64.b64decode(password)
        self._session = os.urandom(8)
        self._peer = b""
        self._number = 0

    def _block(self) -> Any:
        return Cipher(algorithms.AES(self._key), modes.ECB())

    def _aead(self, session: bytes) -> Any:
        return AESGCM(_subkey_2022(self._key, session[::-1]))

    def open(self, datagram: bytes) -> bytes:
        head = self._block().decryptor().update(datagram[:16])
        self._peer = head[:8]
        body: bytes = self._aead(head[:8]).decrypt(head[4:], datagram[16:], None)
        _check(body[0], int(self._role == "client"), int.from_bytes(body[1:9], "big"))
        at = 9
        if self._role == "client":
            assert body[9:17] == self._session
            at = 17
        (padding,) = struct.unpack_from("!H", body, at)
        return body[:1] + body[at + 2 + padding :]

    def seal(self, packet: bytes) -> bytes:
        head = self._session + self._number.to_bytes(8, "big")
        self._number += 1
        body = packet[:1] + struct.pack("!Q", int(time.time()))
        body += self._peer if self._role == "server" else b""
        body += struct.pack("!H", _PADDING) + bytes(_PADDING) + packet[1:]
        sealed: bytes = self._aead(self._session).encrypt(head[4:], body, None)
        encrypted: bytes = self._block().encryptor().update(head)
        return encrypted + sealed
