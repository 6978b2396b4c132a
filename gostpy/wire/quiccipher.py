"""``cipherKey`` of quic: every UDP datagram is sealed once more.

Wire     nonce(12) | AES-GCM(datagram) with its 16 bytes of tag; no further data
Source   gost's internal/util/quic
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gostpy.errors import ConfigError, ProtocolError

__all__ = ["OVERHEAD", "DatagramCipher"]

_NONCE, _TAG = 12, 16
OVERHEAD = _NONCE + _TAG


class DatagramCipher:
    """Raises ConfigError: a key that is not of 16, 24 or 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) not in (16, 24, 32):
            raise ConfigError(f"a key has 16, 24 or 32 bytes, not {len(key)}", "cipherKey")
        aead = AESGCM(key)
        self._seal, self._open = aead.encrypt, aead.decrypt

    def encode(self, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._seal(nonce, data, None)

    def decode(self, data: bytes) -> bytes:
        """Raises ProtocolError: sealed with another key, changed, or cut."""
        if len(data) < OVERHEAD:
            raise ProtocolError("sealed datagram is too short")
        try:
            return self._open(data[:_NONCE], data[_NONCE:], None)
        except InvalidTag:
            raise ProtocolError("sealed datagram cannot be opened") from None
