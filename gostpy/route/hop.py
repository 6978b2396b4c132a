"""Hops: which node serves a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gostpy.errors import DialFailed
from gostpy.interfaces import Request
from gostpy.route.node import Node
from gostpy.route.selector import Selection, Selector, prefer

__all__ = ["Hop"]


class Hop:
    """A set of nodes with rules.

    Args:
        nodes: in configuration order.
        selector: None takes the first node of the highest priority.
        bypassed: the hop's own bypass; True means that the hop is skipped for this request.
        strict: as gost, when all nodes have failed there is no node (and so a direct dial).
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[Node],
        selector: Selector | None = None,
        bypassed: Callable[[Request], bool] | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.name = name
        self.nodes = tuple(nodes)
        self._selector = selector
        self._bypassed = bypassed
        self._strict = strict
        self._plain = (
            len(self.nodes) == 1
            and bypassed is None
            and self.nodes[0].matches is None
            and self.nodes[0].bypassed is None
        )

    def select(self, request: Request) -> Node | None:
        """The node to use; None when rules leave none for this request.

        Raises DialFailed: there are nodes for it, but all have failed; or there are none at all.
        """
        if self._plain:
            return self.nodes[0]
        if self._bypassed is not None and self._bypassed(request):
            return None
        chosen = self.decide(request)
        if chosen.candidate is None and not self._strict:
            if chosen.failed:
                message = f"all {len(chosen.failed)} nodes of {self.name} have failed"
                raise DialFailed(message, address=request.address)
            if not self.nodes:
                raise DialFailed(f"hop {self.name} has no nodes", address=request.address)
        return chosen.candidate

    def decide(self, request: Request) -> Selection[Node]:
        """The choice with its reason; takes a turn of ``round``."""
        fitting = [node for node in self.nodes if self._fits(node, request)]
        return prefer(fitting, self._selector, request.hash_source)

    def _fits(self, node: Node, request: Request) -> bool:
        if node.bypassed is not None and node.bypassed(request):
            return False
        return node.matches is None or node.matches(request)

    def retire(self) -> None:
        for node in self.nodes:
            node.retire()

    def close(self) -> None:
        for node in self.nodes:
            node.close()
