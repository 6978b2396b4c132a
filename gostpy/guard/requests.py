"""Request limits: how many requests per second a service, or one client, may make.

Lines are ``KEY RATE`` (keys in rules.py); rates may be fractions. An IP's own line beats that of a
network, which beats ``$$``; ``$`` limits all requests in addition. A burst of the rate's whole part
plus one passes at once.

Differs   A request that its client's limit refuses does not count for ``$``; in gost one client
          that asks too often uses up what the others share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gostpy.addresses import ip_bytes
from gostpy.guard.bucket import SharedBuckets
from gostpy.guard.rules import SERVICE, KeyTable, fields_of
from gostpy.lines import NO_LINE, Line, Remark, as_lines

__all__ = ["RequestLimits", "RequestRule", "parse_requests"]


@dataclass(frozen=True, slots=True)
class RequestRule:
    """One line: ``rate`` requests per second."""

    key: str
    rate: float
    line: Line = NO_LINE


def parse_requests(lines: Iterable[str | Line]) -> tuple[list[RequestRule], list[Remark]]:
    """The rules of a list, and remarks on what is left out."""
    rules: list[RequestRule] = []
    remarks: list[Remark] = []
    for line in as_lines(lines):
        fields = fields_of(line, 2, remarks)
        if not fields:
            continue
        try:
            rate = float(fields[1])
        except ValueError:
            rate = 0.0
        if not 0 < rate < math.inf:
            remarks.append(Remark(line, f"left out: {fields[1]!r} is not a rate above zero"))
            continue
        rules.append(RequestRule(fields[0], rate, line))
    return rules, remarks


class RequestLimits:
    """One limiter object: the rules and what clients have used of them."""

    def __init__(
        self, rules: Iterable[RequestRule] = (), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._buckets: SharedBuckets[bytes | str] = SharedBuckets(clock)
        self.replace(rules)

    def replace(self, rules: Iterable[RequestRule]) -> None:
        """Other rules from now on."""
        self._table: KeyTable[RequestRule] = KeyTable()
        for rule in rules:
            self._table.add(rule.key, rule)

    def rules_for(self, ip: str) -> list[RequestRule]:
        """The rules that concern a request from ``ip``: that of the client, that of ``$``."""
        own, network = self._table.addressed(ip_bytes(ip))
        client = own or network or self._table.each
        return [rule for rule in (client, self._table.service) if rule is not None]

    def allow(self, ip: str) -> bool:
        """Count a request from ``ip``; False: it is refused."""
        now = self._clock()
        packed = ip_bytes(ip)
        for rule in self.rules_for(ip):
            key = SERVICE if rule.key == SERVICE else packed or ip
            bucket = self._buckets.get(key, rule.rate, int(rule.rate) + 1)
            if not bucket.allow(1, now):
                return False
        return True
