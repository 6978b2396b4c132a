"""Routes of layer 3: which gateway a network lies behind. Pure decisions, for tun and router.

The first route that fits counts, in the order in which they were written, as in gost.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from gostpy.addresses import ip_bytes, ip_text

__all__ = ["Network", "RouteEntry", "RoutingTable", "network_of"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MOST_ANSWERS = 4096


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One route.

    Attributes:
        network: None for a route to something that is no network (a name).
        destination: as it was written.
        gateway: an IP address; empty: the interface itself.
    """

    network: Network | None
    destination: str
    gateway: str = ""


def network_of(text: str) -> Network | None:
    """The network of ``IP/BITS``, host bits cleared; None for anything else."""
    if "/" not in text or not text.rpartition("/")[2].isdigit():
        return None
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


class RoutingTable:
    """Routes in order; answers are kept until there are too many of them."""

    def __init__(self, routes: Iterable[RouteEntry] = ()) -> None:
        self.routes = tuple(routes)
        self._answers: dict[bytes, bytes] = {}
        self._known = [
            (
                (route.network.version, int(route.network.network_address))
                if route.network is not None
                else (0, 0),
                route.network.max_prefixlen - route.network.prefixlen if route.network else 0,
                route,
            )
            for route in self.routes
        ]

    def find(self, packed: bytes) -> RouteEntry | None:
        """The route for an address."""
        version = 4 if len(packed) == 4 else 6
        number = int.from_bytes(packed, "big")
        for (kind, start), shift, route in self._known:
            if kind == version and number >> shift == start >> shift:
                return route
            if not kind and route.destination == ip_text(packed):
                return route
        return None

    def gateway(self, packed: bytes) -> bytes:
        """The packed gateway for an address; empty when there is none."""
        found = self._answers.get(packed)
        if found is None:
            route = self.find(packed)
            found = (ip_bytes(route.gateway) if route is not None else None) or b""
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            self._answers[packed] = found
        return found
