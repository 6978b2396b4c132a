"""Shadowsocks packets with AEAD ciphers (SIP004), and without a cipher.

Wire      SALT | AEAD(ATYP ADDR PORT | payload), nonce 0; without a cipher ATYP ADDR PORT | payload
          the address is the target of a request and the sender of a reply
Source    SIP004; go-gost/go-shadowsocks2 shadowaead/packet.go, session_manager.go
Differs   gost's servers send replies without an address: a client takes them for what they are, the
          payload, unless they begin with an address that was sent to. gost's clients cannot take
          replies at all. In gost's form of method none a salt of 16 bytes without meaning leads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from gostpy.errors import ProtocolError
from gostpy.wire.address import IPV4, IPV6, NAME, decode_address, encode_address
from gostpy.wire.shadowsocks.identity import User
from gostpy.wire.shadowsocks.methods import InvalidTag, Secret
from gostpy.wire.shadowsocks.salts import SaltFilter

__all__ = ["ClientPackets", "PacketSession", "ServerPackets"]

_MOST_TARGETS = 1024


class PacketSession(Protocol):
    """What a server answers through: one client's association.

    Attributes:
        user: whose key it is; None without users.
    """

    user: User | None

    def seal(self, payload: bytes, address: str) -> bytes:
        """A reply from ``address``."""
        ...


class _Packets:
    """One packet of wire after the other, either way."""

    __slots__ = ("_nonce", "_random", "_salt_size", "_salts", "_secret", "_tag")

    def __init__(
        self,
        secret: Secret,
        salts: SaltFilter | None,
        random: Callable[[int], bytes],
        framed: bool,
    ) -> None:
        method = secret.method
        self._secret = secret
        self._salts = salts
        self._random = random
        self._nonce = bytes(method.nonce_size)
        self._tag = method.tag_size
        self._salt_size = 0 if method.edition == "none" and not framed else method.salt_size

    def _sealed(self, plain: bytes) -> bytes:
        if not self._salt_size:
            return plain
        salt = self._random(self._salt_size)
        if self._salts is not None:
            self._salts.add(salt)
        return salt + self._secret.session(salt).encrypt(self._nonce, plain, None)

    def _opened(self, packet: bytes) -> bytes:
        size = self._salt_size
        if not size:
            return packet
        if len(packet) < size + self._tag:
            raise ProtocolError(f"packet of {len(packet)} bytes")
        salt = packet[:size]
        try:
            plain = self._secret.session(salt).decrypt(self._nonce, packet[size:], None)
        except InvalidTag:
            raise ProtocolError("packet does not authenticate: wrong key or method") from None
        if self._salts is not None and self._salts.repeated(salt):
            raise ProtocolError("repeated salt: this packet is a copy of another one")
        return plain


class ServerPackets(_Packets):
    """A server's side of one client's association; it is its only session.

    Args:
        salts: of this service.
        random: makes that many random bytes.
    """

    __slots__ = ("_detect", "user")

    def __init__(
        self,
        secret: Secret,
        salts: SaltFilter | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(secret, salts, random, framed=True)
        self._detect = secret.method.edition == "none" and not secret.method.framed
        self.user: User | None = None

    def open(self, packet: bytes) -> tuple[PacketSession, bytes, str]:
        """(session, payload, target) of a request. Raises ProtocolError."""
        if self._detect:
            standard = packet[:1] and packet[0] in (IPV4, NAME, IPV6)
            self._salt_size = 0 if standard else self._secret.method.salt_size
        plain = self._opened(packet)
        address, size = decode_address(plain)
        return self, plain[size:], address

    def seal(self, payload: bytes, address: str) -> bytes:
        return self._sealed(encode_address(address) + payload)


class ClientPackets(_Packets):
    """A client's association.

    Args:
        reply_addressed: replies carry an address; None: tell by their bytes.
        framed: of method none: gost's form.
    """

    __slots__ = ("_addressed", "_last", "_name_ports", "_targets")

    def __init__(
        self,
        secret: Secret,
        salts: SaltFilter | None = None,
        random: Callable[[int], bytes] = os.urandom,
        *,
        reply_addressed: bool | None = None,
        framed: bool = False,
    ) -> None:
        super().__init__(secret, salts, random, framed or secret.method.framed)
        self._addressed = reply_addressed
        self._last = ""
        self._targets: set[bytes] = set()
        self._name_ports: set[bytes] = set()

    def seal(self, payload: bytes, address: str) -> bytes:
        """A request to ``address``. Raises ProtocolError: the address does not fit."""
        target = encode_address(address)
        if self._addressed is None and target not in self._targets:
            if len(self._targets) >= _MOST_TARGETS:
                self._targets.clear()
                self._name_ports.clear()
            self._targets.add(target)
            if target[0] == NAME:  # the reply will come from one of its addresses
                self._name_ports.add(target[-2:])
        self._last = address
        return self._sealed(target + payload)

    def open(self, packet: bytes) -> tuple[bytes, str]:
        """(payload, sender) of a reply; the last target for one that names no sender.

        Raises ProtocolError.
        """
        plain = self._opened(packet)
        if self._addressed is False:
            return plain, self._last
        try:
            address, size = decode_address(plain)
        except ProtocolError:
            if self._addressed:
                raise
            return plain, self._last
        if not self._addressed:
            wire = plain[:size]
            if wire not in self._targets and wire[-2:] not in self._name_ports:
                return plain, self._last
            self._addressed = True
        return plain[size:], address
