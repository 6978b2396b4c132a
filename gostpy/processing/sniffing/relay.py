"""How a proxy handler relays once both conns are open: plainly, or through the sniffer."""

from __future__ import annotations

from typing import Protocol

from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing.options import SniffingOptions, refuse_unbuilt

__all__ = ["Relay", "relay_for"]


class Relay(Protocol):
    """Relays from now on, and closes both in the end. Raises GostError, OSError."""

    def __call__(
        self, conn: Conn, upstream: Conn, request: Request, *, idle: float = 0.0
    ) -> None: ...


def relay_for(options: SniffingOptions, context: HandlerContext, read_timeout: float) -> Relay:
    """The relay that the options ask for; only a config that sniffs loads what that needs.

    Raises ConfigError: an option asks for what gostpy does not have yet.
    """
    refuse_unbuilt(options)
    if not options.sniffing:
        return context.relay
    from gostpy.processing.sniffing.sniffer import Sniffer

    return Sniffer(options, context, read_timeout=read_timeout).relay
