"""HTTP/2: streams that are closed, as far as it matters what still comes for them.

Source    RFC 9113 section 5.1
"""

from __future__ import annotations

__all__ = ["ClosedStreams"]

_KEPT = 512


class ClosedStreams:
    """The last streams that were closed, and by whom."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    def add(self, stream_id: int, by_us: bool) -> None:
        known = self._known
        if len(known) >= _KEPT:
            del known[next(iter(known))]
        known[stream_id] = by_us

    def by_us(self, stream_id: int) -> bool:
        """We have reset it: what was on its way then is no error."""
        return self._known.get(stream_id, False)

    def ended(self, stream_id: int) -> bool:
        """It has been open."""
        return stream_id in self._known
