"""permessage-deflate: compression of WebSocket messages, and its negotiation.

Wire      RFC 7692: raw DEFLATE per message, flushed, without its final 00 00 FF FF
Source    gorilla/websocket, which gost uses: both sides always without context takeover
Differs   offers of other peers are understood, too: window sizes, takeover of one direction
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from gostpy.errors import ProtocolError

__all__ = ["OFFER", "Deflate", "agree", "answered"]

OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
"""What we offer and, to a plain offer, answer."""

_TAIL = b"\x00\x00\xff\xff"
_LEVEL = 1  # gorilla's default: speed
_SERVER_RESET, _CLIENT_RESET = "server_no_context_takeover", "client_no_context_takeover"
_SERVER_BITS, _CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"


@dataclass(frozen=True, slots=True)
class _Agreed:
    """The parameters of one connection. Takeover of what we send is never used."""

    server_resets: bool = False
    client_resets: bool = False
    server_bits: int = 15
    client_bits: int = 15


class Deflate:
    """Compressor and decompressor of one connection; what we send never depends on earlier data."""

    __slots__ = ("_in_bits", "_in_resets", "_inflater", "_out_bits")

    def __init__(self, agreed: _Agreed, client: bool) -> None:
        ours, theirs = agreed.client_bits, agreed.server_bits
        if not client:
            ours, theirs = theirs, ours
        self._out_bits = -ours
        self._in_bits = -theirs
        self._in_resets = agreed.server_resets if client else agreed.client_resets
        self._inflater = zlib.decompressobj(self._in_bits)

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """One whole message."""
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, self._out_bits)
        body = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return body[:-4]

    def decompress(self, data: bytes | bytearray | memoryview, last: bool) -> bytes:
        """A piece of a message; ``last``: the message ends with it. Raises ProtocolError."""
        try:
            out = self._inflater.decompress(data)
            if last:
                out += self._inflater.decompress(_TAIL)
                if self._in_resets or self._inflater.eof:
                    self._inflater = zlib.decompressobj(self._in_bits)
        except zlib.error as error:
            raise ProtocolError(f"websocket: bad compressed data: {error}") from error
        return out


def agree(offers: str) -> tuple[Deflate, str] | None:
    """The serving side's choice among ``Sec-WebSocket-Extensions`` of a request.

    Returns: the connection's codec and the answer's header; None when no offer can be taken.
    """
    for name, parameters in _parse(offers):
        if name != "permessage-deflate":
            continue
        try:
            agreed = _read(parameters)
        except ProtocolError:
            continue
        if agreed.server_bits == 8:  # zlib cannot make such a stream
            continue
        asked = [f"{_SERVER_BITS}={agreed.server_bits}"] if agreed.server_bits < 15 else []
        # resetting both directions costs ratio, and saves 300 KiB per connection
        return (
            Deflate(_Agreed(True, True, agreed.server_bits, 15), client=False),
            "; ".join([OFFER, *asked]),
        )
    return None


def answered(answer: str) -> Deflate | None:
    """What a server agreed to in its ``Sec-WebSocket-Extensions``; None when nothing.

    Raises ProtocolError: it chose what was not offered.
    """
    found = _parse(answer)
    if not found:
        return None
    if len(found) != 1 or found[0][0] != "permessage-deflate":
        raise ProtocolError(f"websocket: extension {answer[:100]!r} was not offered")
    agreed = _read(found[0][1])
    if agreed.client_bits == 8:
        raise ProtocolError("websocket: a window of 8 bits was not offered")
    return Deflate(agreed, client=True)


def _parse(value: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """``name; key=value, name ...`` -> [(name, [(key, value)])]."""
    found = []
    for item in value.split(","):
        name, *parts = (part.strip() for part in item.split(";"))
        if name:
            pairs = [part.partition("=") for part in parts if part]
            found.append((name, [(k.strip(), v.strip().strip('"')) for k, _, v in pairs]))
    return found


def _read(parameters: list[tuple[str, str]]) -> _Agreed:
    keys = [key for key, _ in parameters]
    if len(set(keys)) != len(keys) or not {*keys} <= {
        _SERVER_RESET,
        _CLIENT_RESET,
        _SERVER_BITS,
        _CLIENT_BITS,
    }:
        raise ProtocolError("websocket: bad parameters of permessage-deflate")
    given = dict(parameters)
    return _Agreed(
        _SERVER_RESET in given,
        _CLIENT_RESET in given,
        _bits(given.get(_SERVER_BITS, "")),
        _bits(given.get(_CLIENT_BITS, "")),
    )


def _bits(text: str) -> int:
    if not text:
        return 15
    if text.isascii() and text.isdigit() and 8 <= int(text[:3]) <= 15:
        return int(text)
    raise ProtocolError(f"websocket: bad window size {text[:20]!r}")
