"""Chains of hops, and groups of chains of which one is picked per dial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gostpy.errors import DialFailed
from gostpy.interfaces import Request
from gostpy.route.hop import Hop
from gostpy.route.node import Node
from gostpy.route.selector import Marker, Selector

__all__ = ["Chain", "ChainGroup", "Member"]


class _Selects(Protocol):
    def select(self, request: Request) -> Node | None: ...


@dataclass(slots=True, eq=False)
class Chain:
    """Hops in order.

    Attributes:
        hops: callables, so that a hop replaced by name is used at once; None: it does not exist.
        strict: a missing hop ends the route there, as in gost.
        owned: hops without a name of their own, which end with the chain.
    """

    name: str
    hops: Sequence[Callable[[], _Selects | None]]
    weight: int = 1
    backup: bool = False
    max_fails: int = 0
    fail_timeout: float = 0.0
    marker: Marker = field(default_factory=Marker)
    strict: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    owned: Sequence[Hop] = ()

    def retire(self) -> None:
        for hop in self.owned:
            hop.retire()

    def close(self) -> None:
        for hop in self.owned:
            hop.close()

    def choose(self, request: Request) -> tuple[tuple[Node, ...], Marker]:
        """The nodes to pass, and this chain's marker. Raises DialFailed, which counts there."""
        try:
            return self.nodes(request), self.marker
        except DialFailed:
            self.marker.mark()
            raise

    def nodes(self, request: Request) -> tuple[Node, ...]:
        """The nodes to pass. A hop that rules skip ends the route there.

        Raises DialFailed: a hop is missing, or all of its nodes have failed.
        """
        passed: list[Node] = []
        for index, find in enumerate(self.hops):
            hop = find()
            if hop is None:
                if self.strict:
                    break
                raise DialFailed(f"hop {index} of chain {self.name} does not exist")
            node = hop.select(request)
            if node is None:
                break
            passed.append(node)
        return tuple(passed)


@dataclass(frozen=True, slots=True)
class Member:
    """A chain of a group.

    Attributes:
        chain: callable, so that a chain replaced by name is used at once.
        matches: 3.3's condition; None matches every request.
    """

    chain: Callable[[], Chain | None]
    matches: Callable[[Request], bool] | None = None


class ChainGroup:
    """Picks one chain per dial: by condition, then fail filter, backups and strategy."""

    def __init__(self, members: Sequence[Member], selector: Selector) -> None:
        self._members = tuple(members)
        self._selector = selector

    def choose(self, request: Request) -> tuple[tuple[Node, ...], Marker]:
        """The nodes and the marker of the chosen chain. Raises DialFailed: none can be used."""
        return self.pick(request).choose(request)

    def pick(self, request: Request) -> Chain:
        """The chain for a request. Raises DialFailed."""
        chains = [
            chain
            for member in self._members
            if (member.matches is None or member.matches(request))
            and (chain := member.chain()) is not None
        ]
        chosen = self._selector.decide(chains, request.hash_source)
        if chosen.candidate is None:
            raise DialFailed(f"no chain of the group can be used: {chosen.reason}")
        return chosen.candidate
