"""Deadlines that cost next to nothing when they do not fire.

Nearly all deadlines of a proxy have one of a few lengths and are cancelled. Entries of one length
fall due in the order in which they were made, so each length has a queue and one timer for its
head; making and cancelling an entry touches no timer.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from gevent import get_hub, getcurrent

__all__ = ["Entry", "after", "now", "timeout"]


class Entry:
    """One scheduled callback; ``cancel()`` forgets it."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callable[[], Any]) -> None:
        self.due = due
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Queue:
    """All entries of one length, soonest first."""

    __slots__ = ("_entries", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: deque[Entry] = deque()
        self._loop = get_hub().loop
        self._timer: Any = None

    def add(self, callback: Callable[[], Any]) -> Entry:
        entries = self._entries
        while (
            entries and entries[0].callback is None
        ):  # most are cancelled long before they are due
            entries.popleft()
        entry = Entry(self._loop.now() + self._seconds, callback)
        entries.append(entry)
        if self._timer is None:
            self._arm(self._seconds)
        return entry

    def _arm(self, seconds: float) -> None:
        # unreferenced: a pending deadline alone must not keep the loop running
        self._timer = self._loop.timer(max(seconds, 0.001), ref=False)
        self._timer.start(self._fire)

    def _fire(self) -> None:
        entries = self._entries
        current = self._loop.now()
        # the timer stays set meanwhile, so that entries made by callbacks do not arm another one
        while entries and (entries[0].callback is None or entries[0].due <= current + 0.001):
            callback = entries.popleft().callback
            if callback is None:
                continue
            try:
                callback()
            except Exception:  # a bug in one callback must not lose the others' deadlines
                get_hub().handle_error(callback, *sys.exc_info())
        self._timer.close()
        self._timer = None
        if entries:
            self._arm(entries[0].due - self._loop.now())


_queues: dict[tuple[int, float], _Queue] = {}
_MOST_QUEUES = 256


def now() -> float:
    """The loop's clock, in seconds; only differences mean something."""
    return float(get_hub().loop.now())


def after(seconds: float, callback: Callable[[], Any]) -> Entry:
    """Call ``callback`` on the hub after ``seconds``; it must not block."""
    loop = get_hub().loop
    key = (id(loop), seconds)
    queue = _queues.get(key)
    if queue is None:
        if len(_queues) >= _MOST_QUEUES:  # lengths computed from data: do not keep them all
            for stale in [k for k, q in _queues.items() if not q._entries]:
                del _queues[stale]
        loop.update_now()
        queue = _queues[key] = _Queue(seconds)
    return queue.add(callback)


class timeout:
    """Raise TimeoutError in the running greenlet after ``seconds``; 0 or less means never."""

    __slots__ = ("_entry", "_seconds", "_what")

    def __init__(self, seconds: float, what: str = "timed out") -> None:
        self._seconds = seconds
        self._what = what
        self._entry: Entry | None = None

    def __enter__(self) -> timeout:
        if self._seconds > 0:
            greenlet = getcurrent()
            error = TimeoutError(self._what)
            self._entry = after(self._seconds, lambda: greenlet.dead or greenlet.throw(error))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._entry is not None:
            self._entry.cancel()
