"""Which node of a hop, or which chain of a group, serves a request.

A selector leaves out what has failed lately, keeps backups back, and lets a strategy pick:

round, rr     in turn (also for names that gost does not know, and for 3.3's ``parallel``)
random, rand  by chance, in proportion to ``weight``
fifo, ha      the first that works
hash          by CRC-32 of the client's IP or the target; by chance without such a source

A single candidate is taken as it is, however often it has failed. When all of several candidates
have failed there is no answer: the caller refuses (gost dials direct).
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = [
    "FAIL_TIMEOUT",
    "MAX_FAILS",
    "Candidate",
    "Marker",
    "Selection",
    "Selector",
    "prefer",
    "strategy_name",
]

MAX_FAILS = 1
FAIL_TIMEOUT = 10.0

_STRATEGIES = {
    "": "round",
    "round": "round",
    "rr": "round",
    "parallel": "round",
    "random": "random",
    "rand": "random",
    "fifo": "fifo",
    "ha": "fifo",
    "hash": "hash",
}


class Marker:
    """Counts the failures of one node since its last success."""

    __slots__ = ("_clock", "fails", "last_failure")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.fails = 0
        self.last_failure = 0.0  # on the clock; meaningless while fails is 0

    def mark(self) -> None:
        self.fails += 1
        self.last_failure = self._clock()

    def reset(self) -> None:
        self.fails = 0

    def failed(self, max_fails: int, fail_timeout: float) -> bool:
        """At least ``max_fails`` failures, the last less than ``fail_timeout`` seconds ago."""
        return self.fails >= max_fails and self._clock() - self.last_failure < fail_timeout


class Candidate(Protocol):
    """What a selector looks at. Zero in ``max_fails`` and ``fail_timeout``: as the selector."""

    @property
    def marker(self) -> Marker: ...
    @property
    def weight(self) -> int: ...
    @property
    def backup(self) -> bool: ...
    @property
    def max_fails(self) -> int: ...
    @property
    def fail_timeout(self) -> float: ...


class Prioritized(Candidate, Protocol):
    """A candidate whose rule may give it precedence."""

    @property
    def priority(self) -> int: ...


C = TypeVar("C", bound=Candidate)
P = TypeVar("P", bound=Prioritized)


@dataclass(frozen=True, slots=True)
class Selection(Generic[C]):
    """The candidate chosen (None: there is none), why, and which ones were left out as failed."""

    candidate: C | None
    reason: str
    failed: tuple[C, ...] = ()


def strategy_name(name: str) -> str | None:
    """The strategy behind a configured name; None when gost would silently take ``round``."""
    return _STRATEGIES.get(name)


class Selector:
    """Filters and strategy of one hop or chain group; the turn of ``round`` is kept here.

    Args:
        strategy: a configured name.
        max_fails: failures after which a candidate counts as failed; 0 or less means 1.
        fail_timeout: seconds for which it does; 0 or less means 10.
        rng: source of chance.
    """

    def __init__(
        self,
        strategy: str = "round",
        max_fails: int = 0,
        fail_timeout: float = 0.0,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self.strategy = strategy_name(strategy) or "round"
        self.max_fails = max_fails if max_fails > 0 else MAX_FAILS
        self.fail_timeout = fail_timeout if fail_timeout > 0 else FAIL_TIMEOUT
        self._random = rng or random.Random()
        self._turn = 0

    def select(self, candidates: Sequence[C], hash_source: str = "") -> C | None:
        """The candidate to use, None when there is none or all have failed."""
        return self.decide(candidates, hash_source).candidate

    def decide(self, candidates: Sequence[C], hash_source: str = "") -> Selection[C]:
        """Like :meth:`select`, with the reason. Takes a turn of ``round``."""
        alive, failed = self.split(candidates)
        if not alive:
            reason = f"all {len(failed)} have failed" if failed else "there is none"
            return Selection(None, reason, failed)
        if len(alive) == 1:
            return Selection(
                alive[0], "the only one" if not failed else "the others failed", failed
            )
        usual = [candidate for candidate in alive if not candidate.backup]
        chosen, reason = self._pick(usual or alive, hash_source)
        return Selection(chosen, reason if usual else f"{reason}, of the backups", failed)

    def split(self, candidates: Sequence[C]) -> tuple[list[C], tuple[C, ...]]:
        """Candidates that may be used, backups included, and those that have failed."""
        if len(candidates) <= 1:
            return list(candidates), ()
        alive: list[C] = []
        failed: list[C] = []
        for candidate in candidates:
            max_fails = candidate.max_fails if candidate.max_fails > 0 else self.max_fails
            timeout = candidate.fail_timeout if candidate.fail_timeout > 0 else self.fail_timeout
            (failed if candidate.marker.failed(max_fails, timeout) else alive).append(candidate)
        return alive, tuple(failed)

    def _pick(self, candidates: list[C], hash_source: str) -> tuple[C, str]:
        size = len(candidates)
        if self.strategy == "fifo":
            return candidates[0], "fifo"
        if self.strategy == "random":
            weights = [max(candidate.weight, 1) for candidate in candidates]
            return self._random.choices(candidates, weights)[0], "random by weight"
        if self.strategy == "hash":
            if not hash_source:
                return self._random.choice(candidates), "random, nothing to hash"
            return candidates[zlib.crc32(hash_source.encode()) % size], f"hash of {hash_source}"
        turn = self._turn % size
        self._turn += 1
        return candidates[turn], f"turn {turn + 1} of {size}"


def prefer(
    candidates: Sequence[P], selector: Selector | None, hash_source: str = ""
) -> Selection[P]:
    """The choice among the nodes of a hop that may serve a request.

    One candidate is taken as it is. The highest priority above zero wins always, failed or not.
    Otherwise the selector decides over all; without one the first of the highest priority is taken.
    """
    if not candidates:
        return Selection(None, "there is none")
    if len(candidates) == 1:
        return Selection(candidates[0], "the only one")
    ordered = sorted(candidates, key=lambda candidate: -candidate.priority)
    first = ordered[0]
    if first.priority > 0:
        return Selection(first, f"priority {first.priority}")
    if selector is None:
        return Selection(first, "the first")
    return selector.decide(ordered, hash_source)
