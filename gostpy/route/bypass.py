"""Bypass: which targets go around a chain, or are refused by a service.

A list of patterns, each of one kind, found out in this order:

1. ``10.0.0.0/8``: a network; only for targets given as IP, any port.
2. with ``*`` or ``?``: a glob on the host, optionally ``:port`` or ``:min-max``.
3. ``1.2.3.4`` or ``1.2.3.4-1.2.3.9``: an IP or a range of them, any port.
4. anything else: a host, optionally with a port or ports; ``.x`` is x and all below it.

A whitelist turns the answer around: what does not match is bypassed.

Differs   Names are compared without regard to case or a dot at the end, IPs in any spelling (also
          IPv4-mapped ones), and several ports of one host all count. gost compares the text and
          keeps the last ports only; ``strict`` does as well.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gostpy.addresses import (
    NetworkMap,
    fold_host,
    ip_bytes,
    ip_text,
    parse_network,
    split_host_port,
)
from gostpy.errors import ConfigError
from gostpy.lines import Line, Remark, as_lines
from gostpy.route.glob import compile_glob

__all__ = ["Bypass", "Verdict", "decide_group"]

_NUMBER = re.compile(r"[0-9]{1,9}")
_STAR_SUFFIX = re.compile(r"\*(\.[^*?\[\]{}\\]+)")
_HOST_WITH_PORT = re.compile(r"\[[^\[\]]*\]:[^:\[\]]*|[^:\[\]]*:[^:\[\]]*")

Ports = tuple[int, int] | None  # None: every port


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bypass says about one target.

    Attributes:
        bypassed: go around, or refuse.
        whitelist: the list that decided is a whitelist.
        rule: the pattern that matched, None when none did.
        applies: False when the list is for another network.
    """

    bypassed: bool
    whitelist: bool = False
    rule: Line | None = None
    applies: bool = True

    @property
    def matched(self) -> bool:
        return self.rule is not None

    @property
    def reason(self) -> str:
        if not self.applies:
            return "the list is for another network"
        kind = "whitelist" if self.whitelist else "blacklist"
        return f"{kind}: {self.rule}" if self.rule else f"{kind}: no pattern matches"

    def __bool__(self) -> bool:
        return self.bypassed


class Bypass:
    """One list of patterns. Immutable: a reload makes a new one.

    Args:
        patterns: in configuration order.
        whitelist: bypass what does not match.
        network: only for this network, ``tcp`` or ``udp`` (since gost 3.3); empty is every one.
        strict: compare as gost 3.2.6 does.

    ``remarks`` holds what is worth a warning; no pattern is an error, as in gost.
    """

    def __init__(
        self,
        patterns: Iterable[str | Line],
        whitelist: bool = False,
        *,
        network: str = "",
        strict: bool = False,
    ) -> None:
        self.whitelist = whitelist
        self.network = network
        self.remarks: list[Remark] = []
        self._strict = strict
        self._networks: NetworkMap[Line] = NetworkMap()
        self._addresses: dict[bytes, Line] = {}
        self._ranges: list[tuple[bytes, bytes, Line]] = []
        self._hosts: dict[str, list[tuple[Ports, Line]]] = {}
        self._suffixes: dict[str, list[tuple[Ports, Line]]] = {}
        self._globs: list[tuple[re.Pattern[str], Ports, Line]] = []
        for line in as_lines(patterns):
            self._add(line)
        self._index_ranges()

    def decide(self, network: str, address: str) -> Verdict:
        """The verdict on ``host:port`` or a host; an empty address is never bypassed.

        Args:
            network: ``tcp``, ``udp`` or a form of them such as ``tcp4``.
        """
        if self.network and not network.startswith(self.network):
            return Verdict(False, self.whitelist, applies=False)
        if not address:
            return Verdict(False, self.whitelist)
        rule = self._find(address)
        return Verdict((rule is None) == self.whitelist, self.whitelist, rule)

    def _add(self, line: Line) -> None:
        text = line.text
        network = parse_network(text)
        if network is not None:
            self._networks.add(*network, line)
        elif ("*" in text or "?" in text) and self._add_glob(line):
            pass
        elif not self._add_range(line):
            self._add_host(line)

    def _add_glob(self, line: Line) -> bool:
        host, ports = self._split(line)
        folded = host if self._strict else fold_host(host)
        suffix = _STAR_SUFFIX.fullmatch(folded)
        if suffix:
            self._suffixes.setdefault(suffix[1], []).append((ports, line))
            return True
        try:
            self._globs.append((compile_glob(folded), ports, line))
        except ConfigError as error:
            self.remarks.append(Remark(line, f"never matches: {error.message}"))
            return False
        return True

    def _add_range(self, line: Line) -> bool:
        ends = [ip_bytes(part.strip()) for part in line.text.split("-")]
        if len(ends) > 2 or None in ends:
            return False
        first, last = ends[0], ends[-1]
        assert first is not None and last is not None
        if len(ends) == 1:
            self._addresses[first] = line
        elif len(first) != len(last) or first > last:
            self.remarks.append(Remark(line, "never matches: the range is empty"))
        else:
            self._ranges.append((first, last, line))
        return True

    def _add_host(self, line: Line) -> None:
        host, ports = self._split(line)
        if "/" in host:
            self.remarks.append(Remark(line, "never matches: not a network and not a host name"))
        packed = ip_bytes(host)
        key = host if self._strict else ip_text(packed) if packed else fold_host(host)
        entry = (ports, line)
        if self._strict:
            self._hosts[key] = [entry]
        else:
            self._hosts.setdefault(key, []).append(entry)

    def _split(self, line: Line) -> tuple[str, Ports]:
        """Host and ports of a pattern; ports that are no numbers mean every port, as in gost."""
        if not _HOST_WITH_PORT.fullmatch(line.text):
            return line.text, None
        host, _, ports = line.text.rpartition(":")
        if not host.strip("[]"):
            return line.text, None
        host = host[1:-1] if host.startswith("[") else host
        numbers = ports.split("-")
        if len(numbers) > 2 or not all(map(_NUMBER.fullmatch, numbers)):
            if ports not in ("", "*"):
                self.remarks.append(Remark(line, "its ports are not numbers: every port matches"))
            return host, None
        low, high = int(numbers[0]), int(numbers[-1])
        if low > high:
            self.remarks.append(Remark(line, "never matches: the range of ports is empty"))
        return host, (low, high)

    def _index_ranges(self) -> None:
        """Sort by start; beside each start, the range reaching furthest among those before it."""
        self._ranges.sort(key=lambda r: (len(r[0]), r[0]))
        self._starts = [(len(first), first) for first, _, _ in self._ranges]
        self._reach: list[tuple[bytes, Line]] = []
        for first, last, line in self._ranges:
            if self._reach and len(self._reach[-1][0]) == len(first):
                self._reach.append(max(self._reach[-1], (last, line), key=lambda r: r[0]))
            else:
                self._reach.append((last, line))

    def _find(self, address: str) -> Line | None:
        host, number = split_host_port(address)
        port = number or 0
        packed = ip_bytes(host, legacy=not self._strict)
        if packed is None:
            name = host if self._strict else fold_host(host)
            return self._find_name(name, port) or self._find_glob(name, port)
        text = host if self._strict else ip_text(packed)
        return (
            self._find_ip(packed)
            or self._find_name(text, port)
            or self._networks.widest(packed)
            or self._find_glob(text, port)
        )

    def _find_ip(self, packed: bytes) -> Line | None:
        line = self._addresses.get(packed)
        if line is None and self._starts:
            at = bisect.bisect_right(self._starts, (len(packed), packed)) - 1
            if at >= 0:
                last, found = self._reach[at]
                if len(last) == len(packed) and packed <= last:
                    line = found
        return line

    def _find_name(self, name: str, port: int) -> Line | None:
        if not self._hosts:
            return None
        line = _of_port(self._hosts.get(name), port) or _of_port(self._hosts.get("." + name), port)
        dot = name.find(".", 1)
        while line is None and dot > 0:
            line = _of_port(self._hosts.get(name[dot:]), port)
            dot = name.find(".", dot + 1)
        return line

    def _find_glob(self, name: str, port: int) -> Line | None:
        if self._suffixes:
            dot = name.find(".")
            while dot >= 0:
                line = _of_port(self._suffixes.get(name[dot:]), port)
                if line is not None:
                    return line
                dot = name.find(".", dot + 1)
        for pattern, ports, line in self._globs:
            if (ports is None or ports[0] <= port <= ports[1]) and pattern.fullmatch(name):
                return line
        return None


def _of_port(entries: list[tuple[Ports, Line]] | None, port: int) -> Line | None:
    for ports, line in entries or ():
        if ports is None or ports[0] <= port <= ports[1]:
            return line
    return None


def decide_group(bypasses: Iterable[Bypass], network: str, address: str) -> Verdict:
    """The verdict of several lists together.

    Whitelists first: bypassed when every one says so. Otherwise one blacklist is enough.
    """
    whites: list[Verdict] = []
    blacks: list[Verdict] = []
    for bypass in bypasses:
        verdict = bypass.decide(network, address)
        if verdict.applies:
            (whites if verdict.whitelist else blacks).append(verdict)
    if whites and all(whites):
        return whites[0]
    passed = [verdict for verdict in whites if not verdict]
    return next(filter(None, blacks), (passed or blacks or [Verdict(False)])[0])
