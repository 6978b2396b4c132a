"""Shadowsocks packets of the 2022 edition (SIP022, SIP023), and gost's form of them.

AES       AES-ECB(key, SESSION(8) | PACKET(8)) | identity headers | AEAD(body)
          session key's salt = SESSION; nonce = the last 12 bytes of SESSION | PACKET
ChaCha    NONCE(24) | XChaCha20-Poly1305(key, SESSION | PACKET | body)
Request   TYPE=0 | TIME(8) | PADLEN(2) | padding | target | payload
Reply     TYPE=1 | TIME(8) | client's SESSION | PADLEN(2) | padding | sender | payload
Source    SIP022, SIP023; go-gost/go-shadowsocks2 shadowaead_2022/packet.go, session_manager.go
Differs   gost salts the session key with SESSION *reversed*: a server tells that by trying both,
          and answers in kind; a client is told which. gost pads every packet with up to 899 bytes;
          none is padded here. gost names the target instead of the sender in replies, does not
          check them for copies, and takes packet 0 any number of times while it is the newest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property

from gostpy.errors import LimitExceeded, ProtocolError
from gostpy.wire.address import decode_address, encode_address
from gostpy.wire.shadowsocks.identity import (
    BLOCK,
    AESBlock,
    User,
    Users,
    packet_headers,
    packet_user,
)
from gostpy.wire.shadowsocks.methods import AEAD, InvalidTag, Secret, XChaCha20Poly1305
from gostpy.wire.shadowsocks.stream2022 import MAX_PADDING, check_time

__all__ = ["ClientPackets2022", "ServerPackets2022", "ServerSession", "Window"]

IDLE = 60.0
"""Seconds after which a session is forgotten."""

_MOST_SESSIONS = 65536
_REQUEST, _REPLY = 0, 1
_NONCE = 24
_TAG = 16


class Window:
    """Which packet numbers have come: each is taken once, and none that is much too old."""

    __slots__ = ("_highest", "_seen")

    SIZE = 2000

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0  # bit n: highest - n has come

    def fresh(self, number: int) -> bool:
        """The number may be taken."""
        behind = self._highest - number
        return behind < 0 or (behind < self.SIZE and not self._seen >> behind & 1)

    def take(self, number: int) -> None:
        ahead = number - self._highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        kept = self._seen << ahead if ahead < self.SIZE else 0
        self._seen = (kept | 1) & ((1 << self.SIZE) - 1)
        self._highest = number


class _Sender:
    """Outgoing packets of one session.

    Args:
        block_key: of the separate header. key: of the body.
        prefix: makes the identity headers from the separate header.
    """

    __slots__ = ("_aead", "_block", "_number", "_prefix", "_random", "session")

    def __init__(
        self,
        secret: Secret,
        key: bytes,
        session: bytes,
        random: Callable[[int], bytes],
        legacy: bool = False,
        block_key: bytes = b"",
        prefix: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.session = session
        self._number = 0
        self._prefix = prefix
        self._random = random
        self._block = None if _chacha(secret) else AESBlock(block_key or key)
        self._aead: AEAD = (
            XChaCha20Poly1305(key)
            if self._block is None
            else secret.session(session[::-1] if legacy else session, key)
        )

    def seal(self, body: bytes) -> bytes:
        head = self.session + self._number.to_bytes(8, "big")
        self._number += 1
        if self._block is None:
            nonce = self._random(_NONCE)
            return nonce + self._aead.encrypt(nonce, head + body, None)
        identity = self._prefix(head) if self._prefix is not None else b""
        return self._block.encrypt(head) + identity + self._aead.encrypt(head[4:], body, None)


class ClientPackets2022:
    """A client's association: one session.

    Args:
        legacy: speak gost's form.
        random: makes that many random bytes. clock: Unix time.
    """

    def __init__(
        self,
        secret: Secret,
        legacy: bool = False,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._legacy = legacy and not _chacha(secret)
        self._clock = clock
        several = len(secret.keys) > 1
        self._sender = _Sender(
            secret,
            secret.key,
            random(8),
            random,
            self._legacy,
            secret.keys[0],
            (lambda head: packet_headers(secret, head)) if several else None,
        )
        self._replies: dict[bytes, tuple[AEAD, Window]] = {}

    def seal(self, payload: bytes, address: str) -> bytes:
        """A request to ``address``. Raises ProtocolError: the address does not fit."""
        now = int(self._clock()).to_bytes(8, "big")
        return self._sender.seal(
            bytes((_REQUEST,)) + now + b"\0\0" + encode_address(address) + payload
        )

    def open(self, packet: bytes) -> tuple[bytes, str]:
        """(payload, sender) of a reply. Raises ProtocolError."""
        if _chacha(self._secret):
            head, body = _open_chacha(self._xchacha, packet)
            window = self._session(head[:8])[1]
        else:
            if len(packet) < BLOCK + _TAG:
                raise ProtocolError(f"packet of {len(packet)} bytes")
            head = self._block.decrypt(packet[:BLOCK])
            aead, window = self._session(head[:8])
            body = _opened(aead, head, packet[BLOCK:])
        payload, address = self._body(body)
        number = int.from_bytes(head[8:], "big")
        if not window.fresh(number):
            raise ProtocolError(f"packet {number} came before, or too late")
        window.take(number)
        if head[:8] not in self._replies:
            if len(self._replies) > 1:  # the server was restarted: the one before may linger
                del self._replies[next(iter(self._replies))]
            self._replies[head[:8]] = (aead if not _chacha(self._secret) else self._xchacha, window)
        return payload, address

    @cached_property
    def _block(self) -> AESBlock:
        return AESBlock(self._secret.key)

    @cached_property
    def _xchacha(self) -> AEAD:
        return XChaCha20Poly1305(self._secret.key)

    def _session(self, session: bytes) -> tuple[AEAD, Window]:
        """The cipher and window of a server's session; kept when its packet proves genuine."""
        known = self._replies.get(session)
        if known is not None:
            return known
        if _chacha(self._secret):
            return self._xchacha, Window()
        return self._secret.session(session[::-1] if self._legacy else session), Window()

    def _body(self, body: bytes) -> tuple[bytes, str]:
        if len(body) < 19 or body[0] != _REPLY:
            raise ProtocolError("not a reply packet")
        check_time(body[1:9], self._clock)
        if body[9:17] != self._sender.session:
            raise ProtocolError("this reply belongs to another session")
        return _unpadded(body, 17)


class ServerSession:
    """A client's session, as a server knows it.

    Attributes:
        legacy: the client speaks gost's form.
        used: Unix time of the last packet either way.
    """

    __slots__ = ("_clock", "_sender", "aead", "id", "legacy", "used", "user", "window")

    def __init__(
        self,
        id: bytes,
        aead: AEAD,
        legacy: bool,
        user: User | None,
        sender: _Sender,
        clock: Callable[[], float],
    ) -> None:
        self.id = id
        self.aead = aead
        self.legacy = legacy
        self.user = user
        self.window = Window()
        self.used = clock()
        self._sender = sender
        self._clock = clock

    def seal(self, payload: bytes, address: str) -> bytes:
        """A reply from ``address``."""
        self.used = self._clock()
        now = int(self.used).to_bytes(8, "big")
        body = bytes((_REPLY,)) + now + self.id + b"\0\0" + encode_address(address) + payload
        return self._sender.seal(body)


class ServerPackets2022:
    """A server's side: the sessions of all its clients.

    Args:
        users: hash of key -> user; empty for none.
        random: makes that many random bytes. clock: Unix time.
    """

    def __init__(
        self,
        secret: Secret,
        users: Users | None = None,
        random: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._users = users
        self._random = random
        self._clock = clock
        self._chacha = XChaCha20Poly1305(secret.key) if _chacha(secret) else None
        self._block = AESBlock(secret.key) if self._chacha is None else None
        self._sessions: dict[tuple[bytes, User | None], ServerSession] = {}
        self._swept = clock()

    def open(self, packet: bytes) -> tuple[ServerSession, bytes, str]:
        """(session, payload, target) of a request. Raises ProtocolError, LimitExceeded."""
        if self._block is None:
            assert self._chacha is not None
            head, body = _open_chacha(self._chacha, packet)
            session = self._sessions.get((head[:8], None))
            found = session or self._new(head[:8], self._chacha, False, None)
        else:
            found, head, body = self._open_aes(self._block, packet)
        if len(body) < 11 or body[0] != _REQUEST:
            raise ProtocolError("not a request packet")
        check_time(body[1:9], self._clock)
        payload, address = _unpadded(body, 9)
        number = int.from_bytes(head[8:], "big")
        if not found.window.fresh(number):
            raise ProtocolError(f"packet {number} came before, or too late")
        found.window.take(number)
        found.used = self._clock()
        self._keep(found)
        return found, payload, address

    def _open_aes(self, block: AESBlock, packet: bytes) -> tuple[ServerSession, bytes, bytes]:
        start = 2 * BLOCK if self._users else BLOCK
        if len(packet) < start + _TAG:
            raise ProtocolError(f"packet of {len(packet)} bytes")
        head = block.decrypt(packet[:BLOCK])
        user = None
        if self._users:
            user = packet_user(block, self._users, head, packet[BLOCK:start])
        id, sealed = head[:8], packet[start:]
        session = self._sessions.get((id, user))
        if session is not None:
            return session, head, _opened(session.aead, head, sealed)
        key = user.key if user is not None else b""
        aead, legacy = self._secret.session(id, key), False
        try:
            body = _opened(aead, head, sealed)
        except ProtocolError:
            aead, legacy = self._secret.session(id[::-1], key), True
            body = _opened(aead, head, sealed)
        return self._new(id, aead, legacy, user), head, body

    def _new(self, id: bytes, aead: AEAD, legacy: bool, user: User | None) -> ServerSession:
        key = user.key if user is not None else self._secret.key
        sender = _Sender(self._secret, key, self._random(8), self._random, legacy)
        return ServerSession(id, aead, legacy, user, sender, self._clock)

    def _keep(self, session: ServerSession) -> None:
        """Remember a session that has proved genuine, and forget idle ones now and then."""
        key = (session.id, session.user)
        if key in self._sessions:
            return
        now = self._clock()
        if now - self._swept > IDLE or len(self._sessions) >= _MOST_SESSIONS:
            self._swept = now
            for old, known in list(self._sessions.items()):
                if now - known.used > IDLE:
                    del self._sessions[old]
            if len(self._sessions) >= _MOST_SESSIONS:
                raise LimitExceeded(f"{_MOST_SESSIONS} sessions of clients")
        self._sessions[key] = session


def _chacha(secret: Secret) -> bool:
    return secret.method.name.endswith("chacha20-poly1305")


def _opened(aead: AEAD, head: bytes, sealed: bytes) -> bytes:
    try:
        return aead.decrypt(head[4:], sealed, None)
    except InvalidTag:
        raise ProtocolError("packet does not authenticate: wrong key or method") from None


def _open_chacha(aead: AEAD, packet: bytes) -> tuple[bytes, bytes]:
    """(session | packet number, body)"""
    if len(packet) < _NONCE + BLOCK + _TAG:
        raise ProtocolError(f"packet of {len(packet)} bytes")
    try:
        plain = aead.decrypt(packet[:_NONCE], packet[_NONCE:], None)
    except InvalidTag:
        raise ProtocolError("packet does not authenticate: wrong key or method") from None
    return plain[:BLOCK], plain[BLOCK:]


def _unpadded(body: bytes, start: int) -> tuple[bytes, str]:
    """(payload, address) behind PADLEN at ``start``. Raises ProtocolError."""
    padding = int.from_bytes(body[start : start + 2], "big")
    if padding > MAX_PADDING:
        raise ProtocolError(f"padding of {padding} bytes")
    rest = body[start + 2 + padding :]
    address, size = decode_address(rest)
    return rest[size:], address
