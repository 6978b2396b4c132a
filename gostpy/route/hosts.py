"""The hosts table: names with fixed addresses, looked up before any resolver.

A name is found as it is, as ``.name``, or through the nearest parent written with a leading dot
(``.example.org`` covers everything below it). All addresses of the entry count, in the order of
configuration.

Differs   Case and a dot at the end do not matter; gost compares the text, and so does ``strict``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gostpy.addresses import fold_host
from gostpy.lines import NO_LINE, Line, Remark

__all__ = ["Answer", "Hosts", "Mapping", "parse_mappings"]


@dataclass(frozen=True, slots=True)
class Mapping:
    """One address and the names that lead to it."""

    ip: str
    names: tuple[str, ...]
    line: Line = NO_LINE


@dataclass(frozen=True, slots=True)
class Answer:
    """An entry of the table.

    Attributes:
        ips: addresses of the asked family; empty when the entry has none (ask the resolver).
        name: the entry that was found, ``.example.org`` for one of its sub-domains.
    """

    ips: tuple[str, ...]
    name: str


class Hosts:
    """The table. Immutable: a reload makes a new one. ``remarks`` holds entries left out."""

    def __init__(self, mappings: Iterable[Mapping], *, strict: bool = False) -> None:
        self.remarks: list[Remark] = []
        self._strict = strict
        self._table: dict[str, list[str]] = {}
        for mapping in mappings:
            ip = _ip(mapping.ip)
            if ip is None:
                line = mapping.line if mapping.line.text else Line(mapping.ip)
                self.remarks.append(Remark(line, "left out: not an IP address"))
                continue
            for name in filter(None, mapping.names):
                ips = self._table.setdefault(name if strict else fold_host(name), [])
                if ip not in ips:
                    ips.append(ip)

    def lookup(self, network: str, host: str) -> Answer | None:
        """The entry for a host name, or None.

        Args:
            network: ``ip4`` or ``ip6`` for one family, anything else for both.
        """
        for name in _candidates(host if self._strict else fold_host(host)):
            ips = self._table.get(name)
            if ips is not None:
                if network in ("ip4", "ip6"):
                    ips = [ip for ip in ips if (":" in ip) == (network == "ip6")]
                return Answer(tuple(ips), name)
        return None


def parse_mappings(lines: Iterable[Line]) -> tuple[list[Mapping], list[Remark]]:
    """Mappings of ``IP NAME [NAME...]`` lines; what gost leaves out is left out with a remark."""
    mappings: list[Mapping] = []
    remarks: list[Remark] = []
    for line in lines:
        ip, *names = line.text.split()
        if not names:
            remarks.append(Remark(line, "left out: an address and at least one name are expected"))
        elif _ip(ip) is None:
            remarks.append(Remark(line, "left out: not an IP address"))
        else:
            mappings.append(Mapping(ip, tuple(names), line))
    return mappings, remarks


def _candidates(host: str) -> Iterator[str]:
    yield host
    yield "." + host
    dot = host.find(".", 1)
    while dot > 0:
        yield host[dot:]
        dot = host.find(".", dot + 1)


def _ip(text: str) -> str | None:
    """The canonical spelling of an IP without a zone, IPv4-mapped ones as IPv4."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        return None if ip.scope_id else str(ip.ipv4_mapped or ip)
    return str(ip)
