"""SOCKS 4 and 4A messages.

Request   04 | CMD(1) | PORT(2) | IP(4) | user id | 00 [ | name | 00 ]    a name if IP is 0.0.0.x
Reply     00 | CODE(1) | PORT(2) | IP(4)
Source    SOCKS: A protocol for TCP proxy across firewalls (Ying-Da Lee); SOCKS 4A (same author)
Differs   user id and name are limited to 255 bytes each.
"""

from __future__ import annotations

import _socket
from dataclasses import dataclass

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.address import Reader, join_address, split_target

__all__ = ["CONNECT", "Code", "Refused", "Reply", "Request"]

VERSION = 4
CONNECT = 1
_LONGEST = 255


class Code:
    """Codes of a reply."""

    GRANTED = 90
    FAILED = 91
    REJECTED = 92
    REJECTED_USER = 93


_CODE_TEXT = {
    Code.FAILED: "request rejected or failed",
    Code.REJECTED: "request rejected",
    Code.REJECTED_USER: "user id rejected",
}


class Refused(ProtocolError):
    """The server answered with a code other than granted."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"socks4: {_CODE_TEXT.get(code, f'code {code}')}")


@dataclass(frozen=True, slots=True)
class Request:
    """04 | CMD | PORT | IP | user id | 00 [ | name | 00 ].

    Attributes:
        address: ``host:port``; anything but IPv4 makes a 4A request.
        extended: write a 4A request for an IPv4 address too, as gost's connector does.
    """

    command: int
    address: str
    user: str = ""
    extended: bool = False

    def encode(self) -> bytes:
        """Raises ProtocolError: user id or host cannot be written."""
        host, port = split_target(self.address)
        name = b""
        try:
            ip = _socket.inet_pton(_socket.AF_INET, host)
        except (OSError, ValueError):
            ip = b""
        if self.extended or not ip:
            ip, name = b"\0\0\0\1", _text(host, "host") + b"\0"
        head = bytes((VERSION, self.command)) + port.to_bytes(2, "big") + ip
        return head + _text(self.user, "user id") + b"\0" + name

    @classmethod
    def read(cls, reader: Reader) -> Request:
        """Raises BadVersion, ProtocolError, Truncated."""
        head = reader.read_exact(8)
        if head[0] != VERSION:
            raise BadVersion(f"socks version {head[0]}, expected {VERSION}")
        user = _read_text(reader)
        extended = head[4:7] == b"\0\0\0" and head[7] != 0
        host = _read_text(reader) if extended else _socket.inet_ntoa(head[4:8])
        return cls(head[1], join_address(host, head[2] << 8 | head[3]), user, extended)


@dataclass(frozen=True, slots=True)
class Reply:
    """00 | CODE | PORT | IP; clients look at the code only."""

    code: int

    def encode(self) -> bytes:
        return bytes((0, self.code, 0, 0, 0, 0, 0, 0))

    @classmethod
    def read(cls, reader: Reader) -> Reply:
        """Raises BadVersion, Truncated."""
        data = reader.read_exact(8)
        if data[0] != 0:
            raise BadVersion(f"socks4 reply of version {data[0]}, expected 0")
        return cls(data[1])

    def check(self) -> None:
        """Raises Refused: the code is not 90."""
        if self.code != Code.GRANTED:
            raise Refused(self.code)


def _text(text: str, what: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > _LONGEST or b"\0" in data:
        raise ProtocolError(f"socks4 {what} holds a zero byte or is longer than {_LONGEST} bytes")
    return data


def _read_text(reader: Reader) -> str:
    data = b""
    while (byte := reader.read_exact(1)) != b"\0":
        data += byte
        if len(data) > _LONGEST:
            raise ProtocolError(f"socks4 text longer than {_LONGEST} bytes")
    return data.decode("utf-8", "surrogateescape")
