"""Buckets on a fake clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.guard.bucket import LocalBucket, SharedBuckets


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_second_at_once_then_debt() -> None:
    bucket = LocalBucket(100)
    assert bucket.burst == 100
    assert bucket.take(100, 0.0) == 0.0
    assert bucket.take(50, 0.0) == 0.5
    assert bucket.take(0, 0.25) == 0.25
    assert bucket.take(0, 0.5) == 0.0
    assert bucket.take(50, 1.0) == 0.0
    assert bucket.take(1, 1.0) == pytest.approx(0.01)


def test_300_kilobytes_at_100_take_2_seconds() -> None:
    bucket, now = LocalBucket(100_000), 0.0
    for _ in range(30):
        now += bucket.take(10_000, now)
    assert now == pytest.approx(2.0)


def test_allow_spends_nothing_when_refusing() -> None:
    bucket = LocalBucket(1, 2)
    assert [bucket.allow(1, 0.0) for _ in range(4)] == [True, True, False, False]
    assert not bucket.allow(1, 0.9)
    assert bucket.allow(1, 1.0)
    assert not bucket.allow(1, 1.0)


def test_without_limit() -> None:
    bucket = LocalBucket(math.inf)
    assert bucket.take(10**12, 0.0) == 0.0
    assert bucket.allow(10**12, 0.0)
    assert bucket.full(0.0)


def test_another_rate() -> None:
    bucket = LocalBucket(100)
    assert bucket.take(300, 0.0) == 2.0
    bucket.change(1000)
    assert bucket.take(500, 1.0) == 1.5


def test_clock_set_back() -> None:
    bucket = LocalBucket(100)
    assert bucket.take(200, 10_000.0) == 1.0
    assert bucket.take(0, 10.0) == pytest.approx(1.0)
    assert bucket.take(0, 11.0) == pytest.approx(0.0)


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 5)), max_size=50))
def test_never_more_than_burst_and_rate(steps: list[tuple[int, float]]) -> None:
    bucket, now, spent = LocalBucket(100), 0.0, 0
    for size, pause in steps:
        now += pause
        now += bucket.take(size, now)
        spent += size
    assert spent <= 100 + 100 * now + 1e-6 or not steps


def test_shared_by_key() -> None:
    clock = Clock()
    shared: SharedBuckets[str] = SharedBuckets(clock)
    bucket = shared.get("a", 10)
    assert shared.get("a", 10) is bucket
    assert shared.get("b", 10) is not bucket
    assert shared.get("a", 20).rate == 20


def test_full_buckets_are_forgotten_unless_held() -> None:
    clock = Clock()
    shared: SharedBuckets[int] = SharedBuckets(clock)
    held = shared.get(-1, 10)
    indebted = shared.get(-2, 10)
    indebted.take(1000, clock.now)
    del indebted
    for key in range(1000):
        shared.get(key, 10).take(10, clock.now)
    clock.now += 11
    shared.get(5000, 10)
    assert len(shared) == 2
    assert shared.get(-1, 10) is held
    assert shared.get(-2, 10).take(0, clock.now) == pytest.approx(88.0)


def test_memory_is_bounded_between_sweeps() -> None:
    clock = Clock()
    shared: SharedBuckets[int] = SharedBuckets(clock)
    most = 0
    for key in range(100_000):
        clock.now += 0.001
        shared.get(key, 10).take(1, clock.now)
        most = max(most, len(shared))
    assert most < 1000
