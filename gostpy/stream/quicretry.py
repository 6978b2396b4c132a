"""Tokens of QUIC's Retry packets: what a client returns to show that it is where it says.

Token     nonce(12) | AES-GCM of time(8, seconds) | length(1) of first id | first id | Retry's id;
          the address is authenticated with it
Source    RFC 9000, section 8.1
Differs   aioquic's own tokens are made with RSA: 50 µs each, a millisecond to check, and a key that
          takes a tenth of a second when a listener starts
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["LIFETIME", "RetryTokens"]

LIFETIME = 60.0
"""Seconds in which a token has to come back."""

_NONCE = 12
_HEAD = struct.Struct("!dB")


class RetryTokens:
    """Makes and checks tokens with a key of its own."""

    __slots__ = ("_aead",)

    def __init__(self) -> None:
        self._aead = AESGCM(os.urandom(16))

    def create(self, address: str, first: bytes, retry: bytes, now: float) -> bytes:
        """A token for a client at ``address`` that asked for connection id ``first``."""
        nonce = os.urandom(_NONCE)
        inner = _HEAD.pack(now, len(first)) + first + retry
        return nonce + self._aead.encrypt(nonce, inner, address.encode())

    def first_id(self, address: str, asked: bytes, token: bytes, now: float) -> bytes | None:
        """The connection id of the first attempt; None: not a token for this client, or too old.

        Args:
            asked: the connection id of this attempt, which the Retry packet gave.
        """
        if len(token) < _NONCE:
            return None
        try:
            inner = self._aead.decrypt(token[:_NONCE], token[_NONCE:], address.encode())
        except InvalidTag:
            return None
        made, size = _HEAD.unpack_from(inner)
        first, retry = inner[_HEAD.size : _HEAD.size + size], inner[_HEAD.size + size :]
        if retry != asked or not 0 <= now - made <= LIFETIME:
            return None
        return first
