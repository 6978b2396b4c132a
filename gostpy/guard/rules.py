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

from collections.abc import Iterable
from typing import Generic, TypeVar

from gostpy.addresses import NetworkMap, ip_bytes, parse_network
from gostpy.lines import Line, Remark

__all__ = ["EACH", "SERVICE", "KeyTable", "fields_of"]

SERVICE = "$"
EACH = "$$"

T = TypeVar("T")


def fields_of(line: Line, most: int, remarks: list[Remark]) -> list[str]:
    """Key and values of a line; empty, with a remark, when there are too few."""
    fields = line.text.split()
    if len(fields) < 2:
        remarks.append(Remark(line, "left out: a key and a value are expected"))
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

    def add(self, key: str, value: T) -> bool:
        """Enter a value; False when the key is none of the four kinds."""
        packed, network = ip_bytes(key), parse_network(key)
        if key == SERVICE:
            self.service = value
        elif key == EACH:
            self.each = value
        elif packed is not None:
            self._ips[packed] = value
        elif network is not None:
            self._networks.add(*network, value)
        else:
            return False
        return True

    def addressed(self, packed: bytes | None) -> tuple[T | None, T | None]:
        """The values for this very IP, and for the widest network around it."""
        if packed is None:
            return None, None
        return self._ips.get(packed), self._networks.widest(packed)


def add_all(
    table: KeyTable[T], entries: Iterable[tuple[str, T, Line]], remarks: list[Remark]
) -> None:
    """Enter values with their keys; a key of no kind leaves a remark."""
    for key, value, line in entries:
        if not table.add(key, value):
            remarks.append(Remark(line, f"left out: {key!r} is not $, $$, an IP or a network"))
