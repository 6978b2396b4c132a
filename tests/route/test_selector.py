"""Selection: fail marks, backups, strategies, priorities."""

import random
import zlib
from dataclasses import dataclass, field

import pytest

from gostpy.route.selector import Marker, Selector, prefer, strategy_name


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Node:
    name: str
    marker: Marker = field(default_factory=Marker)
    weight: int = 0
    backup: bool = False
    max_fails: int = 0
    fail_timeout: float = 0.0
    priority: int = 0


def nodes(names: str, clock: Clock | None = None, **traits: object) -> list[Node]:
    return [Node(name, Marker(clock or Clock()), **traits) for name in names]  # type: ignore[arg-type]


NAMES = [
    ("", "round"),
    ("rr", "round"),
    ("parallel", "round"),
    ("rand", "random"),
    ("ha", "fifo"),
    ("fifo", "fifo"),
    ("hash", "hash"),
    ("Round", None),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_strategy_names(name: str, expected: str | None) -> None:
    assert strategy_name(name) == expected


def test_round_takes_turns() -> None:
    selector, abc = Selector("round"), nodes("abc")
    chosen = [selector.select(abc) for _ in range(7)]
    assert "".join(node.name for node in chosen if node) == "abcabca"


def test_fifo_stays() -> None:
    selector, abc = Selector("fifo"), nodes("abc")
    assert [selector.select(abc) for _ in range(3)] == [abc[0]] * 3
    abc[0].marker.mark()
    assert selector.select(abc) is abc[1]
    abc[0].marker.reset()
    assert selector.select(abc) is abc[0]


def test_random_follows_weights() -> None:
    selector = Selector("random", rng=random.Random(1))
    a, b, c = nodes("abc")
    a.weight, b.weight, c.weight = 8, -1, 1
    counts = {node.name: 0 for node in (a, b, c)}
    for _ in range(10_000):
        node = selector.select([a, b, c])
        assert node is not None
        counts[node.name] += 1
    assert 7800 < counts["a"] < 8200
    assert 800 < counts["b"] < 1200
    assert 800 < counts["c"] < 1200


def test_hash_is_crc32() -> None:
    selector, abc = Selector("hash"), nodes("abc")
    for source in ("127.0.0.1", "example.org:443", "::1"):
        expected = abc[zlib.crc32(source.encode()) % 3]
        assert selector.select(abc, source) is expected
    assert selector.select(abc, "") in abc


def test_failed_nodes_are_left_out_for_a_time() -> None:
    clock = Clock()
    selector, (a, b) = Selector("fifo"), nodes("ab", clock)
    a.marker.mark()
    selection = selector.decide([a, b])
    assert selection.candidate is b
    assert selection.failed == (a,)
    clock.now += 9.9
    assert selector.select([a, b]) is b
    clock.now += 0.1
    assert selector.select([a, b]) is a


def test_limits_of_the_selector_and_of_the_node() -> None:
    clock = Clock()
    selector, (a, b) = Selector("fifo", 2, 30.0), nodes("ab", clock)
    a.marker.mark()
    assert selector.select([a, b]) is a
    a.marker.mark()
    clock.now += 29
    assert selector.select([a, b]) is b
    a.max_fails = 3
    assert selector.select([a, b]) is a
    a.max_fails, a.fail_timeout = 0, 29.0
    assert selector.select([a, b]) is a


def test_all_failed_is_no_answer() -> None:
    selector, ab = Selector(), nodes("ab")
    for node in ab:
        node.marker.mark()
    selection = selector.decide(ab)
    assert selection.candidate is None
    assert selection.reason == "all 2 have failed"
    assert selection.failed == tuple(ab)


def test_a_single_failed_node_is_used() -> None:
    selector, (a,) = Selector(), nodes("a")
    a.marker.mark()
    assert selector.select([a]) is a
    assert selector.select([]) is None


def test_backups_wait_for_the_others() -> None:
    selector, (a, b, c) = Selector("fifo"), nodes("abc")
    a.backup = b.backup = True
    assert selector.select([a, b, c]) is c
    c.marker.mark()
    selection = selector.decide([a, b, c])
    assert selection.candidate is a
    assert selection.reason == "fifo, of the backups"


def test_priority_wins_even_when_failed() -> None:
    a, b, c = nodes("abc")
    b.priority, c.priority = 10, 20
    c.marker.mark()
    selection = prefer([a, b, c], Selector())
    assert selection.candidate is c
    assert selection.reason == "priority 20"


def test_without_priority_the_selector_decides() -> None:
    a, b, c = nodes("abc")
    a.priority = -1
    assert prefer([a, b, c], Selector("fifo")).candidate is b
    assert prefer([a, b, c], None).candidate is b
    assert prefer([a], Selector()).candidate is a
    assert prefer([], Selector()).candidate is None


def test_ties_keep_their_order() -> None:
    abc = nodes("abc", priority=5)
    assert prefer(abc, Selector()).candidate is abc[0]
