"""Admission: which clients are let in, by the address they come from.

Patterns are IPs, networks (``10.0.0.0/8``) and host names, which are resolved when the list is
loaded. A blacklist refuses what matches, a whitelist everything else. The port does not count.

Differs   IPs are compared in any spelling, also IPv4-mapped ones and with a zone; of a name all
          addresses count, not only the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gostpy.addresses import NetworkMap, ip_bytes, parse_network, split_host_port
from gostpy.lines import Line, Remark, as_lines

__all__ = ["Admission", "Verdict", "decide_group"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an admission says about one client.

    Attributes:
        admitted: may come in.
        whitelist: the list that decided is a whitelist.
        rule: the pattern that matched, None when none did.
    """

    admitted: bool
    whitelist: bool = False
    rule: Line | None = None

    @property
    def reason(self) -> str:
        kind = "whitelist" if self.whitelist else "blacklist"
        return f"{kind}: {self.rule}" if self.rule else f"{kind}: no pattern matches"

    def __bool__(self) -> bool:
        return self.admitted


class Admission:
    """One list of patterns. Immutable: a reload makes a new one.

    Args:
        patterns: in configuration order.
        whitelist: refuse what does not match.
        resolve: the IPs of a host name; raises OSError. Without it names match nothing.

    ``remarks`` holds what is worth a warning.
    """

    def __init__(
        self,
        patterns: Iterable[str | Line],
        whitelist: bool = False,
        *,
        resolve: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        self.whitelist = whitelist
        self.remarks: list[Remark] = []
        self._ips: dict[bytes, Line] = {}
        self._networks: NetworkMap[Line] = NetworkMap()
        for line in as_lines(patterns):
            packed = ip_bytes(line.text)
            network = parse_network(line.text)
            if packed is not None:
                self._ips[packed] = line
            elif network is not None:
                self._networks.add(*network, line)
            else:
                self._add_name(line, resolve)

    def _add_name(self, line: Line, resolve: Callable[[str], Iterable[str]] | None) -> None:
        try:
            ips = [ip_bytes(ip) for ip in resolve(line.text)] if resolve else []
        except OSError as error:
            self.remarks.append(Remark(line, f"matches nothing: {error}"))
            return
        if not ips:
            self.remarks.append(Remark(line, "matches nothing: the name has no address"))
        for packed in ips:
            if packed is not None:
                self._ips.setdefault(packed, line)

    def decide(self, address: str) -> Verdict:
        """The verdict on ``ip:port`` or an IP; an empty address (unknown client) is admitted."""
        if not address:
            return Verdict(True, self.whitelist)
        packed = ip_bytes(split_host_port(address)[0])
        rule = None
        if packed is not None:
            rule = self._ips.get(packed) or self._networks.widest(packed)
        return Verdict((rule is not None) == self.whitelist, self.whitelist, rule)


def decide_group(admissions: Iterable[Admission], address: str) -> Verdict:
    """The verdict of several lists together: all must admit. The first refusal decides."""
    verdict = Verdict(True)
    for admission in admissions:
        verdict = admission.decide(address)
        if not verdict:
            return verdict
    return verdict
