"""HTTP/2 around recorded bytes, as far as one stream needs it, written for the tests alone.

What it hands over: the head of the request or response as lines ``name: value`` with an empty one
behind them (``DATE`` for a date), then the stream's data.
"""

from __future__ import annotations

import re
from typing import Any

from hpack import Decoder, Encoder

__all__ = ["Http2"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_DATE = "Thu, 01 Jan 1970 00:00:00 GMT"


class Http2:
    """One side of a connection with one stream."""

    def __init__(self, inner: Any, role: str) -> None:
        self._inner = inner
        self._client = role == "client"
        self._came = b""
        self._awaits_preface = not self._client
        self._wrote_head = False
        self._ended = False
        self._encoder, self._decoder = Encoder(), Decoder()
        first = _PREFACE if self._client else b""
        self._inner.write(first + _frame(_SETTINGS, 0, 0))

    def read(self) -> bytes:
        if self._awaits_preface:
            if not self._fill(len(_PREFACE)):
                return b""
            assert self._take(len(_PREFACE)) == _PREFACE
            self._awaits_preface = False
        while not self._ended and self._fill(9):
            size, kind, flags = int.from_bytes(self._came[:3], "big"), self._came[3], self._came[4]
            if not self._fill(9 + size):
                break
            payload = self._take(9 + size)[9:]
            if kind in (_DATA, _HEADERS):
                self._ended = bool(flags & 1)
            if kind == _HEADERS:
                return self._lines(payload)
            if kind == _DATA and payload:
                return payload
            if kind in (_RST, _GOAWAY):
                break
            if kind in (_SETTINGS, _PING) and not flags & 1:
                answer = payload if kind == _PING else b""
                self._inner.write(_frame(kind, 1, 0, answer))
        return b""

    def _fill(self, size: int) -> bool:
        while len(self._came) < size:
            data = self._inner.read()
            if not data:
                return False
            self._came += data
        return True

    def _take(self, size: int) -> bytes:
        taken, self._came = self._came[:size], self._came[size:]
        return taken

    def _lines(self, block: bytes) -> bytes:
        lines = [f"{name}: {value}\n" for name, value in self._decoder.decode(block)]
        return re.sub(r"(?m)^date: .*$", "date: DATE", "".join(lines) + "\n").encode()

    def write(self, data: bytes) -> None:
        if not self._wrote_head:
            head, _, data = data.partition(b"\n\n")
            text = head.decode().replace("date: DATE", f"date: {_DATE}")
            fields = [tuple(line.rsplit(": ", 1)) for line in text.split("\n")]
            self._inner.write(_frame(_HEADERS, 4, 1, self._encoder.encode(fields)))
            self._wrote_head = True
        if data:
            self._inner.write(_frame(_DATA, 0, 1, data))

    def close(self) -> None:
        self._inner.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )
