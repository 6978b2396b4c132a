"""Token buckets that never block, and buckets shared by the connections of one client.

A bucket does not count tokens: it keeps the time at which its debt will be paid. Taking moves that
time on; how far it lies ahead of now is the delay. A full bucket is one whose time lies at least
the burst in the past, and so a full bucket holds nothing worth remembering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Bucket", "LocalBucket", "SharedBuckets"]


class Bucket(Protocol):
    """A rate with a burst. Times are seconds on one clock."""

    @property
    def burst(self) -> float:
        """Units that may be taken at once."""
        ...

    def take(self, size: float, now: float) -> float:
        """Spend ``size`` units; returns the seconds until the debt is paid, 0.0 without one."""
        ...

    def allow(self, size: float, now: float) -> bool:
        """Spend ``size`` units if they are there; False, with nothing spent, otherwise."""
        ...


class LocalBucket:
    """A bucket of this process.

    Args:
        rate: units per second; infinite for no limit.
        burst: units that a full bucket holds; one second's worth by default.
    """

    __slots__ = ("__weakref__", "_last", "_paid", "burst", "rate")

    def __init__(self, rate: float, burst: float = 0.0) -> None:
        self._paid = -math.inf
        self._last = -math.inf
        self.change(rate, burst)

    def __repr__(self) -> str:
        return f"LocalBucket({self.rate:g}, {self.burst:g})"

    def change(self, rate: float, burst: float = 0.0) -> None:
        """Another rate from now on; an open debt keeps its end."""
        self.rate = rate
        self.burst = burst or rate

    def take(self, size: float, now: float) -> float:
        if self.rate == math.inf:
            return 0.0
        self._paid = self._after(size, now)
        return max(self._paid - now, 0.0)

    def allow(self, size: float, now: float) -> bool:
        if self.rate == math.inf:
            return True
        paid = self._after(size, now)
        if paid > now + 1e-9:
            return False
        self._paid = paid
        return True

    def _after(self, size: float, now: float) -> float:
        """When the debt would be paid with ``size`` more. A clock set back takes it along."""
        if now < self._last:
            self._paid -= self._last - now
        self._last = now
        return max(self._paid, now - self.burst / self.rate) + size / self.rate

    def full(self, now: float) -> bool:
        """Nothing would change if this bucket were replaced by a new one."""
        return self.rate == math.inf or self._paid <= now - self.burst / self.rate


K = TypeVar("K", bound=Hashable)


class SharedBuckets(Generic[K]):
    """Buckets by key. One that is full and in nobody's hands is forgotten.

    Memory is bound by the number of keys in use within the time a bucket takes to fill, plus those
    of one sweep interval.
    """

    _FEWEST = 256

    def __init__(self, clock: Callable[[], float], interval: float = 10.0) -> None:
        self._clock = clock
        self._interval = interval
        self._swept = clock()
        self._most = self._FEWEST
        self._held: WeakValueDictionary[K, LocalBucket] = WeakValueDictionary()
        self._recent: dict[K, LocalBucket] = {}

    def __len__(self) -> int:
        return len(self._recent)

    def get(self, key: K, rate: float, burst: float = 0.0) -> LocalBucket:
        """The bucket of a key, with this rate from now on."""
        bucket = self._recent.get(key) or self._held.get(key)
        if bucket is None:
            self._sweep()
            bucket = self._held[key] = LocalBucket(rate, burst)
        elif bucket.rate != rate or bucket.burst != (burst or rate):
            bucket.change(rate, burst)
        self._recent[key] = bucket
        return bucket

    def items(self) -> list[tuple[K, LocalBucket]]:
        """Keys and buckets that are alive, in somebody's hands or not yet full."""
        return list({**self._held, **self._recent}.items())

    def _sweep(self) -> None:
        now = self._clock()
        if now - self._swept < self._interval and len(self._recent) < self._most:
            return
        self._swept = now
        self._recent = {k: b for k, b in self._recent.items() if not b.full(now)}
        self._most = max(2 * len(self._recent), self._FEWEST)
