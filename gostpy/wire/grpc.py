"""gRPC messages that carry the bytes of a conn: gost's ``GostTunel`` service.

Wire      compressed(1) = 0 | length(4, big-endian) | protobuf message {bytes data = 1}
Source    gRPC over HTTP/2 (protocol document), protobuf encoding; gost internal/util/grpc
Differs   Data of a message is passed on before the message is complete.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer, Codec, decode_buffer

__all__ = ["MESSAGE_LIMIT", "Messages", "full_method", "percent_encoded"]

MESSAGE_LIMIT = 4 << 20
"""Bytes in a message that is read, the default of all gRPC libraries."""

UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL = 12, 8, 13
"""Status codes that are used here."""

_LARGEST = 1 << 20  # data in a message that is sent
_HEADS = 20  # bytes that hold any prefix and the head of a field
_PREFIX = struct.Struct("!BI")


def full_method(path: str) -> str:
    """``/service/method`` of a configured path, whatever is missing of it as gost fills it in."""
    service, _, method = path.strip("/").partition("/")
    return f"/{service or 'GostTunel'}/{method.replace('/', '-') or 'Tunnel'}"


def percent_encoded(text: str) -> str:
    """A ``grpc-message``."""
    return "".join(
        [chr(byte) if 32 <= byte < 127 and byte != 37 else f"%{byte:02X}" for byte in text.encode()]
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(size: int) -> bytes:
    """What comes before so many bytes of data in one message."""
    length = _varint(size)
    return _PREFIX.pack(0, 1 + len(length) + size) + b"\x0a" + length


class Messages(Codec):
    """Bytes in messages, both ways.

    Args:
        refuse: told the status and the reason before an error of the peer is raised.
    """

    __slots__ = ("_field", "_message", "_partial", "_refuse", "_wanted")

    def __init__(self, refuse: Callable[[int, str], None] | None = None) -> None:
        super().__init__()
        self._refuse = refuse
        self._message = 0  # bytes left of the current message
        self._field = 0  # bytes left of the current field
        self._wanted = False  # they are data
        self._partial = b""  # of a prefix or of the head of a field

    def encode(self, data: Buffer) -> Buffer:
        size = len(data)
        if size <= _LARGEST:
            return b"".join((_head(size), data)) if size else b""
        view = memoryview(data)
        parts: list[Buffer] = []
        for start in range(0, size, _LARGEST):
            piece = view[start : start + _LARGEST]
            parts += (_head(len(piece)), piece)
        return b"".join(parts)

    def decode(self, data: Buffer) -> Buffer:
        view = memoryview(data)
        size = len(view)
        position = 0
        pieces: list[Buffer] = []
        while position < size:
            field = self._field
            if field:
                stop = min(position + field, size)
                if self._wanted:
                    pieces.append(view[position:stop])
                self._field = field - (stop - position)
                self._message -= stop - position
                position = stop
                continue
            partial = self._partial
            head = partial + bytes(view[position : position + _HEADS])
            used = self._read_head(head)
            if not used:
                self._partial = head
                break
            self._partial = b""
            position += used - len(partial)
        if len(pieces) == 1:
            return pieces[0]
        return self._together(pieces)

    def _together(self, pieces: list[Buffer]) -> Buffer:
        buffer = decode_buffer(self.level)
        if sum(map(len, pieces)) > len(buffer):
            return b"".join(pieces)
        filled = 0
        for piece in pieces:
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return buffer[:filled]

    def _read_head(self, head: bytes) -> int:
        """A prefix, or the head of a field: its size; 0: it is not complete."""
        left = self._message
        if not left:
            if len(head) < 5:
                return 0
            compressed, length = _PREFIX.unpack_from(head)
            if compressed:
                raise self._wrong(UNIMPLEMENTED, "compressed messages are not supported")
            if length > MESSAGE_LIMIT:
                problem = f"message of {length} bytes, at most {MESSAGE_LIMIT} are taken"
                raise self._wrong(RESOURCE_EXHAUSTED, problem)
            self._message = length
            return 5
        tag, used = self._number(head, 0)
        size = 0
        if used and tag & 7 == 0:  # a number, of no interest
            _, used = self._number(head, used)
        elif used and tag & 7 == 2:
            size, used = self._number(head, used)
        elif used and tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
        elif used:
            raise self._wrong(INTERNAL, f"protobuf wire type {tag & 7}")
        if not used:
            if len(head) >= left:
                raise self._wrong(INTERNAL, "message ends inside a field")
            return 0
        if used + size > left:
            raise self._wrong(INTERNAL, "field larger than its message")
        self._message = left - used
        self._field = size
        self._wanted = tag == 0x0A
        return used

    def _number(self, head: bytes, start: int) -> tuple[int, int]:
        """A varint and where it ends; (0, 0): it is not complete."""
        value = shift = 0
        for position in range(start, min(start + 10, len(head))):
            byte = head[position]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position + 1
            shift += 7
        if len(head) >= start + 10:
            raise self._wrong(INTERNAL, "protobuf number of more than 10 bytes")
        return 0, 0

    def _wrong(self, status: int, problem: str) -> ProtocolError:
        if self._refuse is not None:
            self._refuse(status, problem)
        return ProtocolError(f"grpc: {problem}")
