"""Requests that belong to no channel: answers owed to the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gostpy.wire.ssh.messages import Message

if TYPE_CHECKING:
    from gostpy.stream.ssh.session import Session

__all__ = ["Reply"]


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
