"""Shadowsocks methods: names, sizes and keys.

Classic   master = EVP_BytesToKey(MD5, password); session key = HKDF-SHA1(master, salt, "ss-subkey")
2022      the password is one or more base64 keys joined by ":"; the last is the user's, those
          before it are identity keys; session key = BLAKE3 derive_key(context, key | salt)
Source    SIP004, SIP022, SIP023; go-gost/go-shadowsocks2 utils.go, cipher.go
Differs   gost 3.2.6 knows the three AEAD_* methods of SIP004 and 2022 with AES; its development
          head adds none and dummy. aes-192-gcm, xchacha20-ietf-poly1305, plain and
          2022-blake3-chacha20-poly1305 are ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from gostpy.errors import ConfigError, MissingExtra
from gostpy.wire.codec import Buffer

__all__ = ["AEAD", "METHODS", "InvalidTag", "Method", "Secret", "blake3_key", "secret"]

SESSION_CONTEXT = "shadowsocks 2022 session subkey"
IDENTITY_CONTEXT = "shadowsocks 2022 identity subkey"


class AEAD(Protocol):
    """What cryptography's AEAD classes have. Decrypting raises InvalidTag."""

    def encrypt(self, nonce: bytes, data: Any, associated_data: None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: Any, associated_data: None) -> bytes: ...
    def decrypt_into(self, nonce: bytes, data: Any, associated_data: None, buf: Any) -> int: ...


class XChaCha20Poly1305:
    """XChaCha20-Poly1305 (24-byte nonces) by PyNaCl, in the shape of cryptography's classes."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = bytes(key)

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: None) -> bytes:
        return crypto_aead_xchacha20poly1305_ietf_encrypt(bytes(data), None, nonce, self._key)

    def decrypt(self, nonce: bytes, data: Buffer, associated_data: None) -> bytes:
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(bytes(data), None, nonce, self._key)
        except CryptoError:
            raise InvalidTag from None

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: None, buf: Any) -> int:
        plain = self.decrypt(nonce, data, None)
        buf[:] = plain
        return len(plain)


class NoCipher:
    """The "cipher" of method none in gost's framing: no encryption and tags of no bytes."""

    __slots__ = ()

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: None) -> bytes:
        return bytes(data)

    decrypt = encrypt

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: None, buf: Any) -> int:
        buf[:] = data
        return len(data)


@dataclass(frozen=True, slots=True)
class Method:
    """One method; sizes in bytes.

    Attributes:
        edition: ``classic`` (SIP004), ``2022`` (SIP022) or ``none``.
        framed: of edition none: gost's salt and chunks are the default on the wire.
    """

    name: str
    key_size: int
    salt_size: int
    cipher: Callable[[bytes], AEAD]
    edition: str = "classic"
    nonce_size: int = 12
    tag_size: int = 16
    framed: bool = False


def _no_cipher(key: bytes) -> AEAD:
    return NoCipher()


_none = partial(Method, key_size=0, salt_size=16, cipher=_no_cipher, edition="none", tag_size=0)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("aes-128-gcm", 16, 16, AESGCM),
        Method("aes-192-gcm", 24, 24, AESGCM),
        Method("aes-256-gcm", 32, 32, AESGCM),
        Method("chacha20-ietf-poly1305", 32, 32, ChaCha20Poly1305),
        Method("xchacha20-ietf-poly1305", 32, 32, XChaCha20Poly1305, nonce_size=24),
        Method("2022-blake3-aes-128-gcm", 16, 16, AESGCM, "2022"),
        Method("2022-blake3-aes-256-gcm", 32, 32, AESGCM, "2022"),
        Method("2022-blake3-chacha20-poly1305", 32, 32, ChaCha20Poly1305, "2022"),
        _none("none"),
        _none("plain"),
        _none("dummy", framed=True),
    )
}


@dataclass(frozen=True, slots=True)
class Secret:
    """A method and its keys. ``keys`` are identity keys and, last, the key of the session."""

    method: Method
    keys: tuple[bytes, ...] = field(repr=False)

    @property
    def key(self) -> bytes:
        return self.keys[-1]

    def session(self, salt: bytes, key: bytes = b"") -> AEAD:
        """The cipher of one direction of a session; ``key`` of a user instead of our own."""
        method = self.method
        if method.edition == "2022":
            return method.cipher(
                blake3_key(SESSION_CONTEXT, (key or self.keys[-1]) + salt, method.key_size)
            )
        if method.edition == "none":
            return method.cipher(b"")
        derive = HKDF(SHA1(), method.key_size, salt, b"ss-subkey").derive
        return method.cipher(derive(self.keys[-1]))


def secret(name: str, password: str, where: str = "") -> Secret:
    """The secret of a method name (case ignored) and password.

    Raises ConfigError: no such method, or a key that does not fit it. MissingExtra.
    """
    method = METHODS.get(name.lower())
    if method is None:
        if not name:
            raise ConfigError("a Shadowsocks method and password are needed", where)
        known = ", ".join(METHODS)
        raise ConfigError(f"Shadowsocks method {name!r} is not supported; known: {known}", where)
    if method.edition == "none":
        return Secret(method, (b"",))
    if method.edition == "classic":
        return Secret(method, (_bytes_to_key(password, method.key_size),))
    try:
        import blake3  # noqa: F401
    except ImportError:
        raise MissingExtra("ss2022", f"Shadowsocks method {method.name}", where) from None
    keys = tuple(decode_key(method, part, where) for part in password.split(":"))
    if method.cipher is ChaCha20Poly1305 and len(keys) > 1:
        raise ConfigError(f"{method.name} has no identity keys", where)
    return Secret(method, keys)


def decode_key(method: Method, text: str, where: str = "") -> bytes:
    """A base64 key of the 2022 edition. Raises ConfigError."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"the key for {method.name} is not base64", where) from None
    # gost: any AES key length works with any AES method of 2022
    sizes = (16, 32) if method.cipher is AESGCM else (32,)
    if len(key) not in sizes:
        raise ConfigError(
            f"the key for {method.name} has {len(key)} bytes, expected {method.key_size}", where
        )
    return key


def _bytes_to_key(password: str, size: int) -> bytes:
    """EVP_BytesToKey with MD5, one round and no salt: how SIP004 stretches passwords."""
    secret = password.encode("utf-8", "surrogateescape")
    key = block = b""
    while len(key) < size:
        block = hashlib.md5(block + secret, usedforsecurity=False).digest()
        key += block
    return key[:size]


def blake3_key(context: str, material: bytes, size: int) -> bytes:
    """BLAKE3 in its key derivation mode."""
    from blake3 import blake3

    return bytes(blake3(material, derive_key_context=context).digest(length=size))


def blake3_hash(data: bytes) -> bytes:
    """The first 16 bytes of BLAKE3: how identity headers name the next key."""
    from blake3 import blake3

    return bytes(blake3(data).digest(length=16))
