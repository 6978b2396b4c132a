"""Connection limits. Who gets which limit was recorded from gost 3.2.6."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.guard.connections import ConnectionLimits, LocalCounter, parse_connections

LINES = ["$ 10", "$$ 3", "10.0.0.0/8 5", "10.1.0.0/16 2", "10.1.1.1 7"]
LINES += ["1.1.1.1 x", "1.1.1.2 -1", "1.1.1.3 1.5", "1.1.1.4 0", "1.1.1.5"]
WHO = [
    ("1.1.1.1", 3),
    ("10.1.1.1", 7),
    ("10.1.1.2", 5),
    ("10.2.2.2", 5),
    ("::ffff:10.1.1.1", 7),
    ("fe80::1", 3),
    ("", 3),
]


@pytest.mark.parametrize(("ip", "most"), WHO)
def test_who_is_limited(ip: str, most: int) -> None:
    rules, remarks = parse_connections(LINES)
    assert len(remarks) == 5
    limits = ConnectionLimits(rules)
    assert [rule.most for rule in limits.rules_for(ip)] == [most, 10]
    taken = [limits.acquire(ip) for _ in range(most)]
    assert all(taken)
    assert limits.acquire(ip) is None


def test_slots_come_back_once() -> None:
    limits = ConnectionLimits(parse_connections(["$$ 1"])[0])
    release = limits.acquire("1.1.1.1")
    assert release is not None
    assert limits.acquire("1.1.1.1") is None
    assert limits.acquire("1.1.1.2") is not None
    release()
    release()
    assert limits.acquire("1.1.1.1") is not None
    assert limits.acquire("1.1.1.1") is None


def test_a_refusal_by_the_service_gives_the_client_slot_back() -> None:
    counter = LocalCounter()
    limits = ConnectionLimits(parse_connections(["$ 1", "$$ 5"])[0], counter=counter)
    release = limits.acquire("1.1.1.1")
    assert release is not None
    assert limits.acquire("1.1.1.2") is None
    release()
    assert len(counter) == 0
    assert limits.acquire("1.1.1.2") is not None


def test_without_rules() -> None:
    release = ConnectionLimits().acquire("1.1.1.1")
    assert release is not None
    release()


def test_counts_survive_other_rules() -> None:
    limits = ConnectionLimits(parse_connections(["1.1.1.1 2"])[0])
    first, second = limits.acquire("1.1.1.1"), limits.acquire("1.1.1.1")
    assert first is not None
    assert second is not None
    limits.replace(parse_connections(["$$ 2"])[0])
    assert limits.acquire("1.1.1.1") is None
    first()
    assert limits.acquire("1.1.1.1") is not None


def test_keys_of_no_kind() -> None:
    rules, remarks = parse_connections(["name 3"])
    assert not rules
    assert "name" in str(remarks[0])


@given(st.lists(st.sampled_from(["1.1.1.1", "2.2.2.2", "release"]), max_size=60))
def test_never_more_than_allowed(steps: list[str]) -> None:
    counter = LocalCounter()
    limits = ConnectionLimits(parse_connections(["$ 5", "$$ 3"])[0], counter=counter)
    open_ones: list[tuple[str, Callable[[], None]]] = []
    for step in steps:
        if step == "release":
            if open_ones:
                open_ones.pop(0)[1]()
        elif (release := limits.acquire(step)) is not None:
            open_ones.append((step, release))
        assert len(open_ones) <= 5
        assert all(sum(ip == one for one, _ in open_ones) <= 3 for ip in ("1.1.1.1", "2.2.2.2"))
    for _, release in open_ones:
        release()
    assert len(counter) == 0


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20))
def test_anything_may_be_written(lines: list[str], ip: str) -> None:
    ConnectionLimits(parse_connections(lines)[0]).acquire(ip)
