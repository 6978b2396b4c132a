"""Meters: count the bytes of a conn and say how long to wait for limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gostpy.net.timers import now

__all__ = ["Counter", "Meter"]


class _Bucket(Protocol):
    @property
    def burst(self) -> float: ...
    def take(self, size: int, now: float) -> float: ...


class Counter:
    """Byte counts of a service or client; several conns may share one."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


class Meter:
    """What an endpoint or a pipe asks after every read and write.

    Args:
        reading: buckets that bytes from the peer are taken from.
        writing: buckets that bytes to the peer are taken from.
    """

    __slots__ = ("_counter", "_reading", "_writing")

    def __init__(
        self,
        counter: Counter | None = None,
        reading: Sequence[_Bucket] = (),
        writing: Sequence[_Bucket] = (),
    ) -> None:
        self._counter = counter
        self._reading = tuple(reading)
        self._writing = tuple(writing)

    def received(self, size: int) -> float:
        """Count; seconds to wait before reading on."""
        if self._counter is not None:
            self._counter.received += size
        if not self._reading:
            return 0.0
        moment = now()
        return max(bucket.take(size, moment) for bucket in self._reading)

    def sent(self, size: int) -> float:
        """Count; seconds to wait before writing on."""
        if self._counter is not None:
            self._counter.sent += size
        if not self._writing:
            return 0.0
        moment = now()
        return max(bucket.take(size, moment) for bucket in self._writing)

    def admits(self, size: int, outgoing: bool) -> bool:
        """Whether a datagram may ever pass: gost drops those that are larger than a burst."""
        buckets = self._writing if outgoing else self._reading
        return all(size <= bucket.burst for bucket in buckets)
