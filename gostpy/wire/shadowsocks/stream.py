"""Shadowsocks streams with AEAD ciphers (SIP004).

Wire      SALT | { AEAD(length, 2, big-endian, at most 0x3FFF) | AEAD(payload) }*, each way
          a client's first payload begins with the target: ATYP | ADDR | PORT(2)
Source    SIP004; go-gost/go-shadowsocks2 shadowaead/stream.go
Differs   gost puts the address into a chunk of its own; here the first data rides in the same one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer
from gostpy.wire.shadowsocks.chunks import PAYLOAD, ChunkCodec
from gostpy.wire.shadowsocks.methods import Secret
from gostpy.wire.shadowsocks.salts import SaltFilter

__all__ = ["LARGEST", "StreamCodec"]

LARGEST = 0x3FFF


class StreamCodec(ChunkCodec):
    """Either end of a stream.

    Args:
        lead: a client's encoded target; sent with the first data. Empty on a server.
        salts: of this side of this service.
        random: makes that many random bytes.
    """

    __slots__ = ("_lead", "_random", "_salt", "_salts")

    def __init__(
        self,
        secret: Secret,
        lead: bytes = b"",
        salts: SaltFilter | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(secret, LARGEST, secret.method.salt_size)
        self._lead = lead
        self._salt = b""
        self._salts = salts
        self._random = random
        self.held = bool(lead)

    def _header(self, unit: memoryview) -> bytes:
        if self._open is None:
            self._salt = bytes(unit)
            self._open = self._secret.session(self._salt)
            self._want = 2 + self._tag
            return b""
        size = int.from_bytes(self._opened(unit), "big") & LARGEST
        # the peer knows the key: the salt is worth remembering
        if self._salts is not None and self._salts.repeated(self._salt):
            raise ProtocolError("repeated salt: this stream is a copy of another one")
        self._stage, self._want = PAYLOAD, size + self._tag
        return b""

    def _first(self, data: Buffer) -> bytes:
        salt = self._random(self._secret.method.salt_size)
        self._seal = self._secret.session(salt)
        if self._salts is not None:
            self._salts.add(salt)
        if self._lead:
            data = self._lead + bytes(data)
            self._lead, self.held = b"", False
        return salt + bytes(self.encode(data))
