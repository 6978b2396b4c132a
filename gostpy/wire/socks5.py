"""SOCKS 5 messages, with gost's extensions.

Greeting  05 | N(1) | methods(N)           choice  05 | method
User      01 | ULEN | user | PLEN | password       answer  01 | status (0 = accepted)
Request   05 | CMD | 00 | ATYP ADDR PORT   reply   05 | REP | 00 | ATYP ADDR PORT
Datagram  00 00 | FRAG | ATYP ADDR PORT | payload
Source    RFC 1928, RFC 1929; go-gost/gosocks5; go-gost/x internal/util/socks for
          methods 80 (TLS) and 82 (TLS and user/password): TLS begins after the choice
          commands F2 (BIND for many peers over smux) and F3 (datagrams on the stream);
          tor socks-extensions.txt for commands F0 and F1 (resolve a name, an address)
Differs   FRAG is ignored, as in gost: a fragment is taken for a whole datagram.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.address import BytesReader, Reader, encode_address, read_address

__all__ = [
    "ANYWHERE",
    "Command",
    "Greeting",
    "Method",
    "Refused",
    "Rep",
    "Reply",
    "Request",
    "UserPass",
    "choice",
    "datagram",
    "read_choice",
    "read_datagram",
    "read_user_status",
    "user_status",
]

VERSION = 5
USER_VERSION = 1
ANYWHERE = "0.0.0.0:0"


class Method:
    """Authentication methods."""

    NONE = 0x00
    USER = 0x02
    TLS = 0x80
    TLS_USER = 0x82
    UNACCEPTABLE = 0xFF


class Command:
    """Commands of a request."""

    CONNECT = 1
    BIND = 2
    ASSOCIATE = 3
    RESOLVE = 0xF0
    RESOLVE_PTR = 0xF1
    MUX_BIND = 0xF2
    UDP_TUNNEL = 0xF3


class Rep:
    """Codes of a reply."""

    OK = 0
    FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_UNSUPPORTED = 7
    ADDRESS_UNSUPPORTED = 8


_REP_TEXT = {
    1: "general failure",
    2: "not allowed by the rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class Refused(ProtocolError):
    """The server answered with a code other than 0."""

    def __init__(self, rep: int) -> None:
        self.rep = rep
        super().__init__(f"socks5: {_REP_TEXT.get(rep, f'reply code {rep}')}")


@dataclass(frozen=True, slots=True)
class Greeting:
    """05 | N | methods."""

    methods: bytes

    def encode(self) -> bytes:
        return bytes((VERSION, len(self.methods))) + self.methods

    @classmethod
    def read(cls, reader: Reader) -> Greeting:
        """Raises BadVersion, Truncated; ProtocolError: no method at all."""
        version, count = reader.read_exact(2)
        if version != VERSION:
            raise BadVersion(f"socks version {version}, expected {VERSION}")
        if not count:
            raise ProtocolError("socks5 client offers no method")
        return cls(reader.read_exact(count))


def choice(method: int) -> bytes:
    """05 | method."""
    return bytes((VERSION, method))


def read_choice(reader: Reader) -> int:
    """The server's choice. Raises BadVersion, Truncated."""
    version, method = reader.read_exact(2)
    if version != VERSION:
        raise BadVersion(f"socks version {version}, expected {VERSION}")
    return method


@dataclass(frozen=True, slots=True)
class UserPass:
    """01 | ULEN | user | PLEN | password."""

    username: str
    password: str

    def __repr__(self) -> str:  # passwords stay out of logs and tracebacks
        return f"UserPass({self.username!r}, ...)"

    def encode(self) -> bytes:
        """Raises ProtocolError: longer than 255 bytes."""
        parts = bytes((USER_VERSION,))
        for text in (self.username, self.password):
            data = text.encode("utf-8", "surrogateescape")
            if len(data) > 255:
                raise ProtocolError("user name or password longer than 255 bytes")
            parts += bytes((len(data),)) + data
        return parts

    @classmethod
    def read(cls, reader: Reader) -> UserPass:
        """Raises BadVersion, Truncated."""
        version, size = reader.read_exact(2)
        if version != USER_VERSION:
            raise BadVersion(f"user/password version {version}, expected {USER_VERSION}")
        data = reader.read_exact(size + 1)
        username, password = data[:-1], reader.read_exact(data[-1])
        return cls(
            username.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")
        )


def user_status(status: int) -> bytes:
    """01 | status."""
    return bytes((USER_VERSION, status))


def read_user_status(reader: Reader) -> int:
    """0: accepted. The version is not looked at: servers differ about it."""
    return reader.read_exact(2)[1]


@dataclass(frozen=True, slots=True)
class Request:
    """05 | CMD | 00 | ATYP ADDR PORT."""

    command: int
    address: str = ANYWHERE

    def encode(self) -> bytes:
        return bytes((VERSION, self.command, 0)) + encode_address(self.address)

    @classmethod
    def read(cls, reader: Reader) -> Request:
        """Raises BadVersion, ProtocolError, Truncated."""
        version, command, _ = reader.read_exact(3)
        if version != VERSION:
            raise BadVersion(f"socks version {version}, expected {VERSION}")
        return cls(command, read_address(reader))


@dataclass(frozen=True, slots=True)
class Reply:
    """05 | REP | 00 | ATYP ADDR PORT."""

    rep: int = Rep.OK
    address: str = ANYWHERE

    def encode(self) -> bytes:
        return bytes((VERSION, self.rep, 0)) + encode_address(self.address)

    @classmethod
    def read(cls, reader: Reader) -> Reply:
        """A reply of success. Raises BadVersion, Truncated; Refused: any other code.

        The address of a refusal is not read: some servers leave it out.
        """
        version, rep, _ = reader.read_exact(3)
        if version != VERSION:
            raise BadVersion(f"socks version {version}, expected {VERSION}")
        if rep != Rep.OK:
            raise Refused(rep)
        return cls(rep, read_address(reader))


def datagram(data: bytes, address: str) -> bytes:
    """A datagram to or from ``address``. Raises ProtocolError: the address cannot be written."""
    return b"\0\0\0" + encode_address(address) + data


def read_datagram(wire: bytes) -> tuple[bytes, str]:
    """(payload, address). Raises ProtocolError, Truncated."""
    reader = BytesReader(wire)
    reader.read_exact(3)
    address = read_address(reader)
    return reader.rest, address
