"""Traffic limits: bytes per second for a service, for each connection, for each client IP.

Lines are ``KEY IN [OUT]`` (keys in rules.py). IN is what is read from the client, OUT what is
written to it. Values are base-2 units, case as written: ``B KB KiB MB MiB ... EB EiB``, with
decimals and sums (``1.5MB``, ``1MB512KB``); ``0`` is no limit. The burst is one second's worth.

A value that gost cannot read (``100``, ``10kB``) is no limit there and here; a remark says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gostpy.addresses import ip_bytes
from gostpy.errors import ConfigError
from gostpy.guard.bucket import Bucket, LocalBucket, SharedBuckets
from gostpy.guard.rules import KeyTable, fields_of
from gostpy.lines import NO_LINE, Line, Remark, as_lines
from gostpy.net.timers import now

__all__ = ["Buckets", "TrafficLimits", "TrafficRule", "parse_rate", "parse_traffic"]

_PREFIXES = "KMGTPE"
_UNITS = {
    "i": {"B": 1, **{p + "iB": 1024**n for n, p in enumerate(_PREFIXES, 1)}},
    "": {"B": 1, **{p + "B": 1024**n for n, p in enumerate(_PREFIXES, 1)}},
}
_TERM = re.compile(r"(\d{1,19}\.?\d{0,19}|\.\d{1,19})([^\d.]*)", re.ASCII)
_TWO_BLANKS = re.compile(r"\S+( {2}|\t{2})\S+")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TrafficRule:
    """One line. Rates are bytes per second, 0 is no limit."""

    key: str
    inbound: int = 0
    outbound: int = 0
    line: Line = NO_LINE


@dataclass(frozen=True, slots=True)
class Buckets:
    """What a connection has to pay into: all of them, per direction."""

    inbound: tuple[Bucket, ...] = ()
    outbound: tuple[Bucket, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.inbound or self.outbound)

    def __add__(self, other: Buckets) -> Buckets:
        return Buckets(self.inbound + other.inbound, self.outbound + other.outbound)

    def received(self, size: int, now: float) -> float:
        """Pay for bytes read from the client; returns the seconds to wait before reading on."""
        return max((bucket.take(size, now) for bucket in self.inbound), default=0.0)

    def sent(self, size: int, now: float) -> float:
        """Pay for bytes written to the client; returns the seconds to wait before writing on."""
        return max((bucket.take(size, now) for bucket in self.outbound), default=0.0)


def parse_rate(text: str) -> int:
    """Bytes per second of a value such as ``1.5MB``. Raises ConfigError."""
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    for units in _UNITS.values():
        total, at = 0.0, 0
        while at < len(body):
            term = _TERM.match(body, at)
            if term is None or term[2] not in units:
                break
            total += float(term[1]) * units[term[2]]
            at = term.end()
        if body and at == len(body) and total <= _LARGEST:
            return sign * int(total)
    raise ConfigError(f"{text!r} is not a rate: a number and B, KB, MB, GB ... are expected")


def parse_traffic(lines: Iterable[str | Line]) -> tuple[list[TrafficRule], list[Remark]]:
    """The rules of a list, as gost reads them, and remarks on what may not be meant so."""
    rules: list[TrafficRule] = []
    remarks: list[Remark] = []
    for line in as_lines(lines):
        fields = fields_of(line, 3, remarks)
        if not fields:
            continue
        key, *values = fields
        rates = [0, 0]
        for index, value in enumerate(values):
            try:
                rates[index] = max(parse_rate(value), 0)
            except ConfigError as error:
                remarks.append(Remark(line, f"no limit: {error.message}"))
        if len(values) == 1 and _TWO_BLANKS.fullmatch(line.text):
            remarks.append(
                Remark(line, "limits input: the empty column does not count (write 0 for it)")
            )
        rules.append(TrafficRule(key, rates[0], rates[1], line))
    return rules, remarks


class TrafficLimits:
    """One limiter object: the rules and the buckets that are in use.

    Args:
        rules: later ones replace earlier ones with the same key.
        clock: seconds; the same that callers pass to the buckets.
    """

    def __init__(
        self, rules: Iterable[TrafficRule] = (), *, clock: Callable[[], float] = now
    ) -> None:
        self._shared: SharedBuckets[tuple[bytes | None, bool]] = SharedBuckets(clock)
        self._service: dict[bool, LocalBucket] = {}
        self.replace(rules)

    def replace(self, rules: Iterable[TrafficRule]) -> None:
        """Other rules from now on. Buckets shared by connections take their new rates at once."""
        self._table: KeyTable[TrafficRule] = KeyTable()
        for rule in rules:
            self._table.add(rule.key, rule)
        for inbound, bucket in self._service.items():
            bucket.change(_rate(self._table.service, inbound) or float("inf"))
        for (packed, inbound), bucket in self._shared.items():
            rate = _rate(self._address_rule(packed, inbound), inbound)
            bucket.change(rate or float("inf"))

    def rules_for(self, ip: str) -> list[TrafficRule]:
        """The rules that concern a connection from ``ip``: service, connection, address."""
        packed = ip_bytes(ip)
        found = [self._table.service, self._table.each]
        found += [self._address_rule(packed, inbound) for inbound in (True, False)]
        return list(dict.fromkeys(rule for rule in found if rule is not None))

    def service_buckets(self) -> Buckets:
        """The buckets that all connections share."""
        return _buckets(self._service_bucket)

    def connection_buckets(self, ip: str) -> Buckets:
        """Buckets of a new connection: its own and those of its address."""
        return _buckets(self._own_bucket) + self.address_buckets(ip)

    def address_buckets(self, ip: str) -> Buckets:
        """The buckets that all connections of ``ip`` share."""
        packed = ip_bytes(ip)

        def bucket(inbound: bool) -> LocalBucket | None:
            rate = _rate(self._address_rule(packed, inbound), inbound)
            return self._shared.get((packed, inbound), rate) if rate else None

        return _buckets(bucket)

    def _service_bucket(self, inbound: bool) -> LocalBucket | None:
        rate = _rate(self._table.service, inbound)
        if not rate:
            return None
        if inbound not in self._service:
            self._service[inbound] = LocalBucket(rate)
        return self._service[inbound]

    def _own_bucket(self, inbound: bool) -> LocalBucket | None:
        rate = _rate(self._table.each, inbound)
        return LocalBucket(rate) if rate else None

    def _address_rule(self, packed: bytes | None, inbound: bool) -> TrafficRule | None:
        """Per direction: the IP's own rule if it limits, else that of the network."""
        own, network = self._table.addressed(packed)
        return own if _rate(own, inbound) else network


def _rate(rule: TrafficRule | None, inbound: bool) -> int:
    if rule is None:
        return 0
    return rule.inbound if inbound else rule.outbound


def _buckets(make: Callable[[bool], LocalBucket | None]) -> Buckets:
    inbound, outbound = make(True), make(False)
    return Buckets((inbound,) if inbound else (), (outbound,) if outbound else ())
