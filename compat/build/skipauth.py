"""``skipauth`` of handlers (gost 3.3): clients at these addresses need not log in.

A handler asks for a login or it does not; so there are two of them, and the client's address (as
told by PROXY protocol, if it is) says which one serves a conn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from gostpy.guard.admission import Admission
from gostpy.interfaces import Handler
from gostpy.processing.context import HandlerContext

__all__ = ["addresses", "skipping_login"]


def addresses(items: Sequence[Any]) -> list[str]:
    """IPs and networks of a list, or of a text with commas."""
    return [word.strip() for item in items for word in str(item).split(",") if word.strip()]


def skipping_login(
    make: Callable[[HandlerContext], Handler], context: HandlerContext, trusted: Sequence[str]
) -> Handler:
    """The handler of a service; ``make`` is called once more when some clients need no login."""
    handler = make(context)
    if not trusted or context.authenticate is None:
        return handler
    without = make(dataclasses.replace(context, authenticate=None))
    return _ByAddress(handler, without, Admission(trusted))


class _ByAddress:
    """Serves clients of a list without a login."""

    def __init__(self, usual: Handler, without: Handler, others: Admission) -> None:
        self._usual = usual
        self._without = without
        self._others = others  # admits all but those on the list

    def handle(self, conn: Any) -> None:
        address = conn.info.client_address
        trusted = bool(address) and not self._others.decide(address)
        (self._without if trusted else self._usual).handle(conn)
