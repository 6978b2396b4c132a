"""HTTP/3: frames, settings, header blocks, datagrams and capsules.

Integers  1, 2, 4 or 8 bytes, whose length is in the first two bits (RFC 9000 section 16)
Frame     TYPE LENGTH payload; capsules on a CONNECT stream have the same form
Streams   a request and its response share a bidirectional stream; unidirectional ones begin with
          their type: 0 control (SETTINGS first), 1 push, 2 and 3 QPACK, 0x54 WebTransport.
          A bidirectional stream of WebTransport begins with 0x41 and the id of its session
Datagram  ID of the request stream / 4, payload
Source    RFC 9114, 9204 (QPACK, by the ``pylsqpack`` library), 9220, 9297;
          draft-ietf-webtrans-http3-02
Differs   QPACK's dynamic table has no room here, as in quic-go: nothing waits for another stream
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pylsqpack

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer

__all__ = [
    "CANCELLED",
    "CLOSE_SESSION",
    "CONNECT_PROTOCOL",
    "CONTROL",
    "DATA",
    "DATAGRAM_CAPSULE",
    "GOAWAY",
    "H3_DATAGRAM",
    "HEADERS",
    "HEADER_LIMIT",
    "INCOMPLETE",
    "MESSAGE_ERROR",
    "NOT_IN_CONTROL",
    "NOT_IN_REQUESTS",
    "NO_ERROR",
    "PUSH",
    "REJECTED",
    "SETTINGS",
    "STREAM_CREATION_ERROR",
    "WEBTRANSPORT",
    "WEBTRANSPORT_STREAM",
    "WEBTRANSPORT_UNI",
    "FrameReader",
    "HeaderCodec",
    "Http3Error",
    "frame",
    "read_integer",
    "read_settings",
    "settings",
    "varint",
]

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
WEBTRANSPORT_STREAM, WEBTRANSPORT_UNI = 0x41, 0x54
CONTROL, PUSH, QPACK_ENCODER, QPACK_DECODER = range(4)

DATAGRAM_CAPSULE, CLOSE_SESSION = 0, 0x2843

FIELD_SECTION_SIZE, CONNECT_PROTOCOL, H3_DATAGRAM, WEBTRANSPORT = 6, 8, 0x33, 0x2B603742

NO_ERROR = 0x100
GENERAL_ERROR = 0x101
STREAM_CREATION_ERROR = 0x103
CLOSED_CRITICAL_STREAM = 0x104
FRAME_UNEXPECTED = 0x105
FRAME_ERROR = 0x106
EXCESSIVE_LOAD = 0x107
SETTINGS_ERROR = 0x109
MISSING_SETTINGS = 0x10A
REJECTED = 0x10B
CANCELLED = 0x10C
INCOMPLETE = 0x10D
MESSAGE_ERROR = 0x10E
QPACK_FAILED = 0x200

HEADER_LIMIT = 65536
"""Bytes of a header block; Go takes 1 MiB."""

_OF_HTTP2 = frozenset({2, 6, 8, 9})
NOT_IN_REQUESTS = _OF_HTTP2 | {CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID}
NOT_IN_CONTROL = _OF_HTTP2 | {DATA, HEADERS, PUSH_PROMISE}


class Http3Error(ProtocolError):
    """Ends the connection.

    Args:
        code: what the peer is told.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"http3: {reason}")
        self.code = code


def varint(value: int) -> bytes:
    """An integer below 2^62."""
    if value < 0x40:
        return bytes((value,))
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if value < 0x40000000:
        return (value | 0x80000000).to_bytes(4, "big")
    return (value | 0xC000000000000000).to_bytes(8, "big")


def read_integer(data: Buffer, at: int = 0) -> tuple[int, int]:
    """(the integer, where it ends); (0, 0) when it is not whole."""
    if at >= len(data):
        return 0, 0
    size = 1 << (data[at] >> 6)
    end = at + size
    if end > len(data):
        return 0, 0
    return int.from_bytes(data[at:end], "big") & ((1 << (8 * size - 2)) - 1), end


def frame(kind: int, payload: Buffer = b"") -> bytes:
    """A frame or capsule."""
    return b"".join((varint(kind), varint(len(payload)), payload))


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, b"".join(varint(key) + varint(value) for key, value in values.items()))


def read_settings(payload: Buffer) -> dict[int, int]:
    """Raises Http3Error."""
    found: dict[int, int] = {}
    at = 0
    while at < len(payload):
        key, middle = read_integer(payload, at)
        value, at = read_integer(payload, middle) if middle else (0, 0)
        if not at:
            raise Http3Error(FRAME_ERROR, "SETTINGS end inside a setting")
        if key in found or key in (2, 3, 4, 5):
            raise Http3Error(SETTINGS_ERROR, f"setting {key:#x} twice, or of HTTP/2")
        found[key] = value
    return found


class FrameReader:
    """Takes the bytes of one stream apart.

    Args:
        whole: kinds that are returned when they are complete.
        parts: a kind that is returned as it comes.
        forbidden: kinds that end the connection.
        limit: bytes of a payload that is kept.

    Other kinds are skipped.

    Attributes:
        begun: the first frame has begun.
    """

    __slots__ = (
        "_forbidden",
        "_head",
        "_kept",
        "_kind",
        "_left",
        "_limit",
        "_parts",
        "_whole",
        "begun",
    )

    def __init__(
        self,
        whole: frozenset[int],
        parts: int = -1,
        forbidden: frozenset[int] = frozenset(),
        limit: int = HEADER_LIMIT,
    ) -> None:
        self._whole = whole
        self._parts = parts
        self._forbidden = forbidden
        self._limit = limit
        self._head = b""
        self._kind = 0
        self._left = 0
        self._kept: bytearray | None = None
        self.begun = False

    @property
    def partial(self) -> bool:
        """The stream ended inside a frame, if it ended now."""
        return bool(self._head) or self._left > 0

    def feed(self, data: Buffer) -> list[tuple[int, Buffer]]:
        """(kind, payload or a part of it), in order. Raises Http3Error."""
        found: list[tuple[int, Buffer]] = []
        if self._head:
            data, self._head = self._head + bytes(data), b""
        at, size = 0, len(data)
        while True:
            if not self._left and self._kept is None:  # between frames
                if at >= size:
                    break
                kind, middle = read_integer(data, at)
                length, end = read_integer(data, middle) if middle else (0, 0)
                if not end:
                    self._head = bytes(data[at:])
                    break
                self._begin(kind, length)
                at = end
            end = min(at + self._left, size)
            part = data[at:end]
            self._left -= end - at
            at = end
            if self._kept is not None:
                self._kept += part
                if not self._left:
                    found.append((self._kind, bytes(self._kept)))
                    self._kept = None
            elif self._kind == self._parts and len(part):
                found.append((self._kind, part))
            if self._left:
                break
        return found

    def _begin(self, kind: int, length: int) -> None:
        if kind in self._forbidden:
            raise Http3Error(FRAME_UNEXPECTED, f"frame {kind:#x} does not belong on this stream")
        self.begun = True
        self._kind = kind
        self._left = length
        if kind in self._whole:
            if length > self._limit:
                raise Http3Error(EXCESSIVE_LOAD, f"frame of {length} bytes")
            self._kept = bytearray()


class HeaderCodec:
    """Compression of header blocks; names and values are latin-1 text."""

    __slots__ = ("_decoder", "_encoder")

    def __init__(self) -> None:
        self._decoder = pylsqpack.Decoder(0, 0)
        self._encoder = pylsqpack.Encoder()

    def encode(self, stream_id: int, fields: Iterable[tuple[str, str]]) -> bytes:
        """A HEADERS frame."""
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        _, block = self._encoder.encode(stream_id, lines)
        return frame(HEADERS, block)

    def decode(self, stream_id: int, block: bytes) -> list[tuple[str, str]]:
        """Raises Http3Error: the compression cannot go on."""
        try:
            _, lines = self._decoder.feed_header(stream_id, block)
        except (pylsqpack.DecompressionFailed, pylsqpack.StreamBlocked, ValueError) as error:
            raise Http3Error(QPACK_FAILED, "bad header block") from error
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]
