"""Shadowsocks streams of the 2022 edition (SIP022, SIP023), and gost 3.2.6's form of them.

Request   SALT | identity headers | AEAD(TYPE=0 | TIME(8) | LENGTH(2)) |
          AEAD(ATYP ADDR PORT | PADLEN(2) | padding, 0-900 | payload), LENGTH bytes | chunks
Response  SALT | AEAD(TYPE=1 | TIME(8) | request's salt | LENGTH(2)) |
          AEAD(payload), LENGTH bytes | chunks
Chunk     AEAD(length, 2, big-endian) | AEAD(payload), up to 0xFFFF bytes
Source    SIP022, SIP023; go-gost/go-shadowsocks2 shadowaead_2022/stream.go
Differs   gost 3.2.6 answers LENGTH=0 with chunks directly behind it, expects the same, and loses a
          payload inside the request's header. So a client never puts one there (padding instead,
          which everybody takes) and tells the two responses apart. A server answers a request that
          held payload in the standard form, since gost never sends one; for the others its user
          sets ``legacy``. gost checks neither TYPE nor the request's salt in the response.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gostpy.errors import ProtocolError
from gostpy.wire.address import decode_address
from gostpy.wire.codec import Buffer
from gostpy.wire.shadowsocks.chunks import HEADER, PAYLOAD, ChunkCodec
from gostpy.wire.shadowsocks.identity import BLOCK, User, Users, stream_headers, stream_user
from gostpy.wire.shadowsocks.methods import InvalidTag, Secret
from gostpy.wire.shadowsocks.salts import SaltFilter

__all__ = ["CLOCK_SKEW", "LARGEST", "MAX_PADDING", "ClientStream", "ServerStream", "check_time"]

LARGEST = 0xFFFF
MAX_PADDING = 900
CLOCK_SKEW = 30
"""Seconds that the peer's clock may differ."""

_TAG = 16
_REQUEST, _RESPONSE = 0, 1
_FIXED, _VARIABLE, _FIRST, _PROBE = range(4)


def check_time(stamp: bytes, clock: Callable[[], float]) -> None:
    """Raises ProtocolError: the peer's time is too far from ours."""
    apart = int.from_bytes(stamp, "big") - int(clock())
    if abs(apart) > CLOCK_SKEW:
        raise ProtocolError(f"timestamp {apart:+d} s from our clock, at most {CLOCK_SKEW} s may be")


def padding_size(random: Callable[[int], bytes]) -> int:
    """1 to 900, at random."""
    return 1 + int.from_bytes(random(2), "big") % MAX_PADDING


class ClientStream(ChunkCodec):
    """The client's end.

    Args:
        lead: the encoded target.
        random: makes that many random bytes. clock: Unix time.
    """

    __slots__ = ("_clock", "_lead", "_random", "_request_salt", "_step")

    def __init__(
        self,
        secret: Secret,
        lead: bytes,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(secret, LARGEST, 2 * secret.method.salt_size + 11 + _TAG)
        self._lead = lead
        self._random = random
        self._clock = clock
        self._request_salt = b""
        self._step = _FIXED
        self.held = True

    def _first(self, data: Buffer) -> bytes:
        secret = self._secret
        salt = self._request_salt = self._random(secret.method.salt_size)
        self._seal = secret.session(salt)
        padding = padding_size(self._random)
        variable = self._lead + padding.to_bytes(2, "big") + bytes(padding)
        now = int(self._clock()).to_bytes(8, "big")
        fixed = bytes((_REQUEST,)) + now + len(variable).to_bytes(2, "big")
        wire = salt + stream_headers(secret, salt) + self._sealed(fixed) + self._sealed(variable)
        self._lead, self.held = b"", False
        return wire + bytes(self.encode(data))

    def _header(self, unit: memoryview) -> bytes:
        if self._step == _FIXED:
            return self._fixed(unit)
        if self._step == _PROBE:
            return self._probe(unit)
        self._expect_chunks()
        return self._opened(unit)

    def _fixed(self, unit: memoryview) -> bytes:
        size = self._secret.method.salt_size
        self._open = self._secret.session(bytes(unit[:size]))
        plain = self._opened(unit[size:])
        if plain[0] != _RESPONSE:
            raise ProtocolError(f"stream type {plain[0]} in a response, expected {_RESPONSE}")
        check_time(plain[1:9], self._clock)
        if plain[9 : 9 + size] != self._request_salt or not self._request_salt:
            raise ProtocolError("this response belongs to another request")
        length = int.from_bytes(plain[9 + size :], "big")
        self._step = _FIRST if length else _PROBE
        self._want = length + _TAG if length else 2 + _TAG
        return b""

    def _probe(self, unit: memoryview) -> bytes:
        """After LENGTH=0: a chunk's length (gost 3.2.6), or an empty first payload (standard)."""
        try:
            size = int.from_bytes(self._opened(unit), "big")
        except InvalidTag:
            self._opened(unit[:_TAG])
            self._back = 2
            self._expect_chunks()
        else:
            self._stage, self._want = PAYLOAD, size + _TAG
        return b""


class ServerStream(ChunkCodec):
    """The server's end. What it decodes begins with the encoded target, as in SIP004.

    Attributes:
        user: whose key it is, once the request was read; None without users.
        had_payload: the request's header held payload.
        legacy: answer as gost 3.2.6 does; to be set before the first data is sent.
    """

    __slots__ = (
        "_clock",
        "_random",
        "_request_salt",
        "_salts",
        "_step",
        "_users",
        "had_payload",
        "legacy",
        "user",
    )

    def __init__(
        self,
        secret: Secret,
        users: Users | None = None,
        salts: SaltFilter | None = None,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
    ) -> None:
        identity = BLOCK if users else 0
        super().__init__(secret, LARGEST, secret.method.salt_size + identity + 11 + _TAG)
        self._users = users
        self._salts = salts
        self._random = random
        self._clock = clock
        self._request_salt = b""
        self._step = _FIXED
        self.user: User | None = None
        self.had_payload = False
        self.legacy = False

    @property
    def followed(self) -> bool:
        """More has arrived than the request's header."""
        return (
            self.had_payload
            or self._stage == PAYLOAD
            or self._received > 2
            or bool(self._stage != HEADER and self._partial)
        )

    def _header(self, unit: memoryview) -> bytes:
        if self._step == _FIXED:
            return self._fixed(unit)
        return self._variable(unit)

    def _fixed(self, unit: memoryview) -> bytes:
        size = self._secret.method.salt_size
        salt = bytes(unit[:size])
        key = b""
        if self._users:
            header = bytes(unit[size : size + BLOCK])
            self.user = stream_user(self._secret, self._users, salt, header)
            key = self.user.key
            size += BLOCK
        self._open = self._secret.session(salt, key)
        plain = self._opened(unit[size:])
        if plain[0] != _REQUEST:
            raise ProtocolError(f"stream type {plain[0]} in a request, expected {_REQUEST}")
        check_time(plain[1:9], self._clock)
        if self._salts is not None and self._salts.repeated(salt):
            raise ProtocolError("repeated salt: this stream is a copy of another one")
        self._request_salt = salt
        self._step = _VARIABLE
        self._want = int.from_bytes(plain[9:], "big") + _TAG
        return b""

    def _variable(self, unit: memoryview) -> bytes:
        plain = self._opened(unit)
        _, size = decode_address(plain)
        padding = int.from_bytes(plain[size : size + 2], "big")
        start = size + 2 + padding
        if padding > MAX_PADDING or start > len(plain):
            raise ProtocolError(f"padding of {padding} bytes in a header of {len(plain)}")
        if not padding and start == len(plain):
            raise ProtocolError("neither padding nor payload in a request")
        self.had_payload = start < len(plain)
        self._expect_chunks()
        return plain[:size] + plain[start:]

    def _first(self, data: Buffer) -> bytes:
        if not self._request_salt:
            raise ProtocolError("data for a client whose request was not read")
        secret, user = self._secret, self.user
        salt = self._random(secret.method.salt_size)
        self._seal = secret.session(salt, user.key if user is not None else b"")
        first = b"" if self.legacy else data[:LARGEST]
        now = int(self._clock()).to_bytes(8, "big")
        fixed = bytes((_RESPONSE,)) + now + self._request_salt + len(first).to_bytes(2, "big")
        wire = salt + self._sealed(fixed)
        if self.legacy:
            return wire + bytes(self.encode(data))
        return wire + self._sealed(first) + bytes(self.encode(data[LARGEST:]))
