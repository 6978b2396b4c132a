"""Lines of limiter lists: ``KEY VALUE [VALUE]``, and which of them concern a client.

======  ==============================================
KEY     traffic                 | connections, requests
``$``   the whole service       | the whole service
``$$``  each connection         | each client IP without a line of its own
IP      that client, all its connections together
CIDR    each client inside, for itself; the widest network wins, as in gost
======  ==============================================

A later line replaces an earlier one with the same key.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from gostpy.addresses import NetworkMap, ip_bytes, parse_network
from gostpy.lines import Line, Remark

__all__ = ["EACH", "SERVICE", "KeyTable", "fields_of"]

SERVICE = "$"
EACH = "$$"

T = TypeVar("T")


def fields_of(line: Line, most: int, remarks: list[Remark]) -> list[str]:
    """Key and values of a line; empty, with a remark, when it cannot limit anything."""
    fields = line.text.split()
    if len(fields) < 2:
        remarks.append(Remark(line, "left out: a key and a value are expected"))
        return []
    key = fields[0]
    if key not in (SERVICE, EACH) and ip_bytes(key) is None and parse_network(key) is None:
        remarks.append(Remark(line, f"left out: {key!r} is not $, $$, an IP or a network"))
        return []
    if len(fields) > most:
        remarks.append(Remark(line, f"what follows {fields[most - 1]!r} is not read"))
    return fields[:most]


class KeyTable(Generic[T]):
    """Values by key; ``service`` and ``each`` are those of ``$`` and ``$$``, None without one."""

    def __init__(self) -> None:
        self.service: T | None = None
        self.each: T | None = None
        self._ips: dict[bytes, T] = {}
        self._networks: NetworkMap[T] = NetworkMap()

    def add(self, key: str, value: T) -> None:
        """Enter a value; a key of none of the four kinds is never looked up."""
        packed, network = ip_bytes(key), parse_network(key)
        if key == SERVICE:
            self.service = value
        elif key == EACH:
            self.each = value
        elif packed is not None:
            self._ips[packed] = value
        elif network is not None:
            self._networks.add(*network, value)

    def addressed(self, packed: bytes | None) -> tuple[T | None, T | None]:
        """The values for this very IP, and for the widest network around it."""
        if packed is None:
            return None, None
        return self._ips.get(packed), self._networks.widest(packed)
