"""DTLS as far as it is seen from outside: records, the cookie exchange, and the order of records.

Record    TYPE(1) | VERSION(2) | EPOCH(2) | NUMBER(6) | LEN(2) | body; several may share a datagram
Cookie    ClientHello -> HelloVerifyRequest(cookie) -> ClientHello with the cookie. The cookie is an
          HMAC over the client's address and its hello, so the first answer needs no memory.
Order     records are numbered per epoch. What OpenSSL has decrypted is put back in order by these
          numbers; a number that does not come is data that is lost.
Source    RFC 6347 sections 4.1, 4.2.1, 4.2.2
Differs   gost passes a stream on with lost or misplaced parts; here it fails
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from dataclasses import dataclass

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.codec import Buffer

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "HANDSHAKE",
    "RECORD_HEADER",
    "REFUSAL",
    "WINDOW",
    "ClientHello",
    "Cookies",
    "InOrder",
    "Record",
    "datagrams",
    "records",
    "same_hello",
]

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
RECORD_HEADER = 13
WINDOW = 64
"""Records that one may be late by; OpenSSL and pion refuse what is older."""

COOKIE_AGE = 30.0
"""Seconds after which a cookie may be refused; after twice as many it is."""

_HEADER = struct.Struct("!BHHHIH")
_MESSAGE = struct.Struct("!BBHHBHBH")
_FATAL, _ACCESS_DENIED = 2, 49
_CLIENT_HELLO, _HELLO_VERIFY_REQUEST = 1, 3
_VERSION_10 = 0xFEFF
_COOKIE = 20

REFUSAL = _HEADER.pack(ALERT, _VERSION_10, 0, 0, 1, 2) + bytes((_FATAL, _ACCESS_DENIED))
"""What a client hears that guards do not let in: the alert access_denied."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``data`` is all of it, header included."""

    kind: int
    epoch: int
    number: int
    data: Buffer


def records(datagram: Buffer) -> list[Record]:
    """The records of a datagram; what follows the last whole one is left out, as RFC 6347 wants."""
    found = []
    position, size = 0, len(datagram)
    while size - position >= RECORD_HEADER:
        kind, _, epoch, high, low, length = _HEADER.unpack_from(datagram, position)
        end = position + RECORD_HEADER + length
        if end > size or not CHANGE_CIPHER_SPEC <= kind <= 25:
            break
        data = datagram if not position and end == size else datagram[position:end]
        found.append(Record(kind, epoch, high << 32 | low, data))
        position = end
    return found


def datagrams(flight: bytes, size: int) -> list[bytes]:
    """Records that came out of OpenSSL joined, as datagrams of at most ``size`` bytes where the
    records allow it."""
    made: list[bytes] = []
    gathered = b""
    for record in records(flight):
        if gathered and len(gathered) + len(record.data) > size:
            made.append(gathered)
            gathered = b""
        gathered += record.data
    if gathered:
        made.append(gathered)
    return made


_RANDOM = slice(RECORD_HEADER + 14, RECORD_HEADER + 46)


def same_hello(left: Buffer, right: Buffer) -> bool:
    """Two ClientHello records are of one handshake."""
    return bytes(left[_RANDOM]) == bytes(right[_RANDOM])


@dataclass(frozen=True, slots=True)
class ClientHello:
    """TYPE(1) LEN(3) SEQ(2) OFFSET(3) LEN(3) | VERSION(2) RANDOM(32) SESSION<1> COOKIE<1> ...

    Attributes:
        number: of its record; the answer has the same.
        sequence: of the message, likewise.
        fixed: version, random and session id, equal in both hellos.
        rest: what follows the cookie.
    """

    number: int
    sequence: int
    fixed: bytes
    cookie: bytes
    rest: bytes

    @classmethod
    def read(cls, record: Record) -> ClientHello:
        """Raises ProtocolError: this is no ClientHello, or only a part of one."""
        data = bytes(record.data[RECORD_HEADER:])
        if record.kind != HANDSHAKE or record.epoch or len(data) < _MESSAGE.size:
            raise ProtocolError("not a ClientHello")
        kind, high, low, sequence, *offset, part, rest = _MESSAGE.unpack_from(data)
        size, length = high << 16 | low, part << 16 | rest
        body = data[_MESSAGE.size :]
        if kind != _CLIENT_HELLO or any(offset) or length != size or len(body) != size:
            raise ProtocolError("not a whole ClientHello")
        end = 34
        if len(body) <= end:
            raise Truncated("ClientHello without a session id")
        end += 1 + body[end]
        if len(body) <= end:
            raise Truncated("ClientHello without a cookie")
        after = end + 1 + body[end]
        if len(body) < after or body[34] > 32:
            raise Truncated("ClientHello ends inside its cookie")
        return cls(record.number, sequence, body[:end], body[end + 1 : after], body[after:])


class Cookies:
    """Cookies of one listener.

    Args:
        secret: to make them with; random unless given.
    """

    def __init__(self, secret: bytes = b"") -> None:
        self._secret = secret or os.urandom(32)

    def check(self, datagram: Buffer, address: str, now: float) -> tuple[bytes, bytes]:
        """What to do with a datagram of an unknown peer, by the clock ``now`` (seconds).

        Returns: (the hello with a valid cookie or nothing, the answer to send or nothing).
        """
        found = records(datagram)
        if not found:
            return b"", b""
        try:
            hello = ClientHello.read(found[0])
        except ProtocolError:
            return b"", b""
        period = int(now / COOKIE_AGE)
        if hello.cookie:
            for made in (period, period - 1):
                if hmac.compare_digest(hello.cookie, self._make(hello, address, made)):
                    return bytes(found[0].data), b""
        return b"", _verify_request(hello, self._make(hello, address, period))

    def _make(self, hello: ClientHello, address: str, period: int) -> bytes:
        facts = b"%s|%d|%s|%s" % (address.encode(), period, hello.fixed, hello.rest)
        return hmac.new(self._secret, facts, hashlib.sha256).digest()[:_COOKIE]


def _verify_request(hello: ClientHello, cookie: bytes) -> bytes:
    body = _VERSION_10.to_bytes(2, "big") + bytes((len(cookie),)) + cookie
    size = len(body)
    message = _MESSAGE.pack(_HELLO_VERIFY_REQUEST, 0, size, hello.sequence, 0, 0, 0, size) + body
    high, low = hello.number >> 32, hello.number & 0xFFFFFFFF
    return _HEADER.pack(HANDSHAKE, _VERSION_10, 0, high, low, len(message)) + message


class InOrder:
    """Puts decrypted records of one epoch back in order.

    The first record of an epoch is the Finished message, which may be lost and come again later.

    Attributes:
        next: number of the record that is wanted next.
    """

    __slots__ = ("_waiting", "next")

    def __init__(self) -> None:
        self.next = 1
        self._waiting: dict[int, bytes] = {}

    @property
    def gap(self) -> bool:
        """Something is waiting for what has not come."""
        return bool(self._waiting)

    def skip(self, number: int) -> None:
        """All records up to this one carried no data."""
        self.next = max(self.next, number + 1)

    def take(self, number: int, data: bytes) -> list[bytes]:
        """A record's data (empty for records that carry none): the data that is next in order.

        Raises ProtocolError: a record before it is lost.
        """
        if number != self.next:
            if number < self.next:
                if data:  # a forged header had taken its place
                    raise ProtocolError("dtls: a record came out of its order")
                return []
            if number - self.next >= WINDOW:
                if not data:
                    return []
                raise ProtocolError("dtls: datagrams were lost")
            if data or number not in self._waiting:
                self._waiting[number] = data
            return []
        self.next += 1
        ready = [data]
        waiting = self._waiting
        while waiting and self.next in waiting:
            ready.append(waiting.pop(self.next))
            self.next += 1
        return ready
