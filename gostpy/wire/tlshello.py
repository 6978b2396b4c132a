"""The first TLS messages of both sides, for routing and records: ClientHello and ServerHello.

Wire      record: type(1) = 22 | version(2) | length(2) | fragment; the handshake message in the
          fragments: type(1) | length(3) | body
Source    RFC 8446 sections 4.1, 4.2 and 5.1, RFC 6066 section 3, RFC 7301
Differs   gost reads a hello from one record; here it may be spread over several.

``encode`` of what was read gives the same bytes, so that a hello can be changed in one place.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.address import BytesReader, Reader
from gostpy.wire.httptarget import EXTENSION, encode_name

__all__ = ["ClientHello", "ServerHello", "read_client_hello", "read_server_hello"]

HANDSHAKE = 22
_CLIENT_HELLO, _SERVER_HELLO = 1, 2
_SERVER_NAME, _ALPN, _VERSIONS = 0, 16, 43
_LARGEST_RECORD = 16384 + 256
_LARGEST_HELLO = 65536

Extension = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers.

    Attributes:
        record_version: of the record layer.
        extensions: (type, data) in order; None when the message has no such block.
    """

    record_version: int
    version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    compression: bytes
    extensions: tuple[Extension, ...] | None

    @classmethod
    def parse(cls, body: bytes, record_version: int) -> ClientHello:
        """A message without its header. Raises ProtocolError."""
        reader = BytesReader(body)
        version = _number(reader, 2)
        random = reader.read_exact(32)
        session_id = reader.read_exact(_number(reader, 1))
        suites = reader.read_exact(_number(reader, 2))
        if len(suites) % 2:
            raise ProtocolError("TLS hello: odd length of cipher suites")
        compression = reader.read_exact(_number(reader, 1))
        return cls(
            record_version,
            version,
            random,
            session_id,
            tuple(suites[i] << 8 | suites[i + 1] for i in range(0, len(suites), 2)),
            compression,
            _read_extensions(reader),
        )

    def _extension(self, kind: int) -> bytes | None:
        return next((data for found, data in self.extensions or () if found == kind), None)

    @property
    def server_name(self) -> str:
        """SNI; empty when there is none. Raises ProtocolError."""
        data = self._extension(_SERVER_NAME)
        if not data:
            return ""
        reader = BytesReader(_sized(BytesReader(data), 2))
        while reader.rest:
            kind = _number(reader, 1)
            name = _sized(reader, 2)
            if kind == 0:
                if not name.isascii() or any(byte <= 32 or byte == 127 for byte in name):
                    raise ProtocolError(
                        "TLS hello: server name with characters that it cannot have"
                    )
                return name.decode().rstrip(".")
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """Protocols offered. Raises ProtocolError."""
        return _protocols(self._extension(_ALPN))

    def disguised(self, host: str) -> ClientHello:
        """The same hello asking for ``host``, the real name hidden in an extension.

        A hello without a server name stays as it is.
        """
        name = self.server_name
        if not name:
            return self
        plain = host.encode("idna") if not host.isascii() else host.encode()
        entry = b"\x00" + len(plain).to_bytes(2, "big") + plain
        changed = [
            (kind, len(entry).to_bytes(2, "big") + entry if kind == _SERVER_NAME else data)
            for kind, data in self.extensions or ()
        ]
        changed.append((EXTENSION, encode_name(name).encode()))
        return dataclasses.replace(self, extensions=tuple(changed))

    def encode(self) -> bytes:
        """The message in as few records as it takes."""
        suites = b"".join([suite.to_bytes(2, "big") for suite in self.cipher_suites])
        body = b"".join(
            (
                self.version.to_bytes(2, "big"),
                self.random,
                _with_size(self.session_id, 1),
                _with_size(suites, 2),
                _with_size(self.compression, 1),
                _encode_extensions(self.extensions),
            )
        )
        message = bytes((_CLIENT_HELLO,)) + _with_size(body, 3)
        lead = bytes((HANDSHAKE,)) + self.record_version.to_bytes(2, "big")
        return b"".join(
            [
                lead + _with_size(message[start : start + 16384], 2)
                for start in range(0, len(message), 16384)
            ]
        )


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a server chose.

    Attributes:
        version: the negotiated one, 0x0304 for TLS 1.3.
        alpn: empty when it was not told, or is told only later (TLS 1.3 encrypts it).
    """

    version: int
    cipher_suite: int
    compression: int
    alpn: str

    @classmethod
    def parse(cls, body: bytes) -> ServerHello:
        """A message without its header. Raises ProtocolError."""
        reader = BytesReader(body)
        version = _number(reader, 2)
        reader.read_exact(32)
        _sized(reader, 1)
        suite = _number(reader, 2)
        compression = _number(reader, 1)
        alpn = ""
        for kind, data in _read_extensions(reader) or ():
            if kind == _VERSIONS and len(data) == 2:
                version = int.from_bytes(data, "big")
            elif kind == _ALPN:
                alpn = next(iter(_protocols(data)), "")
        return cls(version, suite, compression, alpn)


def read_client_hello(reader: Reader) -> tuple[ClientHello, bytes]:
    """The hello and the bytes read for it. Raises ProtocolError, Truncated."""
    body, version, raw = _read_message(reader, _CLIENT_HELLO)
    return ClientHello.parse(body, version), raw


def read_server_hello(reader: Reader) -> tuple[ServerHello, bytes]:
    """The hello and the bytes read for it. Raises ProtocolError, Truncated."""
    body, _, raw = _read_message(reader, _SERVER_HELLO)
    return ServerHello.parse(body), raw


def _read_message(reader: Reader, kind: int) -> tuple[bytes, int, bytes]:
    """Body of one handshake message, version of its first record, and all bytes read."""
    message, raw, version = b"", b"", 0
    size = 4
    while len(message) < size:
        head = reader.read_exact(5)
        length = head[3] << 8 | head[4]
        if head[0] != HANDSHAKE or head[1] != 3:
            raise ProtocolError("not a TLS handshake record")
        if not 0 < length <= _LARGEST_RECORD:
            raise ProtocolError(f"TLS record of {length} bytes")
        fragment = reader.read_exact(length)
        version = version or (head[1] << 8 | head[2])
        raw += head + fragment
        message += fragment
        if len(message) >= 4:
            size = 4 + int.from_bytes(message[1:4], "big")
        if message[0] != kind:
            raise ProtocolError(f"TLS handshake message {message[0]}, expected {kind}")
        if size > _LARGEST_HELLO:
            raise ProtocolError(f"TLS hello of {size} bytes")
    return message[4:size], version, raw


def _number(reader: BytesReader, size: int) -> int:
    return int.from_bytes(reader.read_exact(size), "big")


def _sized(reader: BytesReader, size: int) -> bytes:
    return reader.read_exact(_number(reader, size))


def _with_size(data: bytes, size: int) -> bytes:
    try:
        return len(data).to_bytes(size, "big") + data
    except OverflowError:
        raise ProtocolError(f"TLS hello: {len(data)} bytes do not fit") from None


def _read_extensions(reader: BytesReader) -> tuple[Extension, ...] | None:
    if not reader.rest:
        return None
    block = BytesReader(_sized(reader, 2))
    if reader.rest:
        raise ProtocolError("TLS hello: bytes behind the extensions")
    found = []
    while block.rest:
        found.append((_number(block, 2), _sized(block, 2)))
    return tuple(found)


def _encode_extensions(extensions: tuple[Extension, ...] | None) -> bytes:
    if extensions is None:
        return b""
    encoded = [kind.to_bytes(2, "big") + _with_size(data, 2) for kind, data in extensions]
    return _with_size(b"".join(encoded), 2)


def _protocols(data: bytes | None) -> tuple[str, ...]:
    if not data:
        return ()
    reader = BytesReader(_sized(BytesReader(data), 2))
    found = []
    while reader.rest:
        found.append(_sized(reader, 1).decode("latin-1"))
    return tuple(found)


def complete(data: bytes) -> bool:
    """Whether ``data`` holds a whole ClientHello, or never will. For writers that must wait."""
    try:
        _read_message(BytesReader(data), _CLIENT_HELLO)
    except Truncated:
        return len(data) > _LARGEST_HELLO + 4096
    except ProtocolError:
        return True
    return True
