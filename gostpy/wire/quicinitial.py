"""The first packet of a QUIC client, opened for the server name that it asks for.

Wire      flags(1) | VERSION(4) | length(1) DCID | length(1) SCID | length(varint) token |
          length(varint) | packet number(1-4) | AEAD_AES_128_GCM(frames)
Source    RFC 9000 sections 17.2.2 and 19, RFC 9001 section 5, RFC 9369 (version 2)

Anybody can open it: the keys follow from the destination connection id. Several packets of one
datagram are put together; a hello that goes on in a further datagram is not waited for.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gostpy.errors import ProtocolError
from gostpy.wire.address import BytesReader
from gostpy.wire.tlshello import ClientHello

__all__ = ["server_name"]

_VERSIONS = {
    1: (bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), "quic ", 0),
    0x6B3343CF: (bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), "quicv2 ", 1),
}
"""Version -> salt, prefix of labels, type of an Initial packet."""

_LONG_FIXED = 0xC0
_SAMPLE, _TAG = 16, 16
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO = 0, 1, 2, 3, 6
_CLIENT_HELLO, _TLS13 = 1, 0x0301
_MOST = 65535


def server_name(datagram: bytes) -> str:
    """The name in the ClientHello, empty for a hello without one.

    Raises ProtocolError: the datagram is something else, or has only a part of the hello.
    """
    pieces: dict[int, bytes] = {}
    reader = BytesReader(datagram)
    _collect(_open(datagram, reader), pieces)
    try:
        while reader.rest:
            _collect(_open(datagram, reader), pieces)
    except ProtocolError:
        pass  # padding, or packets of another kind
    return _hello(pieces).server_name


def _open(datagram: bytes, reader: BytesReader) -> bytes:
    """The frames of the packet at which the reader stands."""
    start = reader.position
    flags = reader.read_exact(1)[0]
    version = int.from_bytes(reader.read_exact(4), "big")
    if flags & _LONG_FIXED != _LONG_FIXED or version not in _VERSIONS:
        raise ProtocolError("no QUIC packet of a known version")
    salt, prefix, kind = _VERSIONS[version]
    if flags >> 4 & 3 != kind:
        raise ProtocolError("no Initial packet of QUIC")
    identifier = reader.read_exact(reader.read_exact(1)[0])
    reader.read_exact(reader.read_exact(1)[0])
    reader.read_exact(_varint(reader))
    size = _varint(reader)
    number_at = reader.position
    packet = datagram[start:number_at] + reader.read_exact(size)
    return _decrypt(packet, number_at - start, _keys(salt, prefix, identifier))


def _keys(salt: bytes, prefix: str, identifier: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, IV and header key of the client."""
    initial = hmac.digest(salt, identifier, hashlib.sha256)
    secret = _expand(initial, "client in", 32)
    return (
        _expand(secret, prefix + "key", 16),
        _expand(secret, prefix + "iv", 12),
        _expand(secret, prefix + "hp", 16),
    )


def _expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label of one block, without context."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0\1"
    return hmac.digest(secret, info, hashlib.sha256)[:size]


def _decrypt(packet: bytes, at: int, keys: tuple[bytes, bytes, bytes]) -> bytes:
    """``at`` is where the packet number begins."""
    key, iv, header_key = keys
    sample = packet[at + 4 : at + 4 + _SAMPLE]
    if len(sample) < _SAMPLE:
        raise ProtocolError("QUIC packet without room for a sample")
    mask = Cipher(algorithms.AES(header_key), modes.ECB()).encryptor().update(sample)
    flags = packet[0] ^ mask[0] & 0x0F
    size = (flags & 3) + 1
    number = bytes(a ^ b for a, b in zip(packet[at : at + size], mask[1:], strict=False))
    header = bytes((flags,)) + packet[1:at] + number
    nonce = int.from_bytes(iv, "big") ^ int.from_bytes(number, "big")
    sealed = packet[at + size :]
    if len(sealed) < _TAG:
        raise ProtocolError("QUIC packet without a tag")
    try:
        return AESGCM(key).decrypt(nonce.to_bytes(12, "big"), sealed, header)
    except InvalidTag:
        raise ProtocolError("QUIC packet cannot be opened") from None


def _collect(frames: bytes, pieces: dict[int, bytes]) -> None:
    """Put the data of CRYPTO frames into ``pieces``, by offset."""
    reader = BytesReader(frames)
    while reader.position < len(frames):
        kind = reader.read_exact(1)[0]
        if kind in (_PADDING, _PING):
            continue
        if kind == _CRYPTO:
            offset = _varint(reader)
            pieces[offset] = reader.read_exact(_varint(reader))
        elif kind in (_ACK, _ACK_ECN):
            _varint(reader)
            _varint(reader)
            ranges = _varint(reader)
            for _ in range(min(ranges, _MOST) * 2 + 1 + (3 if kind == _ACK_ECN else 0)):
                _varint(reader)
        else:
            raise ProtocolError(f"frame {kind:#x} in an Initial packet")


def _hello(pieces: dict[int, bytes]) -> ClientHello:
    data = bytearray()
    for offset in sorted(pieces):
        if offset > len(data):
            break
        data[offset : offset + len(pieces[offset])] = pieces[offset]
    reader = BytesReader(bytes(data))
    kind = reader.read_exact(1)[0]
    if kind != _CLIENT_HELLO:
        raise ProtocolError(f"handshake message {kind}, not a ClientHello")
    body = reader.read_exact(int.from_bytes(reader.read_exact(3), "big"))
    return ClientHello.parse(body, _TLS13)


def _varint(reader: BytesReader) -> int:
    first = reader.read_exact(1)[0]
    rest = reader.read_exact((1 << (first >> 6)) - 1)
    return int.from_bytes(bytes((first & 0x3F,)) + rest, "big")
