"""Keep-alive: asking a peer for signs of life, written once for all protocols.

A protocol says how a peer is asked, what counts as a sign of life, and how it is given up. Two
kinds are in use:

* **Steady** (smux, yamux, WebSocket, QUIC): the peer is asked every ``interval``, and silence adds
  up until it reaches ``limit``.
* **With an answer** (SSH, gRPC): the peer is asked after an ``interval`` and has ``answer`` seconds
  to be heard; ``retries`` times without are its end.

``lazy`` ones ask only after an interval of silence.
"""

from __future__ import annotations

from collections.abc import Callable

from gostpy.net import timers

__all__ = ["KeepAlive"]


def _nothing() -> None:
    """Nobody is asked: the peer speaks by itself."""


def _never(silence: float) -> None:
    """Somebody else gives silent peers up."""


class KeepAlive:
    """A running keep-alive; runs on the hub until ``cancel``, or until it has given the peer up.

    Args:
        interval: seconds from one question to the next, or from an answer to the next question.
        heard: whether the peer was heard since this was called last, or its silence means nothing.
        probe: asks the peer; False: it need not be asked this time.
        fail: gives the peer up, told the seconds of silence.
        limit: seconds of silence that end a steady one; 0 = it never ends.
        answer: seconds for an answer; 0 = steady.
        retries: questions in a row without an answer that end it.
        lazy: who was heard is not asked.

    Attributes:
        asked: questions until now.
    """

    __slots__ = (
        "_answer",
        "_entry",
        "_fail",
        "_heard",
        "_interval",
        "_lazy",
        "_limit",
        "_misses",
        "_probe",
        "_retries",
        "_silence",
        "_stopped",
        "_waiting",
        "asked",
    )

    def __init__(
        self,
        interval: float,
        heard: Callable[[], bool],
        probe: Callable[[], bool | None] = _nothing,
        fail: Callable[[float], None] = _never,
        *,
        limit: float = 0.0,
        answer: float = 0.0,
        retries: int = 1,
        lazy: bool = False,
    ) -> None:
        self.asked = 0
        self._interval = interval
        self._heard = heard
        self._probe = probe
        self._fail = fail
        self._limit = limit
        self._answer = answer
        self._retries = retries
        self._lazy = lazy
        self._silence = 0.0
        self._misses = 0
        self._waiting = False  # for an answer
        self._stopped = False
        self._entry = timers.after(interval, self._look)

    def cancel(self) -> None:
        """Ask no more. Harmless when repeated."""
        self._stopped = True
        self._entry.cancel()

    def answered(self, number: int) -> None:
        """Question ``number`` (``asked`` at its time) was answered; late answers do not count."""
        if self._waiting and number == self.asked:
            self._entry.cancel()
            self._rest()

    def _look(self) -> None:
        heard = self._heard()
        self._silence = 0.0 if heard else self._silence + self._interval
        if self._limit > 0.0 and self._silence >= self._limit:
            self._give_up(self._silence)
            return
        if not (heard and self._lazy):
            self.asked += 1
            self._waiting = self._probe() is not False and self._answer > 0.0
        if not self._stopped:
            wait, then = self._interval, self._look
            if self._waiting:
                wait, then = self._answer, self._late
            self._entry = timers.after(wait, then)

    def _late(self) -> None:
        """The time for an answer is over."""
        if self._heard():
            self._rest()
            return
        self._misses += 1
        if self._misses >= self._retries:
            self._give_up(self._answer)
        else:
            self._rest(self._misses)

    def _rest(self, misses: int = 0) -> None:
        """Until the next question."""
        self._misses = misses
        self._waiting = False
        if not self._stopped:
            self._entry = timers.after(self._interval, self._look)

    def _give_up(self, silence: float) -> None:
        self.cancel()
        self._fail(silence)
