"""Users and passwords: ``authenticate`` answers with the client id, which is the user name.

A user stored without a password may give any. Without any user nobody is let in. Passwords are
compared in constant time, and an unknown user takes as long as a known one.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

from gostpy.lines import Line, Remark

__all__ = ["Authenticates", "Authenticator", "Group", "read_users"]


class Authenticates(Protocol):
    """Anything that knows users: a list, a group, a plugin."""

    def authenticate(self, user: str, password: str, client: str = "") -> str | None:
        """The client id, None when refused.

        Args:
            client: the client's ``ip:port``.
        """
        ...


class Authenticator:
    """A fixed list of users. Immutable: a reload makes a new one."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)

    def __repr__(self) -> str:  # no passwords in logs and tracebacks
        return f"Authenticator({len(self._users)} users)"

    def authenticate(self, user: str, password: str, client: str = "") -> str | None:
        stored = self._users.get(user)
        same = hmac.compare_digest(_digest(password), _digest(stored or ""))
        if stored is None or (stored and not same):
            return None
        return user


class Group:
    """Several authenticators: the first that accepts decides. An empty group accepts nobody."""

    def __init__(self, authenticators: Sequence[Authenticates]) -> None:
        self._authenticators = tuple(authenticators)

    def authenticate(self, user: str, password: str, client: str = "") -> str | None:
        for authenticator in self._authenticators:
            client_id = authenticator.authenticate(user, password, client)
            if client_id is not None:
                return client_id
        return None


def read_users(lines: Iterable[Line]) -> tuple[dict[str, str], list[Remark]]:
    """Users of ``USER [PASSWORD]`` lines; a password may hold blanks and ``#``.

    Read the text with ``read_lines(text, comments_at_start_only=True)``. Tabs count as blanks, also
    inside a password, as in gost. Remarks name users, never passwords.
    """
    users: dict[str, str] = {}
    remarks: list[Remark] = []
    for line in lines:
        user, _, password = line.text.replace("\t", " ").strip().partition(" ")
        if not user:
            continue
        password = password.strip()
        if not password:
            remarks.append(
                Remark(Line(user, line.position), "has no password: any password is accepted")
            )
        users[user] = password
    return users, remarks


def _digest(password: str) -> bytes:
    """A fixed length, so that the comparison does not tell the length of the stored password."""
    return blake2b(password.encode("utf-8", "surrogateescape"), digest_size=32).digest()
