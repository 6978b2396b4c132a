"""simple-obfs around recorded bytes, in both forms.

http hands over the heads with KEY, ACCEPT and DATE for what differs each time, then the bytes;
tls the hello (of a server with what follows it) with zeros for its random parts, then what the
records hold.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any

__all__ = ["ObfsHttp", "ObfsTls"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DATE = b"Thu, 01 Jan 1970 00:00:00 UTC"


class ObfsHttp:
    """One side of a fake upgrade."""

    def __init__(self, inner: Any, role: str) -> None:
        self._inner = inner
        self._role = role
        self._read_head = self._wrote_head = False
        self._key = base64.b64encode(os.urandom(16))

    def read(self) -> bytes:
        if self._read_head:
            return self._inner.read()
        came = b""
        while b"\r\n\r\n" not in came:
            data = self._inner.read()
            if not data:
                return b""
            came += data
        self._read_head = True
        head, mark, rest = came.partition(b"\r\n\r\n")
        return self._checked(head) + mark + rest

    def _checked(self, head: bytes) -> bytes:
        if self._role == "server":
            found = re.search(rb"\r\nSec-Websocket-Key: ([A-Za-z0-9+/]{22}==)(?=\r\n)", head)
            assert found, head
            self._key = found[1]
            return head.replace(self._key, b"KEY")
        assert b"\r\nSec-Websocket-Accept: " + self._accept() in head, head
        head = head.replace(self._accept(), b"ACCEPT")
        return re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: DATE", head)

    def _accept(self) -> bytes:
        return base64.b64encode(hashlib.sha1(self._key + _GUID).digest())

    def write(self, data: bytes) -> None:
        if not self._wrote_head:
            self._wrote_head = True
            head, mark, data = data.partition(b"\r\n\r\n")
            for name, value in ((b"KEY", self._key), (b"ACCEPT", self._accept()), (b"DATE", _DATE)):
                head = head.replace(name, value)
            data = head + mark + data
        self._inner.write(data)

    def close(self) -> None:
        self._inner.close()


class ObfsTls:
    """One side of a fake TLS handshake."""

    def __init__(self, inner: Any, role: str) -> None:
        self._inner = inner
        self._role = role
        self._came = b""
        self._read_first = self._wrote_first = False
        self._kind = 0x16 if role == "server" else 0x17

    def _first(self, data: bytes, ours: bool) -> int:
        """Size of a hello, of a server's with the record that follows it."""
        return 5 + int.from_bytes(data[3:5], "big") + (6 if ours == (self._role == "server") else 0)

    def read(self) -> bytes:
        if not self._read_first:
            if not self._fill(5) or not self._fill(self._first(self._came, False)):
                return b""
            self._read_first = True
            first = bytearray(self._take(self._first(self._came, False)))
            first[11:43] = bytes(32)
            first[44:76] = bytes(32)
            return bytes(first)
        if not self._fill(5) or not self._fill(5 + int.from_bytes(self._came[3:5], "big")):
            return b""
        return self._take(5 + int.from_bytes(self._came[3:5], "big"))[5:]

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

    def write(self, data: bytes) -> None:
        if not self._wrote_first:
            self._wrote_first = True
            size = self._first(data, True)
            self._inner.write(data[:size])
            data = data[size:]
        if data:
            self._inner.write(bytes((self._kind, 3, 3)) + len(data).to_bytes(2, "big") + data)
            self._kind = 0x17

    def close(self) -> None:
        self._inner.close()
