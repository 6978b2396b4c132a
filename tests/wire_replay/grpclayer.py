"""Messages of gRPC around recorded bytes: the head as http2layer.py has it, then what they hold."""

from __future__ import annotations

from typing import Any

__all__ = ["Grpc"]


class Grpc:
    """One side of a call. Data of less than 128 bytes is all that it writes in a message."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._came = b""
        self._read_head = self._wrote_head = False

    def read(self) -> bytes:
        if not self._read_head:
            self._read_head = True
            return self._inner.read()
        while True:
            size = int.from_bytes(self._came[1:5], "big")
            if len(self._came) >= 5 + size and size:
                message, self._came = self._came[5 : 5 + size], self._came[5 + size :]
                assert message[0] == 0x0A, f"no bytes in field 1: {message[:8].hex()}"
                start = 2 if message[1] < 128 else 3
                return message[start:]
            data = self._inner.read()
            if not data:
                return b""
            self._came += data

    def write(self, data: bytes) -> None:
        if not self._wrote_head:
            head, mark, data = data.partition(b"\n\n")
            self._inner.write(head + mark)
            self._wrote_head = True
        for start in range(0, len(data), 100):
            piece = data[start : start + 100]
            message = b"\x0a" + bytes((len(piece),)) + piece
            self._inner.write(b"\0" + len(message).to_bytes(4, "big") + message)

    def close(self) -> None:
        self._inner.close()
