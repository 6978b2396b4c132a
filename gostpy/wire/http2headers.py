"""HTTP/2: header blocks: what they may contain, and their compression.

Wire      HPACK (RFC 7541), by the ``hpack`` library; pseudo headers (``:method`` ...) come first
Source    RFC 9113 section 8
Differs   a header list of more than 64 KiB ends the connection, Go takes 1 MiB

Names and values are latin-1 text. A list that breaks the rules of HTTP is a :class:`Malformed`:
it ends its stream, the connection goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from gostpy.errors import ConfigError, ProtocolError
from gostpy.interfaces import ExchangeRequest
from gostpy.wire.http1 import is_field
from gostpy.wire.http2 import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

__all__ = [
    "LIST_LIMIT",
    "Fields",
    "HeaderCodec",
    "Malformed",
    "Response",
    "check_trailers",
    "configured_lines",
    "content_length",
    "is_sendable",
    "read_request",
]

LIST_LIMIT = 65536
"""Size of a header list as RFC 9113 section 6.5.2 counts it: 32 bytes more for each line."""

_TABLE_SIZE = 4096
_REMEMBERED = 32
_SHORT = 256  # larger blocks are not remembered

Fields = tuple[tuple[str, str], ...]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(r"/[^\x00-\x20\x7f]*|\*")
_AUTHORITY = re.compile(r"[^\x00-\x20\x7f]*")
_VALUE = re.compile(r"[^\x00\r\n]*")
_MANY_RESIZES = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}")
"""More than two changes of the table's size make no sense (RFC 7541 section 4.2)."""

_LENGTH = re.compile(r"[0-9]{1,18}")
_CONNECTION_LINES = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
_REQUEST_PSEUDO = frozenset({":method", ":scheme", ":path", ":authority", ":protocol"})
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})


class Malformed(ProtocolError):
    """Headers that HTTP does not allow; one stream ends."""


class HeaderCodec:
    """Compression of one connection, both ways.

    Blocks that come again and leave the tables as they are, which is so for the requests of a
    tunnel, are remembered until the table of their direction changes.
    """

    __slots__ = ("_decoded", "_decoder", "_encoded", "_encoder")

    def __init__(self) -> None:
        self._decoder = Decoder(LIST_LIMIT)
        self._encoder = Encoder()
        self._encoded: dict[Fields, bytes] = {}
        self._decoded: dict[bytes, Fields] = {}

    def encode(self, fields: Iterable[tuple[str, str]]) -> bytes:
        """A header block; what must stay secret is kept out of the compression's table."""
        key = tuple(fields)
        known = self._encoded.get(key)
        if known is not None:
            return known
        table = self._encoder.header_table
        entries = table.dynamic_entries
        before = entries[0] if entries else None
        resized = table.resized  # the block will tell the peer
        lines = [
            (name.encode("latin-1"), value.encode("latin-1"), name in _SECRET)
            for name, value in key
        ]
        block = bytes(self._encoder.encode(lines))
        if resized or (entries[0] if entries else None) is not before:
            self._encoded.clear()
        else:
            if len(self._encoded) >= _REMEMBERED:
                self._encoded.clear()
            self._encoded[key] = block
        return block

    def limit_table(self, size: int) -> None:
        """The peer's HEADER_TABLE_SIZE."""
        self._encoder.header_table_size = min(size, _TABLE_SIZE)
        self._encoded.clear()

    def decode(self, block: bytes) -> Fields:
        """Names and values. Raises Http2Error: the compression cannot go on."""
        known = self._decoded.get(block)
        if known is not None:
            return known
        if _MANY_RESIZES.match(block):
            raise Http2Error(COMPRESSION_ERROR, "a header block with many sizes of the table")
        entries = self._decoder.header_table.dynamic_entries
        before = entries[0] if entries else None
        try:
            pairs: Iterable[Any] = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            raise Http2Error(ENHANCE_YOUR_CALM, "header list is too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise Http2Error(COMPRESSION_ERROR, "bad header block") from error
        fields = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])
        resized = block[:1] and block[0] & 0xE0 == 0x20
        if resized or (entries[0] if entries else None) is not before:
            self._decoded.clear()
        elif len(block) <= _SHORT:
            if len(self._decoded) >= _REMEMBERED:
                self._decoded.clear()
            self._decoded[block] = fields
        return fields


def _split(fields: Sequence[tuple[str, str]]) -> tuple[dict[str, str], Fields]:
    """(pseudo headers, the other ones). Raises Malformed."""
    pseudo: dict[str, str] = {}
    for at, (name, value) in enumerate(fields):
        if name[:1] != ":":
            rest = fields[at:]
            break
        if name in pseudo:
            raise Malformed(f"{name} more than once")
        if not _VALUE.fullmatch(value):
            raise Malformed(f"control characters in {name}")
        pseudo[name] = value
    else:
        rest = ()
    for name, value in rest:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Malformed(f"bad header line {name!r}")
        if name in _CONNECTION_LINES or (name == "te" and value.lower() != "trailers"):
            raise Malformed(f"{name} has no place in HTTP/2")
    return pseudo, tuple(rest)


def content_length(fields: Fields) -> int:
    """The body's length as told, -1 when it is not. Raises Malformed."""
    lengths = {value for name, value in fields if name == "content-length"}
    if not lengths:
        return -1
    if len(lengths) > 1 or not _LENGTH.fullmatch(text := lengths.pop()):
        raise Malformed("bad content-length")
    return int(text)


def read_request(fields: Sequence[tuple[str, str]]) -> ExchangeRequest:
    """The head of a request. Raises Malformed."""
    pseudo, rest = _split(fields)
    if not pseudo.keys() <= _REQUEST_PSEUDO:
        raise Malformed("a pseudo header that requests do not have")
    method, path = pseudo.get(":method", ""), pseudo.get(":path", "")
    protocol, authority = pseudo.get(":protocol", ""), pseudo.get(":authority", "")
    if method == "CONNECT" and not protocol:
        if not authority or ":path" in pseudo or ":scheme" in pseudo:
            raise Malformed("CONNECT with other than :authority")
    elif not method or not path or not pseudo.get(":scheme"):
        raise Malformed("request without :method, :scheme or :path")
    elif protocol and method != "CONNECT":
        raise Malformed(f":protocol in a {method} request")
    # what has spaces in it would be another request once it is forwarded by HTTP/1.1
    if not _METHOD.fullmatch(method) or (":path" in pseudo and not _PATH.fullmatch(path)):
        raise Malformed("bad :method or :path")
    if not authority and ":authority" not in pseudo:
        authority = next((value for name, value in rest if name == "host"), "")
    if not _AUTHORITY.fullmatch(authority):
        raise Malformed("bad :authority")
    return ExchangeRequest(method, path, authority, pseudo.get(":scheme", ""), protocol, rest)


class Response:
    """The head of a response.

    Attributes:
        headers: without ``:status``.
    """

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: Fields) -> None:
        self.status = status
        self.headers = headers

    @classmethod
    def read(cls, fields: Sequence[tuple[str, str]]) -> Response:
        """Raises Malformed."""
        pseudo, rest = _split(fields)
        status = pseudo.get(":status", "")
        if len(pseudo) != 1 or len(status) != 3 or not (status.isascii() and status.isdigit()):
            raise Malformed("response without :status")
        return cls(int(status), rest)

    def get(self, name: str) -> str:
        """The first value of a header, given in lower case; empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")


def configured_lines(header: Mapping[str, Any]) -> dict[str, str]:
    """Lower-case names and values of a configured map, without what HTTP/2 has no place for.

    Raises ConfigError: a name or value that HTTP cannot carry.
    """
    lines: dict[str, str] = {}
    for name, value in header.items():
        text = "" if value is None else str(value)
        if not is_field(name, text):
            raise ConfigError(f"header: {name!r} cannot be sent as an HTTP header line")
        if name.lower() not in _CONNECTION_LINES:
            lines[name.lower()] = text
    return lines


def is_sendable(name: str, value: str) -> bool:
    """A header line of HTTP/1 can be sent on as it is, its name in lower case."""
    return _NAME.fullmatch(name.lower()) is not None and _VALUE.fullmatch(value) is not None


def check_trailers(fields: Sequence[tuple[str, str]]) -> Fields:
    """Raises Malformed: pseudo headers behind the body."""
    pseudo, rest = _split(fields)
    if pseudo:
        raise Malformed("pseudo headers in a trailer")
    return rest
