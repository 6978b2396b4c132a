"""The data types of SSH messages (RFC 4251 section 5): a reader, and functions that write.

boolean 1 byte | uint32 big-endian | string: uint32 size and bytes | mpint: string of a signed
integer, big-endian, as short as can be | name-list: string of names with commas between.
"""

from __future__ import annotations

from collections.abc import Iterable

from gostpy.errors import ProtocolError, Truncated
from gostpy.wire.codec import Buffer

__all__ = ["Fields", "mpint", "names", "string", "uint32"]


class Fields:
    """Reads the fields of one message. Raises Truncated, ProtocolError."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: Buffer, at: int = 0) -> None:
        self._data = bytes(data)
        self._at = at

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise Truncated(f"SSH message ends {end - len(self._data)} bytes early")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def boolean(self) -> bool:
        return self.take(1) != b"\0"

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self) -> str:
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise ProtocolError("SSH text is not UTF-8") from None

    def names(self) -> tuple[str, ...]:
        """Algorithm names are ASCII; no name is no list."""
        try:
            listed = self.string().decode("ascii")
        except UnicodeDecodeError:
            raise ProtocolError("SSH name list is not ASCII") from None
        return tuple(listed.split(",")) if listed else ()

    def mpint(self) -> int:
        return int.from_bytes(self.string(), "big", signed=True)

    @property
    def rest(self) -> bytes:
        """What was not read."""
        return self._data[self._at :]

    @property
    def position(self) -> int:
        return self._at


def uint32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def mpint(value: int) -> bytes:
    size = value.bit_length() // 8 + 1 if value else 0
    return string(value.to_bytes(size, "big", signed=True))


def names(values: Iterable[str]) -> bytes:
    return string(",".join(values))
