"""Where a chunked HTTP body ends.

Wire      (size in hex [; extension] CRLF | data CRLF)* | 0 CRLF | trailer lines | CRLF
Source    RFC 9112 section 7.1
Differs   Lines end in CRLF only and sizes are digits only; Go takes more. A body passes as it came,
          so what one end reads into it must be what the other end does.
"""

from __future__ import annotations

import re

from gostpy.errors import ProtocolError

__all__ = ["ChunkedBody"]

_TRAILER_LIMIT = 65536
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class ChunkedBody:
    """Follows a chunked body to its end.

    Attributes:
        ended: the last chunk and the trailer have been seen.
    """

    __slots__ = ("_left", "_line", "_state", "_trailer", "ended")

    _SIZE, _DATA, _GAP, _TRAILER = range(4)
    _LINE_LIMIT = 4096

    def __init__(self) -> None:
        self.ended = False
        self._state = self._SIZE
        self._left = 0  # of the current chunk
        self._line = b""
        self._trailer = 0

    @property
    def between(self) -> bool:
        """The next byte begins the line of a chunk's size."""
        return self._state == self._SIZE and not self._line

    def feed(self, data: bytes, payload: list[bytes] | None = None) -> int:
        """Follow the body through ``data``; returns how many of its bytes belong to the body.

        Args:
            payload: gets what the chunks hold.
        Raises:  ProtocolError.
        """
        position, size = 0, len(data)
        while position < size and not self.ended:
            if self._state == self._DATA:
                stop = min(position + self._left, size)
                if payload is not None:
                    payload.append(data[position:stop])
                self._left -= stop - position
                position = stop
                if not self._left:
                    self._state = self._GAP
                continue
            stop = data.find(b"\n", position) + 1 or size
            self._line += data[position:stop]
            position = stop
            if len(self._line) > self._LINE_LIMIT:
                raise ProtocolError("line too long in a chunked body")
            if self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._take_line(line)
        return position

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise ProtocolError("malformed line in a chunked body")
        if self._state == self._SIZE:
            found = _CHUNK_SIZE.fullmatch(line)
            if found is None:
                raise ProtocolError("malformed chunk size")
            self._left = int(found[1], 16)
            self._state = self._DATA if self._left else self._TRAILER
        elif self._state == self._GAP:
            if line != b"\r\n":
                raise ProtocolError("chunk longer than its size")
            self._state = self._SIZE
        elif line == b"\r\n":
            self.ended = True
        else:
            self._trailer += len(line)
            if self._trailer > _TRAILER_LIMIT:
                raise ProtocolError("trailer too long")
