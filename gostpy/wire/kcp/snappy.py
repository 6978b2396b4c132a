"""The framing format of Snappy, as a codec: each write is compressed and leaves at once.

Wire      chunks of TYPE(1) | LENGTH(3) | BODY; the first is 0xFF with "sNaPpY". 0 compressed and
          1 plain: CHECKSUM(4, masked CRC-32C of the data) | data, 64 KiB at most when unpacked.
          0x80 to 0xFD may be skipped, 2 to 0x7F may not.
Source    google/snappy framing_format.txt
Differs   nothing known.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import MissingExtra, ProtocolError
from gostpy.wire.codec import Buffer, Codec

__all__ = ["SnappyCodec", "check_snappy"]

MARK = b"\xff\x06\x00\x00sNaPpY"
_HEAD = 4
_PACKED, _PLAIN, _MARK_TYPE, _SKIPPED = 0, 1, 0xFF, 0x80
_MOST_DATA = 65536
_MOST_BODY = 4 + 32 + _MOST_DATA + _MOST_DATA // 6  # what 64 KiB can become
_CHECKSUM = 4


def check_snappy() -> Any:
    """The library. Raises MissingExtra."""
    try:
        import cramjam
    except ModuleNotFoundError:
        raise MissingExtra("kcp", "the compression of kcp", "kcp.nocomp") from None
    return cramjam


class SnappyCodec(Codec):
    """Both directions of a conn. Raises MissingExtra."""

    __slots__ = ("_begun", "_error", "_library", "_marked", "_part")

    def __init__(self) -> None:
        super().__init__()
        library = check_snappy()
        self._library = library.snappy
        self._error = library.DecompressionError
        self._begun = False  # our mark has left
        self._marked = False  # the peer's has come
        self._part = bytearray()

    def encode(self, data: Buffer) -> Buffer:
        if not len(data):
            return b""
        wire = memoryview(self._library.compress(data))
        if self._begun:
            return wire[len(MARK) :]
        self._begun = True
        return wire

    def decode(self, data: Buffer) -> Buffer:
        part = self._part
        part += data
        if len(part) < _HEAD:
            return b""
        made: list[Buffer] = []
        at = 0
        with memoryview(part) as view:
            while len(view) - at >= _HEAD:
                size = int.from_bytes(view[at + 1 : at + _HEAD], "little")
                kind = view[at]
                self._check(kind, size)
                end = at + _HEAD + size
                if end > len(view):
                    break
                if kind <= _PLAIN:
                    made.append(self._unpack(view[at:end]))
                elif kind == _MARK_TYPE:
                    if view[at:end] != MARK:
                        raise ProtocolError("not the mark of a snappy stream")
                    self._marked = True
                at = end
        del part[:at]
        return made[0] if len(made) == 1 else b"".join(made)

    def _check(self, kind: int, size: int) -> None:
        if not self._marked and kind != _MARK_TYPE:
            raise ProtocolError("snappy stream without its mark")
        if kind <= _PLAIN:
            if not _CHECKSUM <= size <= _MOST_BODY:
                raise ProtocolError(f"snappy chunk of {size} bytes")
        elif kind < _SKIPPED:
            raise ProtocolError(f"unknown snappy chunk {kind:#x}")
        elif size > _MOST_BODY:
            raise ProtocolError(f"snappy chunk of {size} bytes")

    def _unpack(self, chunk: memoryview) -> Buffer:
        """The data of one chunk, its checksum compared."""
        library = self._library
        try:
            if chunk[0] == _PACKED:
                size = library.decompress_raw_len(chunk[_HEAD + _CHECKSUM :])
            else:
                size = len(chunk) - _HEAD - _CHECKSUM
            if size > _MOST_DATA:
                raise ProtocolError(f"snappy chunk of {size} bytes of data")
            out: Buffer = memoryview(library.decompress(MARK + chunk, output_len=size))
            return out
        except self._error as error:
            raise ProtocolError(f"bad snappy chunk: {error}") from error
