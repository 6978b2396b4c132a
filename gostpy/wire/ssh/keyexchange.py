"""Key exchange: what both sides offer, what is chosen, and the keys that come of it.

KEXINIT(20)     cookie(16) | ten name lists | first_kex_packet_follows | 0(4)
INIT(30)        the client's public value
REPLY(31)       host key | the server's public value | signature over the exchange hash

The exchange hash is over both versions, both KEXINITs, the host key, both public values and the
shared secret. Curves: X25519 (RFC 8731) and the three of NIST (RFC 5656), whose secret is an mpint.
mlkem768x25519 (draft-ietf-sshm-mlkem-hybrid-kex) has two values in one: the client sends a key of
ML-KEM and one of X25519, the server a ciphertext and a key; the secret is the string of the hash
over both secrets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gostpy.errors import HandshakeFailed, ProtocolError
from gostpy.wire.ssh.ciphers import CIPHERS, MACS
from gostpy.wire.ssh.fields import Fields, mpint, names, string

__all__ = [
    "KEXINIT",
    "KexInit",
    "Negotiated",
    "Secrets",
    "answer",
    "exchange",
    "exchange_hash",
    "negotiate",
]

KEXINIT = 20

_METHODS = {
    "mlkem768x25519-sha256": "sha256",
    "curve25519-sha256": "sha256",
    "curve25519-sha256@libssh.org": "sha256",
    "ecdh-sha2-nistp256": "sha256",
    "ecdh-sha2-nistp384": "sha384",
    "ecdh-sha2-nistp521": "sha512",
}
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ecdh-sha2-nistp256": ec.SECP256R1,
    "ecdh-sha2-nistp384": ec.SECP384R1,
    "ecdh-sha2-nistp521": ec.SECP521R1,
}

_HYBRID = "mlkem768x25519-sha256"

_EXT_INFO = {True: "ext-info-c", False: "ext-info-s"}
_STRICT = {True: "kex-strict-c-v00@openssh.com", False: "kex-strict-s-v00@openssh.com"}


@dataclass(frozen=True, slots=True)
class KexInit:
    """One side's offer, most wanted first."""

    methods: tuple[str, ...]
    host_keys: tuple[str, ...]
    ciphers: tuple[tuple[str, ...], tuple[str, ...]]  # client to server, server to client
    macs: tuple[tuple[str, ...], tuple[str, ...]]
    compressions: tuple[tuple[str, ...], tuple[str, ...]]
    follows: bool = False
    cookie: bytes = b""

    @classmethod
    def make(cls, client: bool, host_keys: Sequence[str], first: bool) -> KexInit:
        """Our offer; markers are of the first exchange only."""
        marks = (_EXT_INFO[True],) if client else ()
        known = _methods()
        methods = (*known, *marks, _STRICT[client]) if first else known
        ciphers, macs, none = tuple(CIPHERS), tuple(MACS), ("none",)
        return cls(
            methods,
            tuple(host_keys),
            (ciphers, ciphers),
            (macs, macs),
            (none, none),
            cookie=os.urandom(16),
        )

    def encode(self) -> bytes:
        lists = (self.methods, self.host_keys, *self.ciphers, *self.macs, *self.compressions)
        listed = b"".join(names(each) for each in lists) + names(()) * 2
        return bytes((KEXINIT,)) + self.cookie + listed + bytes((self.follows,)) + bytes(4)

    @classmethod
    def read(cls, payload: bytes) -> KexInit:
        """Raises ProtocolError."""
        fields = Fields(payload, 1)
        cookie = fields.take(16)
        lists = [fields.names() for _ in range(10)]
        follows = fields.boolean()
        fields.uint32()
        return cls(
            lists[0],
            lists[1],
            (lists[2], lists[3]),
            (lists[4], lists[5]),
            (lists[6], lists[7]),
            follows,
            cookie,
        )


def _methods() -> tuple[str, ...]:
    """Those that this machine's cryptography library can do."""
    return tuple(name for name in _METHODS if name != _HYBRID or _has_mlkem())


@cache
def _has_mlkem() -> bool:
    try:
        mlkem.MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides use. Pairs are client to server, server to client.

    Attributes:
        guessed: the packet that follows the peer's offer is of the chosen method.
    """

    method: str
    host_key: str
    ciphers: tuple[str, str]
    macs: tuple[str, str]
    strict: bool
    ext_info: bool
    guessed: bool

    @property
    def digest(self) -> str:
        return _METHODS[self.method]


def negotiate(ours: KexInit, theirs: KexInit, we_are_client: bool) -> Negotiated:
    """The client's first choice that the server has. Raises HandshakeFailed: there is none."""
    client, server = (ours, theirs) if we_are_client else (theirs, ours)
    method = _agree("key exchange", client.methods, server.methods)
    host_key = _agree("host key", client.host_keys, server.host_keys)
    if method not in _METHODS:
        raise ProtocolError(f"SSH key exchange {method!r} is a marker, not a method")
    ciphers = [_agree("cipher", client.ciphers[at], server.ciphers[at]) for at in (0, 1)]
    macs = [
        _agree("MAC", client.macs[at], server.macs[at]) if ciphers[at].endswith("-ctr") else ""
        for at in (0, 1)
    ]
    for at in (0, 1):
        _agree("compression", client.compressions[at], server.compressions[at])
    guessed = theirs.methods[:1] == (method,) and theirs.host_keys[:1] == (host_key,)
    return Negotiated(
        method,
        host_key,
        (ciphers[0], ciphers[1]),
        (macs[0], macs[1]),
        _STRICT[not we_are_client] in theirs.methods,
        _EXT_INFO[True] in theirs.methods and not we_are_client,
        guessed,
    )


def _agree(what: str, client: Sequence[str], server: Sequence[str]) -> str:
    for name in client:
        if name in server:
            return name
    offered = ", ".join(client)[:200], ", ".join(server)[:200]
    raise HandshakeFailed(f"no common SSH {what}: {offered[0]} / {offered[1]}")


class Exchange(Protocol):
    """The client's secret of a key exchange; ``public`` goes over the wire."""

    public: bytes

    def shared(self, peer: bytes) -> bytes:
        """The shared secret as it is hashed. Raises ProtocolError: that is no value of a peer."""
        ...


class _X25519:
    def __init__(self) -> None:
        self._private = x25519.X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def raw(self, peer: bytes) -> bytes:
        try:
            return self._private.exchange(x25519.X25519PublicKey.from_public_bytes(peer))
        except ValueError:  # wrong size, or a point of small order
            raise ProtocolError("SSH peer sent a bad X25519 value") from None

    def shared(self, peer: bytes) -> bytes:
        return mpint(int.from_bytes(self.raw(peer), "big"))


class _Ecdh:
    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._curve = curve
        self._private = ec.generate_private_key(curve)
        self.public = self._private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )

    def shared(self, peer: bytes) -> bytes:
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, peer)
            return mpint(int.from_bytes(self._private.exchange(ec.ECDH(), public), "big"))
        except ValueError:
            raise ProtocolError("SSH peer sent a bad point") from None


class _Hybrid:
    """The client's side of mlkem768x25519-sha256."""

    def __init__(self) -> None:
        self._private = mlkem.MLKEM768PrivateKey.generate()
        self._curve = _X25519()
        self.public = self._private.public_key().public_bytes_raw() + self._curve.public

    def shared(self, peer: bytes) -> bytes:
        try:
            first = self._private.decapsulate(peer[:-32])
        except ValueError:
            raise ProtocolError("SSH peer sent a bad ML-KEM ciphertext") from None
        return string(hashlib.sha256(first + self._curve.raw(peer[-32:])).digest())


def exchange(method: str) -> Exchange:
    """A fresh secret of a client."""
    if method == _HYBRID:
        return _Hybrid()
    curve = _CURVES.get(method)
    return _Ecdh(curve()) if curve is not None else _X25519()


def answer(method: str, peer: bytes) -> tuple[bytes, bytes]:
    """The server's part: its public value, and the shared secret as it is hashed.

    Raises ProtocolError: that is no value of a client.
    """
    if method != _HYBRID:
        made = exchange(method)
        return made.public, made.shared(peer)
    curve = _X25519()
    try:
        first, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(peer[:-32]).encapsulate()
    except ValueError:
        raise ProtocolError("SSH peer sent a bad ML-KEM key") from None
    secret = string(hashlib.sha256(first + curve.raw(peer[-32:])).digest())
    return ciphertext + curve.public, secret


def exchange_hash(
    digest: str,
    versions: tuple[bytes, bytes],
    offers: tuple[bytes, bytes],
    host_key: bytes,
    publics: tuple[bytes, bytes],
    secret: bytes,
) -> bytes:
    """Pairs are client, server."""
    parts = (*versions, *offers, host_key, *publics)
    return hashlib.new(digest, b"".join(map(string, parts)) + secret).digest()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the keys of both directions come from (RFC 4253 section 7.2)."""

    digest: str
    secret: bytes
    hash: bytes
    session_id: bytes

    def key(self, letter: bytes, size: int) -> bytes:
        start = self.secret + self.hash
        made = hashlib.new(self.digest, start + letter + self.session_id).digest()
        while len(made) < size:
            made += hashlib.new(self.digest, start + made).digest()
        return made[:size]
