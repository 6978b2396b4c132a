"""PHT, gost's plain HTTP tunnel: tokens, request targets, and the lines that carry the data.

Wire      GET /authorize -> 200 ``token=T``. GET /pull?token=T -> 200, a stream of lines; each line
          is base64 of some data, an empty one says that the server lives. POST /push?token=T with
          one line -> 200; an empty body says that the client has closed.
Source    gost internal/util/pht
Tokens    those that /authorize gives here have 32 hex digits; a client that makes its own, as 3.3
          does, sends an xid: 20 digits and letters a to v
"""

from __future__ import annotations

import binascii
import os
import re

from pybase64 import b64decode, b64encode  # twenty times as fast as binascii, strict as well

from gostpy.errors import ProtocolError
from gostpy.wire.codec import Buffer

__all__ = [
    "LineDecoder",
    "LineReader",
    "decode_line",
    "is_own_token",
    "lines",
    "new_token",
    "one_line",
    "split_target",
    "token_in",
]

LINE = 49104
"""Bytes in a line: gost's client reads lines of less than 64 KiB, in base64."""

LINE_LIMIT = 1 << 20
"""Characters in a line that is read."""

_OWN = re.compile(r"[0-9a-v]{20}")
_ISSUED = re.compile(rb"token=([!-~]{1,256})\s*")


def new_token() -> str:
    """A token that cannot be guessed."""
    return os.urandom(16).hex()


def is_own_token(token: str) -> bool:
    """The token is of the kind that clients since 3.3 make themselves."""
    return _OWN.fullmatch(token) is not None


def token_in(body: bytes) -> str:
    """What /authorize answered. Raises ProtocolError."""
    found = _ISSUED.fullmatch(body)
    if found is None:
        raise ProtocolError("pht: no token in the answer to authorize")
    return found[1].decode("ascii")


def split_target(target: str) -> tuple[str, str]:
    """Path and token of a request target; the token is empty when there is none."""
    path, _, query = target.partition("?")
    if query.startswith("token="):
        return path, query[6:].partition("&")[0]
    for field in query.split("&"):
        if field.startswith("token="):
            return path, field[6:]
    return path, ""


def one_line(data: Buffer) -> bytes:
    """Data of any size as one line, as a push has it."""
    return b64encode(data) + b"\n"


def lines(data: Buffer) -> bytes:
    """Data as lines of a pull."""
    size = len(data)
    if size <= LINE:
        return one_line(data)
    view = memoryview(data)
    return b"".join([one_line(view[start : start + LINE]) for start in range(0, size, LINE)])


def decode_line(line: bytes) -> bytes:
    """The data of a line without its end. Raises ProtocolError."""
    try:
        return b64decode(line.rstrip(b"\r"), validate=True)
    except binascii.Error as error:
        raise ProtocolError(f"pht: bad base64: {error}") from None


class LineDecoder:
    """One line, decoded while it comes.

    Attributes:
        ended: its end was there.
    """

    __slots__ = ("_rest", "ended")

    def __init__(self) -> None:
        self._rest = b""
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """What can be decoded by now. Raises ProtocolError."""
        if self._rest:
            data = self._rest + data
        end = data.find(b"\n")
        if end >= 0:
            self.ended = True
            self._rest = b""
            return decode_line(data[:end])
        size = max(len(data) - 4, 0) & ~3  # the last four may hold the padding
        self._rest = data[size:]
        return decode_line(data[:size]) if size else b""


class LineReader:
    """Puts the lines of a pull together.

    Attributes:
        seen: there was a line, even if an empty one.
    """

    __slots__ = ("_rest", "seen")

    def __init__(self) -> None:
        self._rest = b""
        self.seen = False

    def feed(self, data: bytes) -> bytes:
        """The data of all lines that end in ``data``. Raises ProtocolError."""
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n")
        self._rest = data[end + 1 :] if end >= 0 else data
        if len(self._rest) > LINE_LIMIT:
            raise ProtocolError(f"pht: line longer than {LINE_LIMIT} characters")
        if end < 0:
            return b""
        self.seen = True
        block = data[:end]
        if b"\n" not in block:
            return decode_line(block)
        return b"".join([decode_line(line) for line in block.split(b"\n")])

    def finish(self) -> bytes:
        """The data of a last line without an end. Raises ProtocolError."""
        rest, self._rest = self._rest, b""
        self.seen = self.seen or bool(rest)
        return decode_line(rest)
