"""The relay protocol, version 1: gost's own CONNECT, BIND and UDP over one stream.

Request   VER(1)=1 | FLAGS+CMD(1) | FEALEN(2) | features       flag 0x80 = UDP
Response  VER(1)=1 | STATUS(1)    | FEALEN(2) | features
Feature   TYPE(1) | LEN(2) | DATA; integers are big-endian
          1 user    ULEN | user | PLEN | password
          2 address ATYP | ADDR | PORT(2), see gostpy.wire.address
          3 tunnel  ID(16) | flags(1) | reserved(2) | weight(1)
          4 network 2 bytes: 0 tcp, 1 udp, 2 ip, 0x10 unix, 0x11 serial; anything else is tcp
Source    go-gost/relay relay.go and feature.go
Differs   nothing known.

The features of a message keep their order. An unknown feature is an error, as in gost, which
closes the connection without a reply then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.address import BytesReader, Reader, decode_address, encode_address
from gostpy.wire.codec import Buffer, Codec

__all__ = [
    "ASSOCIATE",
    "BIND",
    "CONNECT",
    "UDP",
    "Address",
    "ClientCodec",
    "Feature",
    "Network",
    "Refused",
    "Request",
    "Response",
    "Status",
    "Tunnel",
    "UserAuth",
]

VERSION = 1
CONNECT, BIND, ASSOCIATE = 1, 2, 3
UDP = 0x80


class Status:
    """Status codes of a response."""

    OK = 0
    BAD_REQUEST = 1
    UNAUTHORIZED = 2
    FORBIDDEN = 3
    TIMEOUT = 4
    SERVICE_UNAVAILABLE = 5
    HOST_UNREACHABLE = 6
    NETWORK_UNREACHABLE = 7
    INTERNAL_ERROR = 8


_STATUS_TEXT = {
    Status.BAD_REQUEST: "bad request",
    Status.UNAUTHORIZED: "unauthorized",
    Status.FORBIDDEN: "forbidden",
    Status.TIMEOUT: "timeout",
    Status.SERVICE_UNAVAILABLE: "service unavailable",
    Status.HOST_UNREACHABLE: "host unreachable",
    Status.NETWORK_UNREACHABLE: "network unreachable",
    Status.INTERNAL_ERROR: "internal server error",
}


class Refused(ProtocolError):
    """The server answered with a status other than OK."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"{status} {_STATUS_TEXT.get(status, 'unknown status')}")


@dataclass(frozen=True, slots=True)
class UserAuth:
    """ULEN(1) | user | PLEN(1) | password, each 0 to 255 bytes."""

    TYPE: ClassVar[int] = 1
    username: str
    password: str

    def __repr__(self) -> str:  # passwords stay out of logs and tracebacks
        return f"UserAuth({self.username!r}, ...)"

    def encode(self) -> bytes:
        parts = b""
        for text in (self.username, self.password):
            data = text.encode("utf-8", "surrogateescape")
            if len(data) > 255:
                raise ProtocolError("user name or password longer than 255 bytes")
            parts += bytes((len(data),)) + data
        return parts

    @classmethod
    def decode(cls, data: bytes) -> UserAuth:
        reader = BytesReader(data)
        username = reader.read_exact(reader.read_exact(1)[0])
        password = reader.read_exact(reader.read_exact(1)[0])
        return cls(
            username.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")
        )


@dataclass(frozen=True, slots=True)
class Address:
    """ATYP(1) | ADDR | PORT(2)."""

    TYPE: ClassVar[int] = 2
    address: str

    def encode(self) -> bytes:
        return encode_address(self.address)

    @classmethod
    def decode(cls, data: bytes) -> Address:
        return cls(decode_address(data)[0])


@dataclass(frozen=True, slots=True)
class Tunnel:
    """ID(16) | FLAGS(1) | reserved(2) | WEIGHT(1); a reader needs 16 bytes and ignores past 20."""

    TYPE: ClassVar[int] = 3
    tunnel_id: bytes
    flags: int = 0
    weight: int = 0

    def encode(self) -> bytes:
        return self.tunnel_id + bytes((self.flags, 0, 0, self.weight))

    @classmethod
    def decode(cls, data: bytes) -> Tunnel:
        if len(data) < 16:
            raise ProtocolError(f"tunnel id of {len(data)} bytes, at least 16 expected")
        flags, _, _, weight = data[16:20].ljust(4, b"\0")
        return cls(data[:16], flags, weight)


@dataclass(frozen=True, slots=True)
class Network:
    """Two bytes: a number of NUMBERS."""

    TYPE: ClassVar[int] = 4
    NUMBERS: ClassVar[dict[str, int]] = {
        "tcp": 0,
        "udp": 1,
        "ip": 2,
        "unix": 0x10,
        "serial": 0x11,
    }
    NAMES: ClassVar[dict[int, str]] = {number: name for name, number in NUMBERS.items()}
    name: str

    def encode(self) -> bytes:
        return self.NUMBERS[self.name].to_bytes(2, "big")

    @classmethod
    def decode(cls, data: bytes) -> Network:
        if len(data) < 2:
            raise ProtocolError("network feature shorter than 2 bytes")
        return cls(cls.NAMES.get(data[0] << 8 | data[1], "tcp"))


Feature: TypeAlias = UserAuth | Address | Tunnel | Network

_FEATURES: dict[int, type[UserAuth] | type[Address] | type[Tunnel] | type[Network]] = {
    1: UserAuth,
    2: Address,
    3: Tunnel,
    4: Network,
}


def _encode(second: int, features: tuple[Feature, ...]) -> bytes:
    block = b""
    for feature in features:
        data = feature.encode()
        block += feature.TYPE.to_bytes(1, "big") + len(data).to_bytes(2, "big") + data
    return bytes((VERSION, second)) + len(block).to_bytes(2, "big") + block


def _read(reader: Reader) -> tuple[int, tuple[Feature, ...]]:
    version, second, high, low = reader.read_exact(4)
    if version != VERSION:
        raise BadVersion(f"relay version {version}, expected {VERSION}")
    size = high << 8 | low
    return second, _decode_features(reader.read_exact(size)) if size else ()


def _decode_features(block: bytes) -> tuple[Feature, ...]:
    features: list[Feature] = []
    reader = BytesReader(block)
    while reader.position < len(block):
        kind, high, low = reader.read_exact(3)
        data = reader.read_exact(high << 8 | low)
        cls = _FEATURES.get(kind)
        if cls is None:
            raise ProtocolError(f"unknown relay feature {kind}")
        features.append(cls.decode(data))
    return tuple(features)


@dataclass(frozen=True, slots=True)
class Request:
    """VER | FLAGS+CMD | FEALEN | features. Command 0 is read as CONNECT."""

    command: int
    flags: int = 0
    features: tuple[Feature, ...] = ()

    def encode(self) -> bytes:
        return _encode(self.flags | self.command, self.features)

    @classmethod
    def read(cls, reader: Reader) -> Request:
        """Raises BadVersion, ProtocolError, Truncated."""
        second, features = _read(reader)
        return cls(second & 0x0F or CONNECT, second & 0xF0, features)

    @property
    def credentials(self) -> tuple[str, str]:
        """User name and password; the last ones count, none are empty."""
        for feature in reversed(self.features):
            if isinstance(feature, UserAuth):
                return feature.username, feature.password
        return "", ""

    @property
    def network(self) -> str:
        """``udp`` by flag, else the last network feature, else ``tcp``."""
        if self.flags & UDP:
            return "udp"
        for feature in reversed(self.features):
            if isinstance(feature, Network):
                return feature.name
        return "tcp"

    @property
    def addresses(self) -> list[str]:
        return [feature.address for feature in self.features if isinstance(feature, Address)]

    @property
    def tunnel(self) -> Tunnel | None:
        for feature in reversed(self.features):
            if isinstance(feature, Tunnel):
                return feature
        return None


@dataclass(frozen=True, slots=True)
class Response:
    """VER | STATUS | FEALEN | features."""

    status: int = Status.OK
    features: tuple[Feature, ...] = ()

    def encode(self) -> bytes:
        return _encode(self.status, self.features)

    @classmethod
    def read(cls, reader: Reader) -> Response:
        """Raises BadVersion, ProtocolError, Truncated."""
        return cls(*_read(reader))

    def check(self) -> Response:
        """Raises Refused: the status is not OK."""
        if self.status != Status.OK:
            raise Refused(self.status)
        return self

    @property
    def addresses(self) -> list[str]:
        return [feature.address for feature in self.features if isinstance(feature, Address)]


class ClientCodec(Codec):
    """The client's side of a stream on which the request was not sent yet.

    The request is put in front of the first data written; the response is taken off the first data
    read. A server that speaks first needs ``Conn.flush``, which a pipe calls when it starts. An
    empty request was sent before; the response is still to come.
    """

    __slots__ = ("_partial", "_request", "_wanted", "held")

    awaited = True

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self._request = request
        self._partial = b""
        self._wanted = True
        self.held = bool(request)

    def encode(self, data: Buffer) -> Buffer:
        if self.held:
            return self.take() + bytes(data)
        return data

    def take(self) -> bytes:
        request, self._request, self.held = self._request, b"", False
        return request

    def decode(self, data: Buffer) -> Buffer:
        if not self._wanted:
            return data
        data = self._partial + bytes(data)
        end = 4 + (data[2] << 8 | data[3]) if len(data) >= 4 else 4
        if data[:1] not in (b"", b"\x01"):
            raise BadVersion(f"relay version {data[0]}, expected {VERSION}")
        if len(data) < end:
            self._partial = data
            return b""
        self._wanted, self._partial = False, b""
        Response.read(BytesReader(data[:end])).check()
        return data[end:]
