"""The mux sessions to one node over one route: shared, replaced when they die, added to when busy.

Whoever needs a session while one is being made waits for that one, and shares its failure. After
repeated failures the next attempt is put off a little, at random, so that a node that comes back is
not met by everybody at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from gevent import sleep
from gevent.event import Event

from gostpy.errors import ConnectionClosed, DialFailed
from gostpy.interfaces import Log, Session
from gostpy.net import timers
from gostpy.net.conn import Conn

__all__ = ["MOST_SESSIONS", "SessionPool", "back_off"]

MOST_SESSIONS = 8
"""Sessions to one node over one route, however busy they are; those in which the peer allows no
more streams (``exhausted``: HTTP/2) do not count."""

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 1.0
_LOOK_INTERVAL = 5.0


def back_off(failures: int, chance: float) -> float:
    """Seconds after the last of ``failures`` before the next attempt; ``chance`` is in [0, 1).

    The second attempt is made at once: the first one may have met the node while it restarted.
    """
    if failures < 2:
        return 0.0
    delay = min(_FIRST_DELAY * 2.0 ** min(failures - 2, 10), _LONGEST_DELAY)
    return delay * (0.5 + chance / 2)


class _Attempt:
    """A session in the making."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = Event()
        self.error: Exception | None = None


class SessionPool:
    """Sessions to one node; ``open`` takes a stream of one of them.

    Args:
        name: of the node, for messages.
    """

    def __init__(self, name: str, log: Log) -> None:
        self._name = name
        self._log = log
        self._sessions: list[Session] = []
        self._attempt: _Attempt | None = None
        self._failures = 0
        self._failed_at = 0.0
        self._down = False
        self._closed = False
        self._retired = False

    def open(self, connect: Callable[[], Session]) -> Conn:
        """A new stream; ``connect`` makes a session, if one is needed. Raises what it raises."""
        while True:
            session = self._pick()
            if session is not None:
                try:
                    return session.open()
                except ConnectionClosed:
                    if session.alive:
                        raise
                    continue
            attempt = self._attempt
            if attempt is None:
                self._make(connect)
                continue
            attempt.done.wait()
            if attempt.error is not None:
                raise attempt.error

    def _pick(self) -> Session | None:
        """A session with room for another stream; None: a new one should be made."""
        chosen: Session | None = None
        for session in self._sessions[:]:
            if not session.alive:
                session.on_close = None
                self._lost(session)
            elif chosen is None:
                if not session.busy:
                    chosen = session
            elif not session.stream_count:  # not needed any more
                self._sessions.remove(session)
                session.on_close = None
                session.close()
        if chosen is None and len(self._sessions) >= MOST_SESSIONS:
            usable = [each for each in self._sessions if not getattr(each, "exhausted", False)]
            if len(usable) >= MOST_SESSIONS:
                return min(usable, key=lambda session: session.stream_count)
        return chosen

    def _make(self, connect: Callable[[], Session]) -> None:
        attempt = self._attempt = _Attempt()
        try:
            wait = self._failed_at + back_off(self._failures, random.random()) - timers.now()
            if self._failures > 1 and wait > 0:
                sleep(wait)
            session = connect()
            if not session.alive:
                raise DialFailed(f"{self._name}: {session.error}", self._name)
        except Exception as error:
            attempt.error = error
            self._failed(error)
            raise
        finally:
            self._attempt = None
            attempt.done.set()
        if self._closed:
            session.close()
            raise DialFailed(f"{self._name} was removed", self._name)
        session.on_close = self._lost
        self._sessions.append(session)
        if self._retired:
            timers.after(_LOOK_INTERVAL, self._end_unused)
        self._failures = 0
        if self._down:
            self._down = False
            self._log.info(f"node {self._name} is back")

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._failed_at = timers.now()
        self._went_down(error)

    def _lost(self, session: Any) -> None:
        """A session ended that we did not close."""
        if session in self._sessions:
            self._sessions.remove(session)
        if not self._sessions and not self._closed:
            self._went_down(session.error)

    def _went_down(self, error: Any) -> None:
        if not self._down:
            self._down = True
            self._log.warn(f"node {self._name} is down: {error}")

    def retire(self) -> None:
        """Nothing new is expected: each session ends after its last stream."""
        self._retired = True
        self._end_unused()

    def _end_unused(self) -> None:
        for session in self._sessions[:]:
            if not session.stream_count:
                self._sessions.remove(session)
                session.on_close = None
                session.close()
        if self._sessions:
            timers.after(_LOOK_INTERVAL, self._end_unused)

    def close(self) -> None:
        """End every session; conns in use end with them."""
        self._closed = True
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()
