"""Deadlines: order, cancelling, late entries, errors of callbacks."""

import gevent
import pytest

from gostpy.net import timers
from gostpy.net.timers import after, timeout


def elapsed(start: float) -> float:
    gevent.get_hub().loop.update_now()
    return timers.now() - start


def test_order_and_cancel() -> None:
    seen: list[int] = []
    entries = [after(0.021, lambda n=n: seen.append(n)) for n in range(4)]
    entries[1].cancel()
    gevent.sleep(0.05)
    assert seen == [0, 2, 3]


def test_entry_made_while_others_fire_delays_nobody() -> None:
    """An entry that a callback makes must not push back those that are due before it."""
    fired: list[float] = []
    gevent.get_hub().loop.update_now()
    start = timers.now()
    after(0.103, lambda: after(0.103, lambda: None))
    gevent.sleep(0.05)
    gevent.get_hub().loop.update_now()
    after(0.103, lambda: fired.append(elapsed(start)))
    gevent.sleep(0.2)
    assert fired
    assert fired[0] < 0.19


def test_error_in_a_callback_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "handle_error", lambda *error: seen.append(error[1]))
    after(0.022, lambda: 1 // 0)
    after(0.022, lambda: seen.append("second"))
    gevent.sleep(0.05)
    assert seen == [ZeroDivisionError, "second"]


def test_timeout_raises_in_its_greenlet() -> None:
    with pytest.raises(TimeoutError, match="too slow"), timeout(0.01, "too slow"):
        gevent.sleep(5)


def test_timeout_that_is_left_in_time() -> None:
    with timeout(0.02):
        pass
    gevent.sleep(0.04)


def test_no_limit() -> None:
    with timeout(0):
        gevent.sleep(0.001)


def test_nested() -> None:
    with pytest.raises(TimeoutError, match="inner"), timeout(1, "outer"), timeout(0.01, "inner"):
        gevent.sleep(5)
    with pytest.raises(TimeoutError, match="outer"), timeout(0.01, "outer"), timeout(1, "inner"):
        gevent.sleep(5)


def test_cancelled_entries_take_no_room() -> None:
    for _ in range(1000):
        after(7.5, lambda: None).cancel()
    after(7.5, lambda: None).cancel()
    assert len(timers._queues[id(gevent.get_hub().loop), 7.5]._entries) < 3


def test_many_lengths_are_forgotten() -> None:
    for number in range(2 * timers._MOST_QUEUES):
        after(0.001 + number / 1e6, lambda: None)
    gevent.sleep(0.03)
    after(0.5001, lambda: None)
    assert len(timers._queues) <= 2 * timers._MOST_QUEUES + 50
