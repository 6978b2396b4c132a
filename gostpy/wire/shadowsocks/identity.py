"""Identity headers of the 2022 edition: which user's key follows (SIP023).

Wire      stream: AES-ECB(derive_key("shadowsocks 2022 identity subkey", key | salt), NEXT)
          packet: AES-ECB(key, NEXT xor session id | packet id)
          with NEXT = the first 16 bytes of BLAKE3(next key); one header per identity key
Source    SIP023; go-gost/go-shadowsocks2 shadowaead_2022/stream.go, session_manager.go
Differs   gost ignores users whose key is not base64; here they are errors when the config is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from gostpy.errors import ConfigError, ProtocolError
from gostpy.wire.shadowsocks.methods import (
    IDENTITY_CONTEXT,
    Secret,
    blake3_hash,
    blake3_key,
    decode_key,
)

__all__ = ["BLOCK", "AESBlock", "User", "Users", "users_of"]

BLOCK = 16


class AESBlock:
    """AES on single blocks, set up once per key."""

    __slots__ = ("decrypt", "encrypt")

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(key), ECB())
        self.encrypt = cipher.encryptor().update
        self.decrypt = cipher.decryptor().update


@dataclass(frozen=True, slots=True)
class User:
    """A user of a server; the name is for logs and limits."""

    name: str
    key: bytes = field(repr=False)


Users = Mapping[bytes, User]
"""Hash of the key -> user."""


def users_of(secret: Secret, users: Mapping[str, str], where: str = "") -> Users:
    """The users of a server from name -> base64 key. Raises ConfigError."""
    if users and secret.method.name.endswith("chacha20-poly1305"):
        raise ConfigError(f"{secret.method.name} knows no users", where)
    found = {}
    for name, text in users.items():
        key = decode_key(secret.method, text, f"{where}.{name}" if where else name)
        found[blake3_hash(key)] = User(name, key)
    return found


def stream_headers(secret: Secret, salt: bytes) -> bytes:
    """A client's identity headers behind ``salt``; empty with a single key."""
    wire = b""
    for key, following in zip(secret.keys, secret.keys[1:], strict=False):
        subkey = blake3_key(IDENTITY_CONTEXT, key + salt, secret.method.key_size)
        wire += AESBlock(subkey).encrypt(blake3_hash(following))
    return wire


def stream_user(secret: Secret, users: Users, salt: bytes, header: bytes) -> User:
    """The user that an identity header names. Raises ProtocolError: there is none."""
    subkey = blake3_key(IDENTITY_CONTEXT, secret.key + salt, secret.method.key_size)
    return _look_up(users, AESBlock(subkey).decrypt(header))


def packet_headers(secret: Secret, plain: bytes) -> bytes:
    """A client's identity headers for the packet whose separate header is ``plain``."""
    wire = b""
    for key, following in zip(secret.keys, secret.keys[1:], strict=False):
        wire += AESBlock(key).encrypt(_xor(blake3_hash(following), plain))
    return wire


def packet_user(block: AESBlock, users: Users, plain: bytes, header: bytes) -> User:
    """The user that a packet's identity header names. Raises ProtocolError: there is none."""
    return _look_up(users, _xor(block.decrypt(header), plain))


def _look_up(users: Users, name: bytes) -> User:
    user = users.get(name)
    if user is None:
        raise ProtocolError("identity header of an unknown user")
    return user


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(BLOCK, "big")
