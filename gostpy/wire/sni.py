"""The codec of the ``sni`` connector: shows another host than the one that is meant.

The first bytes written are held until they are a whole ClientHello or HTTP head, and changed; see
processing/sni. Everything behind them, and everything read, passes as it is.
"""

from __future__ import annotations

import re

from gostpy.wire.address import BytesReader
from gostpy.wire.codec import Buffer, Codec
from gostpy.wire.http1 import HEAD_LIMIT, head_end
from gostpy.wire.httptarget import encode_name
from gostpy.wire.tlshello import HANDSHAKE, complete, read_client_hello

__all__ = ["Disguise", "disguise_request"]

_REQUEST_LINE = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1\.[01]")


class Disguise(Codec):
    """See the module's description.

    Raises ProtocolError: what begins like a ClientHello is none.
    """

    __slots__ = ("_done", "_host", "_waiting")

    says_bye = True

    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host
        self._waiting = b""
        self._done = False

    def encode(self, data: Buffer) -> Buffer:
        if self._done:
            return data
        waiting = self._waiting = self._waiting + bytes(data)
        if not waiting:
            return b""
        if waiting[0] == HANDSHAKE:
            if not complete(waiting):
                return b""
            reader = BytesReader(waiting)
            hello, _ = read_client_hello(reader)
            changed = hello.disguised(self._host).encode() + reader.rest
        else:
            end = head_end(waiting)
            if not end and len(waiting) <= HEAD_LIMIT and _may_be_http(waiting):
                return b""
            changed = disguise_request(waiting[:end], self._host) + waiting[end:]
        self._done, self._waiting = True, b""
        return changed

    def take(self) -> bytes:
        """At the end of the stream, what never became whole."""
        waiting, self._waiting = self._waiting, b""
        return waiting


def _may_be_http(data: bytes) -> bool:
    """Whether this can be a request line and what follows it, as far as it goes."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _REQUEST_LINE.fullmatch(line.rstrip(b"\r")) is not None
    method = line.split(b" ", 1)[0]
    return len(method) < 32 and method.isalpha() and method.isupper()


def disguise_request(head: bytes, host: str) -> bytes:
    """The head with ``host`` in its Host line and the real host in ``Gost-Target``."""
    lines = head.splitlines(keepends=True)
    for number, line in enumerate(lines):
        name, colon, value = line.partition(b":")
        if number and colon and name.lower() == b"host":
            real = value.strip().decode("utf-8", "surrogateescape")
            shown = f"Host: {host}\r\nGost-Target: {encode_name(real)}\r\n"
            lines[number] = shown.encode("utf-8", "surrogateescape")
            break
    return b"".join(lines)
