"""URLs of the command line, parsed as gost's URL library parses them.

``SCHEME://[USER[:PASS]@]HOST:PORT[/PATH][?QUERY]``. Differs from :mod:`urllib.parse` in what is an
error (bad escapes, blanks in the host, characters in the user info) and in what is kept. Bytes
that are not UTF-8 survive as surrogate escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from compat.values import atoi
from gostpy.errors import ConfigError

__all__ = ["URL", "parse_query", "parse_url", "port_range", "split_host_port"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_HOST = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_LAST_PORT = 65535
_ESCAPE = re.compile(r"%(?P<hex>[0-9a-fA-F]{2})?")
_PATH_SAFE = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~$&+,/:;=@"
)
_PATH_VALID = re.compile(r"[A-Za-z0-9\-_.~$&+,/:;=@!'()*\[\]%]*")


@dataclass(slots=True, kw_only=True)
class URL:
    """A parsed URL.

    Attributes:
        user: None without user info.
        password: None without a colon in the user info.
        path: with its escapes decoded.
        raw_path: as it was written.
        query: first value of each key.
        dropped: malformed pairs of the query.
    """

    scheme: str = ""
    user: str | None = None
    password: str | None = None
    host: str = ""
    path: str = ""
    raw_path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)

    @property
    def hostname(self) -> str:
        """The host without port and brackets; of a comma list all but the last port."""
        host, colon, port = self.host.rpartition(":")
        if not colon or not _PORT.fullmatch(colon + port):
            host = self.host
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @property
    def escaped_path(self) -> str:
        """The path with escapes: as written when that was a valid notation."""
        if _PATH_VALID.fullmatch(self.raw_path):
            return self.raw_path
        raw = self.path.encode("utf-8", "surrogateescape")
        return "".join(chr(b) if b in _PATH_SAFE else f"%{b:02X}" for b in raw)


def parse_url(text: str) -> URL:
    """Parse; the scheme is lower-cased. Raises ConfigError."""
    if any(char < " " or char == "\x7f" for char in text):
        raise ConfigError("a URL must not contain control characters")
    text, _, fragment = text.partition("#")
    _unescape(fragment)
    scheme, rest = _split_scheme(text)
    if rest.endswith("?") and rest.count("?") == 1:
        rest = rest[:-1]
    rest, _, query = rest.partition("?")
    url = URL(scheme=scheme)
    url.query = parse_query(query, url.dropped)
    if not rest.startswith("/"):
        if not scheme and ":" in rest.partition("/")[0]:
            raise ConfigError(f"{rest.partition(':')[0]!r} is not a valid scheme")
        if scheme:
            return url
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        _parse_authority(url, authority)
    url.path = _unescape(rest)
    url.raw_path = rest
    return url


def _split_scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise ConfigError("the scheme before '://' is missing")
    match = _SCHEME.match(text)
    if match and text[match.end() : match.end() + 1] == ":":
        return match[0].lower(), text[match.end() + 1 :]
    return "", text


def _parse_authority(url: URL, authority: str) -> None:
    userinfo, at, host = authority.rpartition("@")
    url.host = _parse_host(host)
    if not at:
        return
    if not _USERINFO.fullmatch(userinfo):
        raise ConfigError(
            "the user info before '@' has characters that must be written as %XX escapes"
        )
    user, colon, password = userinfo.partition(":")
    url.user = _unescape(user)
    url.password = _unescape(password) if colon else None


def _parse_host(host: str) -> str:
    """Check and decode a host. Comma lists of hosts with ports are fine under any scheme."""
    bracket = host.rfind("[")
    if bracket > 0:
        raise ConfigError(f"invalid IPv6 address in {host!r}")
    if bracket == 0:
        close = host.rfind("]")
        if close < 0:
            raise ConfigError(f"missing ']' in {host!r}")
        if not _PORT.fullmatch(host[close + 1 :]):
            raise ConfigError(f"invalid port {host[close + 1 :]!r} after the host")
        return f"[{_literal(host[1:close])}]{host[close + 1 :]}"
    colon = host.rfind(":")
    if colon >= 0 and not _PORT.fullmatch(host[colon:]):
        raise ConfigError(f"invalid port {host[colon:]!r} after the host")
    return _unescape_host(host)


def _literal(address: str) -> str:
    import ipaddress

    host, percent, zone = address.partition("%25")
    decoded = _unescape_host(host) + ("%" + _unescape(zone) if percent else "")
    try:
        ipaddress.IPv6Address(decoded)
    except ValueError:
        raise ConfigError(f"{address!r} is not an IPv6 address") from None
    return decoded


def _unescape_host(host: str) -> str:
    for match in _ESCAPE.finditer(host):
        if match["hex"] and int(match["hex"], 16) < 0x80 and match["hex"] != "25":
            raise ConfigError(f"invalid escape {match[0]!r} in the host")
    if not _HOST.fullmatch(host):
        raise ConfigError(f"invalid character in the host {host!r}")
    return _unescape(host)


def _unescape(text: str, *, plus: bool = False) -> str:
    """Decode %XX escapes, and ``+`` as a blank. Raises ConfigError: a broken escape."""
    if plus:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    for match in _ESCAPE.finditer(text):
        if not match["hex"]:
            broken = text[match.start() : match.start() + 3]
            raise ConfigError(f"invalid escape {broken!r}")
    raw = re.sub(
        rb"%([0-9a-fA-F]{2})",
        lambda m: bytes((int(m[1], 16),)),
        text.encode("utf-8", "surrogateescape"),
    )
    return raw.decode("utf-8", "surrogateescape")


def parse_query(query: str, dropped: list[str] | None = None) -> dict[str, str]:
    """First value of each key; pairs with a broken escape or a semicolon go to ``dropped``."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        if not pair:
            continue
        key, _, value = pair.partition("=")
        try:
            if ";" in pair:
                raise ConfigError("a semicolon must be written as %3B")
            decoded = _unescape(key, plus=True), _unescape(value, plus=True)
        except ConfigError:
            if dropped is not None:
                dropped.append(pair)
            continue
        found.setdefault(*decoded)
    return found


def split_host_port(address: str) -> tuple[str, str] | None:
    """Host and port of ``host:port`` or ``[v6]:port``; None for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return None
    if host.startswith("["):
        if not host.endswith("]"):
            return None
        host = host[1:-1]
    elif ":" in host:
        return None
    if any(mark in text for text in (host, port) for mark in "[]"):
        return None
    return host, port


def port_range(address: str, *, strict: bool = False) -> list[str]:
    """The addresses of ``HOST:A-B``; a reversed range and anything else stays one address.

    Args:
        strict: a port that is no number becomes 0, any free port, as in gost 3.2.6; otherwise it
            is kept, so that it is reported when it is used.
    """
    found = None if "://" in address else split_host_port(address)
    if found is None:
        return [address]
    host, port = found
    ends = _range(port)
    if ends is None and port and not strict:
        return [address]
    low, high = ends or (0, 0)
    if low > high or (high > _LAST_PORT and not strict):
        return [address]
    if high - low > 2 * _LAST_PORT:
        raise ConfigError(f"the port range {port!r} is too large")
    name = f"[{host}]" if ":" in host else host
    return [f"{name}:{number}" for number in range(low, high + 1)]


def _range(port: str) -> tuple[int, int] | None:
    ends = port.split("-")
    try:
        numbers = [atoi(end) for end in ends]
    except ValueError:
        return None
    if len(ends) == 1 and 0 <= numbers[0] <= _LAST_PORT:
        return numbers[0], numbers[0]
    return (numbers[0], numbers[1]) if len(ends) == 2 else None
