"""The live objects of one node, by kind and name.

Holders keep names and look objects up when they use them, so that an object which is created,
replaced or deleted later takes effect at once, under running connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gostpy.errors import ConfigError

if TYPE_CHECKING:
    from gostpy.service import Service

__all__ = ["KINDS", "Runtime"]

KINDS = (
    "logger",
    "auther",
    "admission",
    "bypass",
    "resolver",
    "hosts",
    "ingress",
    "router",
    "sd",
    "observer",
    "recorder",
    "limiter",
    "climiter",
    "rlimiter",
    "hop",
    "chain",
)
"""Kinds of named objects, in the order in which they are loaded."""


class Runtime:
    """Everything that one configuration made."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.services: dict[str, Service] = {}

    def add(self, kind: str, name: str, item: Any, where: str = "") -> None:
        """Register an object. Raises ConfigError: the name is taken."""
        table = self._objects[kind]
        if name in table:
            raise ConfigError(f"there are two {kind} objects named {name!r}", where)
        table[name] = item

    def get(self, kind: str, name: str) -> Any:
        """The object, or None while there is none."""
        return self._objects[kind].get(name)

    def holder(self, kind: str, name: str) -> Callable[[], Any]:
        """A callable that looks the object up each time."""
        table = self._objects[kind]
        return lambda: table.get(name)

    def each(self, kind: str) -> Iterator[tuple[str, Any]]:
        yield from self._objects[kind].items()

    def retire(self) -> None:
        """Another runtime takes over: what running conns use ends with them, the rest now."""
        self._each_end("retire")

    def close(self) -> None:
        """End what belongs to the objects: mux sessions of nodes, loaders, files."""
        self._each_end("close")

    def _each_end(self, how: str) -> None:
        for table in self._objects.values():
            for item in table.values():
                end = getattr(item, how, None) or getattr(item, "close", None)
                if end is not None:
                    end()
