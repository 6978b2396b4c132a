"""The functions of matcher rules: each reads its arguments once and becomes a test of facts.

ClientIP Proto Host HostRegexp Method Path PathRegexp PathPrefix Header HeaderRegexp Query
QueryRegexp Bypass Admission. A fact that is not known matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import parse_qs

from gostpy.addresses import ip_bytes, parse_network, split_host_port
from gostpy.errors import ConfigError
from gostpy.regexp import Regexp

__all__ = ["FUNCTIONS", "Facts", "Named", "Test"]

_MOST_QUERY_FIELDS = 1000
_EMPTY: Mapping[str, Sequence[str]] = MappingProxyType({})

Named: TypeAlias = Callable[[str, str], bool]
"""(name of a bypass or admission, address) -> whether it lets the address pass."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a request; unknown facts are empty and match no function.

    Attributes:
        network: ``tcp`` or ``udp``.
        address: the target, ``host:port``.
        host: the host asked for (HTTP Host, TLS server name), with or without a port.
        protocol: as sniffed or proxied: ``http``, ``tls`` ...
        client_ip: the client's IP without a port.
        method, path: of an HTTP request.
        headers: lower-cased name -> values.
        query: raw query text of the URL.
    """

    network: str = ""
    address: str = ""
    host: str = ""
    protocol: str = ""
    client_ip: str = ""
    method: str = ""
    path: str = ""
    headers: Mapping[str, Sequence[str]] = field(default_factory=lambda: _EMPTY)
    query: str = ""


Test: TypeAlias = Callable[[Facts], bool]


def _one(arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise ConfigError(f"takes one argument, not {len(arguments)}")
    return arguments[0]


def _two(arguments: list[str]) -> tuple[str, str | None]:
    if len(arguments) not in (1, 2):
        raise ConfigError(f"takes one or two arguments, not {len(arguments)}")
    return arguments[0], arguments[1] if len(arguments) == 2 else None


def _ascii(text: str) -> str:
    if not text.isascii():
        raise ConfigError("only ASCII characters are allowed")
    return text


def _path_of(text: str) -> str:
    if not text.startswith("/"):
        raise ConfigError("the path must begin with /")
    return text


def _host_of(facts: Facts) -> str:
    return split_host_port(facts.host)[0].strip().lower()


def _client_ip(arguments: list[str], _: Named | None) -> Test:
    text = _one(arguments)
    single = ip_bytes(text)
    network = parse_network(text) if single is None else (single, len(single) * 8)
    if network is None:
        raise ConfigError(f"{text!r} is neither an IP nor a network")
    packed, prefix = network
    shift = len(packed) * 8 - prefix
    number = int.from_bytes(packed, "big") >> shift

    def test(facts: Facts) -> bool:
        ip = ip_bytes(facts.client_ip)
        if ip is None or len(ip) != len(packed):
            return False
        return int.from_bytes(ip, "big") >> shift == number

    return test


def _proto(arguments: list[str], _: Named | None) -> Test:
    protocol = _one(arguments).lower()
    return lambda facts: facts.protocol == protocol


def _method(arguments: list[str], _: Named | None) -> Test:
    method = _one(arguments).upper()
    return lambda facts: facts.method == method


def _host(arguments: list[str], _: Named | None) -> Test:
    pattern = _ascii(_one(arguments)).strip().lower()
    if pattern.startswith("*"):
        pattern = pattern[1:] if pattern.startswith("*.") else "." + pattern[1:]
    # .b.com also matches ab.com  # gost: routing/matcher.go
    ending = pattern[1:] if pattern.startswith(".") else None

    def test(facts: Facts) -> bool:
        host = _host_of(facts)
        if not host:
            return False
        return host == pattern or (ending is not None and host.endswith(ending))

    return test


def _host_regexp(arguments: list[str], _: Named | None) -> Test:
    search = Regexp(_ascii(_one(arguments))).search
    return lambda facts: search(_host_of(facts))


def _path(arguments: list[str], _: Named | None) -> Test:
    path = _path_of(_one(arguments))
    return lambda facts: facts.path == path


def _path_prefix(arguments: list[str], _: Named | None) -> Test:
    prefix = _path_of(_one(arguments))
    return lambda facts: facts.path.startswith(prefix)


def _path_regexp(arguments: list[str], _: Named | None) -> Test:
    search = Regexp(_one(arguments)).search
    return lambda facts: search(facts.path)


def _header(arguments: list[str], _: Named | None) -> Test:
    name, value = _two(arguments)
    name = name.lower()
    if value is None:
        return lambda facts: name in facts.headers
    return lambda facts: value in facts.headers.get(name, ())


def _header_regexp(arguments: list[str], named: Named | None) -> Test:
    name, value = _two(arguments)
    if value is None:
        return _header(arguments, named)
    search, name = Regexp(value).search, name.lower()
    return lambda facts: any(map(search, facts.headers.get(name, ())))


def _fields(facts: Facts) -> dict[str, list[str]]:
    if not facts.query:
        return {}
    try:
        return parse_qs(facts.query, keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS)
    except ValueError:
        return {}


def _query(arguments: list[str], _: Named | None) -> Test:
    name, value = _two(arguments)
    if value is None:
        return lambda facts: name in _fields(facts)
    return lambda facts: value in _fields(facts).get(name, ())


def _query_regexp(arguments: list[str], named: Named | None) -> Test:
    name, value = _two(arguments)
    if value is None:
        return _query(arguments, named)
    search = Regexp(value).search
    return lambda facts: any(map(search, _fields(facts).get(name, ())))


def _bypass(arguments: list[str], named: Named | None) -> Test:
    name = _one(arguments)
    return lambda facts: named is not None and named(name, facts.host)


def _admission(arguments: list[str], named: Named | None) -> Test:
    name = _one(arguments)
    return lambda facts: (
        named is not None and bool(facts.client_ip) and named(name, facts.client_ip)
    )


FUNCTIONS: dict[str, Callable[[list[str], Named | None], Test]] = {
    "clientip": _client_ip,
    "proto": _proto,
    "host": _host,
    "hostregexp": _host_regexp,
    "method": _method,
    "path": _path,
    "pathregexp": _path_regexp,
    "pathprefix": _path_prefix,
    "header": _header,
    "headerregexp": _header_regexp,
    "query": _query,
    "queryregexp": _query_regexp,
    "bypass": _bypass,
    "admission": _admission,
}
