"""How fast a KCP side sends: when a segment counts as lost, and the congestion window.

Source    xtaci/kcp-go 5.6.5 kcp.go; RFC 6298 (times), RFC 5681 and 6937 (window)
"""

from __future__ import annotations

__all__ = ["Pace"]

_RTO_FIRST, _RTO_MOST = 200, 60000
_RTO_LEAST, _RTO_LEAST_NODELAY = 100, 30
_SLOW_START = 2


class Pace:
    """Times are milliseconds, windows segments.

    Args:
        unit: bytes of data in a full segment.
        interval: between ticks.
        nodelay: shorter times.

    Attributes:
        rto: time after which a segment that was not acknowledged is lost.
        window: segments that may be on the way, where congestion counts.
    """

    __slots__ = (
        "_grown",
        "_interval",
        "_least",
        "_srtt",
        "_threshold",
        "_unit",
        "_var",
        "rto",
        "window",
    )

    def __init__(self, unit: int, interval: int, nodelay: bool) -> None:
        self._unit = unit
        self._interval = interval
        self._least = _RTO_LEAST_NODELAY if nodelay else _RTO_LEAST
        self._srtt = self._var = 0
        self._threshold = _SLOW_START
        self._grown = unit  # the window in bytes
        self.window = 1
        self.rto = _RTO_FIRST

    def measure(self, trip: int) -> None:
        """A round-trip time was seen; one that is unusually short weighs less."""
        if not self._srtt:
            self._srtt, self._var = trip, trip >> 1
        else:
            delta = trip - self._srtt
            self._srtt += delta >> 3
            weight = 5 if trip < self._srtt - self._var else 2
            self._var += (abs(delta) - self._var) >> weight
        rto = self._srtt + max(self._interval, self._var << 2)
        self.rto = min(max(self._least, rto), _RTO_MOST)

    def grow(self, most: int) -> None:
        """Something was acknowledged: widen the window, up to that of the peer."""
        window = self.window
        if window >= most:
            return
        unit = self._unit
        if window < self._threshold:
            window += 1
            self._grown += unit
        else:
            grown = max(self._grown, unit)
            self._grown = grown = grown + unit * unit // grown + unit // 16
            if (window + 1) * unit <= grown:
                window = (grown + unit - 1) // unit
        if window > most:
            window, self._grown = most, most * unit
        self.window = window

    def ease(self, on_the_way: int, more: int) -> None:
        """A segment was overtaken so often that it was sent again."""
        self._threshold = max(on_the_way // 2, _SLOW_START)
        self.window = self._threshold + more
        self._grown = self.window * self._unit

    def collapse(self) -> None:
        """A segment was lost."""
        self._threshold = max(self.window // 2, _SLOW_START)
        self.window = 1
        self._grown = self._unit
