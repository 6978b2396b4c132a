"""Requests that belong to no channel: answers owed to the peer, and pings to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gostpy.errors import ProtocolError
from gostpy.net import timers
from gostpy.wire.ssh.messages import Message

if TYPE_CHECKING:
    from gostpy.stream.ssh.session import Session

__all__ = ["Pinger", "Reply"]


class Reply:
    """The answer that a request of the peer waits for; answers leave in the order of requests."""

    __slots__ = ("_session", "payload")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.payload = b""

    def give(self, success: bool, fields: bytes = b"") -> None:
        """Once; the fields are those of success."""
        kind = Message.REQUEST_SUCCESS if success else Message.REQUEST_FAILURE
        self.payload = bytes((kind,)) + (fields if success else b"")
        self._session.send_replies()


class Pinger:
    """Asks the peer for a sign of life; any answer is one, also that it knows no such request.

    Args:
        interval: seconds from an answer to the next ping.
        limit: seconds for an answer.
        retries: pings in a row without an answer that end the session.
    """

    def __init__(self, session: Session, interval: float, limit: float, retries: int) -> None:
        self._session = session
        self._interval = interval
        self._limit = limit
        self._retries = retries
        self._failures = 0
        self._number = 0  # of the ping that is waited for
        self._entry = timers.after(interval, self._ping)

    def cancel(self) -> None:
        self._entry.cancel()

    def _ping(self) -> None:
        number = self._number = self._number + 1
        self._entry = timers.after(self._limit, self._silent)
        self._session.ask("ping", b"", lambda _: self._answered(number))

    def _answered(self, number: int) -> None:
        if number == self._number and self._session.alive:
            self._failures = 0
            self._again()

    def _silent(self) -> None:
        self._number += 1  # an answer now is too late
        self._failures += 1
        if self._failures >= self._retries:
            self._session.fail(ProtocolError(f"SSH peer was silent for {self._limit:g} s"))
        else:
            self._again()

    def _again(self) -> None:
        self._entry.cancel()
        self._entry = timers.after(self._interval, self._ping)
