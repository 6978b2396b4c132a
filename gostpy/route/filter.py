"""The simple node filter: host, protocol and path; the older form of a matcher rule."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.addresses import split_host_port

__all__ = ["Filter"]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a node serves; empty parts match everything.

    Attributes:
        host: a name, or ``*.x``, ``*x`` or ``.x`` for every host that ends in x (``.b.com`` also
            matches ``ab.com``, as in gost).
        protocol: as sniffed, ``http``, ``tls`` ...; exact.
        path: prefix of the request's path.
    """

    host: str = ""
    protocol: str = ""
    path: str = ""

    def matches(self, host: str, protocol: str = "", path: str = "") -> bool:
        """Whether a request may go to the node; ``host`` may carry a port."""
        return not self.mismatch(host, protocol, path)

    def mismatch(self, host: str, protocol: str = "", path: str = "") -> str:
        """Which part does not match, empty when all do."""
        if self.host and not _host_matches(_normal(self.host), host):
            return f"host is not {self.host}"
        if self.protocol and protocol != self.protocol:
            return f"protocol is not {self.protocol}"
        if self.path and not path.startswith(self.path):
            return f"path does not begin with {self.path}"
        return ""


def _normal(pattern: str) -> str:
    pattern = pattern.lower()
    if pattern.startswith("*"):
        pattern = pattern[1:]
        if not pattern.startswith("."):
            pattern = "." + pattern
    return pattern


def _host_matches(pattern: str, host: str) -> bool:
    name = split_host_port(host)[0].lower()
    if not name:
        return False
    return name == pattern or (pattern.startswith(".") and name.endswith(pattern[1:]))
