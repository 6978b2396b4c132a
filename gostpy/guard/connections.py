"""Connection limits: how many connections a service, or one client, may have at a time.

Lines are ``KEY COUNT`` (keys in rules.py). An IP's own line beats that of a network, which beats
``$$``; ``$`` counts all connections in addition. Lines without a count above zero are left out.

Differs   Counts survive a reload of the lines; in gost the connections from before are forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gostpy.addresses import ip_bytes, ip_text
from gostpy.guard.rules import SERVICE, KeyTable, fields_of
from gostpy.lines import NO_LINE, Line, Remark, as_lines

__all__ = ["ConnectionLimits", "ConnectionRule", "Counter", "LocalCounter", "parse_connections"]

_COUNT = re.compile(r"\+?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class ConnectionRule:
    """One line: at most ``most`` connections at a time."""

    key: str
    most: int
    line: Line = NO_LINE


class Counter(Protocol):
    """Counts what is in use, by key."""

    def acquire(self, key: str, most: int) -> bool:
        """Count one more; False, with nothing counted, when there are ``most`` already."""
        ...

    def release(self, key: str) -> None: ...


class LocalCounter:
    """The counts of this process; keys without a count take no memory."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def acquire(self, key: str, most: int) -> bool:
        count = self._counts.get(key, 0)
        if count >= most:
            return False
        self._counts[key] = count + 1
        return True

    def release(self, key: str) -> None:
        count = self._counts.get(key, 0) - 1
        if count > 0:
            self._counts[key] = count
        else:
            self._counts.pop(key, None)


def parse_connections(lines: Iterable[str | Line]) -> tuple[list[ConnectionRule], list[Remark]]:
    """The rules of a list, and remarks on what is left out."""
    rules: list[ConnectionRule] = []
    remarks: list[Remark] = []
    for line in as_lines(lines):
        fields = fields_of(line, 2, remarks)
        if not fields:
            continue
        if not _COUNT.fullmatch(fields[1]) or not int(fields[1]):
            remarks.append(Remark(line, f"left out: {fields[1]!r} is not a number above zero"))
            continue
        rules.append(ConnectionRule(fields[0], int(fields[1]), line))
    return rules, remarks


class ConnectionLimits:
    """One limiter object: the rules and the connections that count."""

    def __init__(
        self, rules: Iterable[ConnectionRule] = (), *, counter: Counter | None = None
    ) -> None:
        self._counter = counter or LocalCounter()
        self.replace(rules)

    def replace(self, rules: Iterable[ConnectionRule]) -> None:
        """Other rules for new connections; those that are open keep counting."""
        self._table: KeyTable[ConnectionRule] = KeyTable()
        for rule in rules:
            self._table.add(rule.key, rule)

    def rules_for(self, ip: str) -> list[ConnectionRule]:
        """The rules that concern a connection from ``ip``: that of the client, that of ``$``."""
        own, network = self._table.addressed(ip_bytes(ip))
        client = own or network or self._table.each
        return [rule for rule in (client, self._table.service) if rule is not None]

    def acquire(self, ip: str) -> Callable[[], None] | None:
        """Count a connection from ``ip``.

        Returns: what to call when it is over (further calls do nothing); None: it is refused.
        """
        packed = ip_bytes(ip)
        name = ip if packed is None else ip_text(packed)
        keys: list[str] = []
        for rule in self.rules_for(ip):
            key = SERVICE if rule.key == SERVICE else name
            if not self._counter.acquire(key, rule.most):
                self._release(keys)
                return None
            keys.append(key)
        return lambda: self._release(keys)

    def _release(self, keys: list[str]) -> None:
        while keys:
            self._counter.release(keys.pop())
