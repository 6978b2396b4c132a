"""Host names hidden in HTTP headers and TLS extensions by gost's ``sni`` connector.

Wire      b64url( CRC-32/IEEE(name)(4, big-endian) | b64url(name) ), both without padding
Source    go-gost/x connector/sni/conn.go; decoded by the http handler from ``Gost-Target`` and
          ``X-Gost-Target``. The extension number in a ClientHello is 0xFFFE.
Differs   nothing known.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from gostpy.errors import ProtocolError

__all__ = ["EXTENSION", "decode_name", "encode_name"]

EXTENSION = 0xFFFE


def encode_name(name: str) -> str:
    plain = name.encode("utf-8", "surrogateescape")
    return _encode(zlib.crc32(plain).to_bytes(4, "big") + _encode(plain)).decode()


def decode_name(text: str) -> str:
    """The hidden name. Raises ProtocolError: no such encoding, or the checksum is wrong."""
    outer = _decode(text.encode("utf-8", "surrogateescape"))
    plain = _decode(outer[4:])
    if len(outer) < 4 or zlib.crc32(plain) != int.from_bytes(outer[:4], "big"):
        raise ProtocolError("hidden host name: wrong checksum")
    return plain.decode("utf-8", "surrogateescape")


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(data: bytes) -> bytes:
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("hidden host name: not base64") from error
