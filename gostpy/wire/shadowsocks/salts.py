"""Salts already used: against replayed and reflected streams.

A stream that repeats the salt of another one is a copy of it: of a client's request (replay) or of
our own answer (reflection). Salts are remembered once their stream has proved to know the key, so
nobody else can fill the memory.

Differs   gost keeps the salts that its process *sent*, in one set for clients and servers, so that
          both in one process refuse each other, and forgets those that it received (2022: keeps
          them for 60 s). Here each side of each service has its own set and keeps both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["CAPACITY", "SaltFilter"]

CAPACITY = 65536


class SaltFilter:
    """The last salts, at least ``capacity`` and at most twice as many.

    Args:
        capacity: 0 remembers nothing.
        period: seconds that a salt is remembered at least, whatever the capacity; 0 = no such rule.
    """

    __slots__ = ("_before", "_capacity", "_clock", "_current", "_period", "_since")

    def __init__(
        self,
        capacity: int = CAPACITY,
        period: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._period = period
        self._clock = clock
        self._current: set[bytes] = set()
        self._before: set[bytes] = set()
        self._since = clock() if period else 0.0

    def __contains__(self, salt: bytes) -> bool:
        return salt in self._current or salt in self._before

    def add(self, salt: bytes) -> None:
        """Remember a salt."""
        if self._capacity <= 0:
            return
        if self._full():
            self._before, self._current = self._current, set()
        self._current.add(salt)

    def repeated(self, salt: bytes) -> bool:
        """Whether the salt was there already; now it is."""
        if salt in self:
            return True
        self.add(salt)
        return False

    def _full(self) -> bool:
        if not self._period:
            return len(self._current) >= self._capacity
        age = self._clock() - self._since
        if age < self._period:
            return False
        if age >= 2 * self._period:
            self._current = set()  # older than the period: nothing of it is needed
        self._since += age
        return True
