"""Keys of hosts and users: their public form on the wire, signatures, and key files.

Public    string type | its numbers: ed25519 32 bytes, ecdsa curve and point, rsa e and n
Signature string algorithm | string value; ECDSA's value is mpint r | mpint s

Source    RFC 4253 section 6.6, 5656, 8332 (RSA signs with SHA-2 only), 8709
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gostpy.errors import ConfigError, HandshakeFailed, MissingExtra, ProtocolError
from gostpy.wire.ssh.fields import Fields, mpint, string

__all__ = [
    "ALGORITHMS",
    "PrivateKey",
    "Signer",
    "algorithms_of",
    "key_type",
    "load_private",
    "verify",
]

_ECDSA: dict[str, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]] = {
    "ecdsa-sha2-nistp256": (ec.SECP256R1, hashes.SHA256()),
    "ecdsa-sha2-nistp384": (ec.SECP384R1, hashes.SHA384()),
    "ecdsa-sha2-nistp521": (ec.SECP521R1, hashes.SHA512()),
}
_RSA: dict[str, hashes.HashAlgorithm] = {
    "rsa-sha2-256": hashes.SHA256(),
    "rsa-sha2-512": hashes.SHA512(),
}
ALGORITHMS = ("ssh-ed25519", *_ECDSA, "rsa-sha2-512", "rsa-sha2-256")
"""Signature algorithms, most wanted first."""

_SMALLEST_RSA, _LARGEST_RSA = 1024, 16384


def key_type(blob: bytes) -> str:
    """Of a public key on the wire. Raises ProtocolError."""
    return Fields(blob).text()


def algorithms_of(kind: str) -> tuple[str, ...]:
    """Signature algorithms of a key type, most wanted first; none for unknown types."""
    if kind == "ssh-rsa":
        return ("rsa-sha2-512", "rsa-sha2-256")
    return (kind,) if kind in ALGORITHMS else ()


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that can sign: ours, or one of an agent.

    Attributes:
        public: as on the wire.
        sign: (algorithm, data) -> signature as on the wire. Raises ProtocolError, OSError.
    """

    public: bytes
    sign: Callable[[str, bytes], bytes]

    @property
    def algorithms(self) -> tuple[str, ...]:
        return algorithms_of(key_type(self.public))


class PrivateKey:
    """A private key of one of the known types. Raises ConfigError: it is of another one."""

    def __init__(self, key: Any) -> None:
        self._key = key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            raw = key.public_key().public_bytes_raw()
            self.public = string("ssh-ed25519") + string(raw)
        elif isinstance(key, ec.EllipticCurvePrivateKey) and _name_of(key.curve):
            name = _name_of(key.curve)
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            self.public = string(name) + string(name.rpartition("-")[2]) + string(point)
        elif isinstance(key, rsa.RSAPrivateKey):
            numbers = key.public_key().public_numbers()
            self.public = string("ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
        else:
            raise ConfigError("SSH keys are Ed25519, ECDSA (NIST curves) or RSA")
        self.kind = key_type(self.public)
        self.algorithms = algorithms_of(self.kind)

    def sign(self, algorithm: str, data: bytes) -> bytes:
        """The signature as on the wire."""
        key = self._key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            value = key.sign(data)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            made = key.sign(data, ec.ECDSA(_ECDSA[algorithm][1]))
            value = b"".join(map(mpint, utils.decode_dss_signature(made)))
        else:
            value = key.sign(data, padding.PKCS1v15(), _RSA[algorithm])
        return string(algorithm) + string(value)

    @property
    def signer(self) -> Signer:
        return Signer(self.public, self.sign)


def _name_of(curve: ec.EllipticCurve) -> str:
    for name, (kind, _) in _ECDSA.items():
        if isinstance(curve, kind):
            return name
    return ""


def verify(public: bytes, algorithm: str, signature: bytes, data: bytes) -> None:
    """Raises HandshakeFailed: the signature is not of that key and algorithm; ProtocolError."""
    fields = Fields(signature)
    named, value = fields.text(), fields.string()
    if named != algorithm or algorithm not in algorithms_of(key_type(public)):
        raise HandshakeFailed(f"SSH signature by {named!r}, expected {algorithm!r}")
    try:
        _verify(Fields(public), algorithm, value, data)
    except InvalidSignature:
        raise HandshakeFailed("SSH signature is wrong") from None
    except (ValueError, OverflowError, UnsupportedAlgorithm):
        raise ProtocolError("SSH public key or signature is malformed") from None


def _verify(public: Fields, algorithm: str, value: bytes, data: bytes) -> None:
    public.text()
    if algorithm == "ssh-ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(public.string()).verify(value, data)
    elif algorithm in _ECDSA:
        curve, digest = _ECDSA[algorithm]
        public.text()
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve(), public.string())
        numbers = Fields(value)
        pair = numbers.mpint(), numbers.mpint()
        if min(pair) <= 0:
            raise InvalidSignature
        key.verify(utils.encode_dss_signature(*pair), data, ec.ECDSA(digest))
    else:
        exponent, modulus = public.mpint(), public.mpint()
        if not _SMALLEST_RSA <= modulus.bit_length() <= _LARGEST_RSA:
            raise ValueError("RSA key of an odd size")
        rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(
            value, data, padding.PKCS1v15(), _RSA[algorithm]
        )


def load_private(data: bytes, passphrase: str = "") -> PrivateKey:
    """A key file: OpenSSH's own format or PEM. Raises ConfigError saying what is wrong with it."""
    password = passphrase.encode() or None
    own = b"BEGIN OPENSSH" in data
    load: Any = serialization.load_ssh_private_key if own else serialization.load_pem_private_key
    try:
        return PrivateKey(load(data, password))
    except TypeError:
        if password is None:
            raise ConfigError("the key is encrypted and there is no passphrase") from None
        return PrivateKey(load(data, None))  # a passphrase that is not needed
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error):
            raise MissingExtra("ssh", "an encrypted OpenSSH key") from error
        raise ConfigError(f"key file: {error}") from error
    except ValueError as error:
        raise ConfigError(f"not a private key, or a wrong passphrase: {error}") from error
