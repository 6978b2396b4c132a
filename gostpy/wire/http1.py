"""HTTP/1.0 and HTTP/1.1 messages: heads, and where their bodies end.

Wire      start line CRLF | (name: value CRLF)* | CRLF | body
Source    RFC 9110, RFC 9112; what gost accepts is what Go's net/http reads.
Differs   Bodies are not taken apart: what travels through a proxy is found out to its last byte and
          passed on as it came. Header names keep their case and order, which Go does not do. A head
          of more than 64 KiB, control characters in it, and chunk sizes with anything but digits
          are refused (Go takes heads of any size and some of the others).

A line may end in LF alone, and a folded header line is joined with one space, as Go does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from gostpy.addresses import ip_bytes
from gostpy.errors import ProtocolError
from gostpy.wire.address import join_address, split_target

__all__ = [
    "CHUNKED",
    "HEAD_LIMIT",
    "REASONS",
    "UNTIL_CLOSE",
    "Head",
    "RequestHead",
    "ResponseHead",
    "canonical",
    "client_ip",
    "head_end",
    "is_field",
    "response",
    "with_port",
]

HEAD_LIMIT = 65536
"""Bytes that a head may have."""

CHUNKED, UNTIL_CLOSE = -1, -2
"""Framing of a body whose length is not known beforehand; 0 and more is the length."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_END = re.compile(rb"\n\r?\n")
_TEXT = r"[^\x00-\x08\x0a-\x1f\x7f]*"
_FIELDS = re.compile(rf"({_TOKEN}):[ \t]*({_TEXT})\r\n")
_BLOCK = re.compile(rf"(?:{_TOKEN}:{_TEXT}\r\n)*")
_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")
_REQUEST = re.compile(rf"({_TOKEN}) ([^\x00-\x20\x7f]*) HTTP/(\d)\.(\d)")
_RESPONSE = re.compile(rf"HTTP/(\d)\.(\d) (\d{{3}})(?: ({_TEXT}))?")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)", re.DOTALL)
_AFTER_AUTHORITY = re.compile("[/?#].*", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}")

REASONS = {
    100: "Continue",
    101: "Switching Protocols",
    200: "OK",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    414: "Request URI Too Long",
    415: "Unsupported Media Type",
    418: "I'm a teapot",
    421: "Misdirected Request",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    511: "Network Authentication Required",
}
"""Go's standard texts; a code without one is written as ``status code N``."""

H = TypeVar("H", bound="Head")


def head_end(data: bytes, start: int = 0) -> int:
    """Where the head that begins ``data`` ends (behind the empty line), 0 if it goes on.

    Args:
        start: bytes that were searched before; the search goes back over a split mark itself.
    """
    found = _END.search(data, max(start - 2, 0))
    return found.end() if found is not None else 0


def with_port(authority: str, port: int) -> str:
    """``host:port`` of a host with or without one; IPv6 in brackets. Raises ProtocolError."""
    host, given = split_target(authority)
    return join_address(host, given or port)


def canonical(name: str) -> str:
    """A header name as Go writes it: ``X-Forwarded-For``."""
    return "-".join([part.capitalize() for part in name.split("-")])


def is_field(name: str, value: str) -> bool:
    """Whether this can be a header line."""
    return (
        value.isascii()
        and len(_FIELDS.findall(line := f"{name}:{value}\r\n")) == 1
        and (_BLOCK.fullmatch(line) is not None)
    )


def response(status: int, headers: Iterable[tuple[str, str]] = (), *, version: int = 1) -> bytes:
    """Head of an answer of ours, in the order given."""
    reason = REASONS.get(status) or f"status code {status}"
    lines = [f"HTTP/1.{version} {status:03d} {reason}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace")


class Head:
    """What requests and responses share: version and header lines.

    Attributes:
        version: 0 for HTTP/1.0, 1 for HTTP/1.1 and what is newer.
        items: (name, value) in the order of the wire, latin-1 text.
    """

    __slots__ = ("_fields", "items", "version")

    def __init__(self, version: int, items: list[tuple[str, str]]) -> None:
        self.version = version
        self.items = items
        self._fields: dict[str, str] | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Name in lower case -> first value."""
        fields = self._fields
        if fields is None:
            fields = self._fields = {key.lower(): value for key, value in reversed(self.items)}
        return fields

    def get(self, name: str) -> str:
        """The first value of a header, given in lower case; empty when there is none."""
        return self.fields.get(name, "")

    def all(self, name: str) -> list[str]:
        """Every value of a header, given in lower case."""
        return [value for key, value in self.items if key.lower() == name]

    def has_token(self, name: str, token: str) -> bool:
        """A comma list (``Connection``) has this token, in any case."""
        if not self.get(name):
            return False
        values = ",".join(self.all(name)).lower().split(",")
        return token in [value.strip(" \t") for value in values]

    def remove(self, *names: str) -> None:
        """Drop every line with one of these names (lower case)."""
        self.items = [item for item in self.items if item[0].lower() not in names]
        self._fields = None

    def set(self, name: str, value: str) -> None:
        """Replace the lines of this name by one, where the first was or at the end."""
        key = name.lower()
        kept: list[tuple[str, str]] = []
        placed = False
        for item in self.items:
            if item[0].lower() != key:
                kept.append(item)
            elif not placed:
                kept.append((name, value))
                placed = True
        if not placed:
            kept.append((name, value))
        self.items = kept
        self._fields = None

    def mapping(self) -> dict[str, list[str]]:
        """Name in lower case -> values, as rules want it."""
        found: dict[str, list[str]] = {}
        for name, value in self.items:
            found.setdefault(name.lower(), []).append(value)
        return found

    @property
    def wants_close(self) -> bool:
        """The sender ends the connection after this message."""
        if self.version == 0:
            return not self.has_token("connection", "keep-alive")
        return self.has_token("connection", "close")

    @property
    def upgrade(self) -> str:
        """Protocol of ``Upgrade``, lower case; empty without ``Connection: upgrade``."""
        return self.get("upgrade").lower() if self.has_token("connection", "upgrade") else ""

    def _length(self) -> int | None:
        """Framing by Transfer-Encoding or Content-Length, None when neither is there.

        Raises ProtocolError: they cannot be trusted to mean one thing.
        """
        if "transfer-encoding" in self.fields:
            codings = self.all("transfer-encoding")
            if [coding.lower() for coding in codings] != ["chunked"]:
                raise ProtocolError(f"transfer encoding {', '.join(codings)!r} is not supported")
            if self.version == 0:
                raise ProtocolError("transfer encoding in an HTTP/1.0 message")
            if "content-length" in self.fields:  # RFC 9112 section 6.3: it must not be passed on
                self.remove("content-length")
            return CHUNKED
        if "content-length" not in self.fields:
            return None
        lengths = self.all("content-length")
        if len(set(lengths)) != 1 or not _LENGTH.fullmatch(lengths[0]):
            raise ProtocolError(f"bad content length {', '.join(lengths)!r}")
        if len(lengths) > 1:
            self.set("Content-Length", lengths[0])
        return int(lengths[0])

    def _encode(self, start: str) -> bytes:
        lines = [start]
        lines += [f"{name}: {value}\r\n" for name, value in self.items]
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")


def _parse(data: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Start line and header lines of a whole head. Raises ProtocolError."""
    start, _, block = data.decode("latin-1").partition("\n")
    block = block[:-2] if block.endswith("\r\n") else block[:-1]
    if not _BLOCK.fullmatch(block):
        block = _regular(block)
    items = _FIELDS.findall(block)
    if " \r\n" in block or "\t\r\n" in block:
        items = [(name, value.rstrip(" \t")) for name, value in items]
    return start.removesuffix("\r"), items


def _regular(block: str) -> str:
    """Header lines in their one regular form. Raises ProtocolError: there is none."""
    block = block.replace("\r\n", "\n").replace("\n", "\r\n")
    if block[:1] not in (" ", "\t"):
        block = _FOLD.sub(" ", block)
        if _BLOCK.fullmatch(block):
            return block
    raise ProtocolError("malformed header line")


class RequestHead(Head):
    """Head of a request.

    Attributes:
        target: as on the wire.
        scheme: of an absolute target in lower case, else empty.
        authority: host and port of an absolute target or of CONNECT, else of the Host header.
        path: path and query of an absolute or origin-form target.
        framing: length of the body, or CHUNKED.
    """

    __slots__ = ("authority", "framing", "method", "path", "scheme", "target")

    def __init__(
        self, method: str, target: str, version: int = 1, items: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__(version, items if items is not None else [])
        self.method = method
        self.target = target
        self.framing = 0
        self.scheme = ""
        self.path = target
        if method == "CONNECT" and not target.startswith("/"):
            self.authority = _authority(_AFTER_AUTHORITY.sub("", target))
            self.path = ""
        elif absolute := _ABSOLUTE.fullmatch(target):
            self.scheme = absolute[1].lower()
            self.authority = _authority(absolute[2])
            path = absolute[3]
            self.path = path if path.startswith("/") else "/" + path
        else:
            self.authority = _authority(self.get("host"))

    @classmethod
    def parse(cls, data: bytes) -> RequestHead:
        """A whole head, as :func:`head_end` delimits it. Raises ProtocolError."""
        start, items = _parse(data)
        found = _REQUEST.fullmatch(start)
        if found is None:
            raise ProtocolError("not an HTTP request")
        method, target, major, minor = found.groups()
        if major == "0":
            raise ProtocolError(f"HTTP/{major}.{minor} is not supported")
        request = cls(method, target, 0 if (major, minor) == ("1", "0") else 1, items)
        if len(request.fields) != len(items) and len(request.all("host")) > 1:
            raise ProtocolError("more than one Host header")
        request.framing = request._length() or 0
        return request

    def encode(self) -> bytes:
        """With the target as it is now; HTTP/1.1, as a proxy says its own version."""
        return self._encode(f"{self.method} {self.target} HTTP/1.1\r\n")

    @property
    def client_ip(self) -> str:
        """The client as a proxy in front names it; empty when none does.

        CF-Connecting-IP, else the first of X-Forwarded-For, else X-Real-Ip, as in gost.
        """
        return client_ip(self.get)


def client_ip(get: Callable[[str], str]) -> str:
    """The client's address in headers, which ``get`` finds by lower-case name; empty for none."""
    for name in ("cf-connecting-ip", "x-forwarded-for", "x-real-ip"):
        text = get(name).partition(",")[0].strip()
        if text:
            return text if ip_bytes(text) is not None else ""
    return ""


def _authority(text: str) -> str:
    """Host and port without user info; a name in UTF-8 as text."""
    if "@" in text:
        text = text.rpartition("@")[2]
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


class ResponseHead(Head):
    """Head of a response."""

    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str, version: int = 1, items: list[tuple[str, str]] | None = None
    ) -> None:
        super().__init__(version, items if items is not None else [])
        self.status = status
        self.reason = reason

    @classmethod
    def parse(cls, data: bytes) -> ResponseHead:
        """A whole head. Raises ProtocolError."""
        start, items = _parse(data)
        found = _RESPONSE.fullmatch(start)
        if found is None:
            raise ProtocolError("not an HTTP response")
        major, minor, status, reason = found.groups()
        if major != "1":
            raise ProtocolError(f"HTTP/{major}.{minor} is not supported")
        return cls(int(status), reason or "", 0 if minor == "0" else 1, items)

    def encode(self, version: int = 1) -> bytes:
        return self._encode(f"HTTP/1.{version} {self.status:03d} {self.reason}\r\n")

    def framing(self, method: str) -> int:
        """Length of the body, CHUNKED or UNTIL_CLOSE. Raises ProtocolError."""
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            self._length()  # contradictions are refused even where no body follows
            return 0
        length = self._length()
        return UNTIL_CLOSE if length is None else length
