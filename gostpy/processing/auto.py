"""Handler ``auto``: SOCKS 4, SOCKS 5 or HTTP by the first byte, on one port.

Byte 4 is SOCKS 4, 5 is SOCKS 5, everything else goes to the http handler. Each of the three gets
the whole metadata and reads its own options from it.

Source    go-gost/x handler/auto
Differs   The first byte must come within ``readTimeout`` (gost waits for ever).
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.interfaces import Handler as AnyHandler
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.options import parse
from gostpy.processing import http, socks4, socks5
from gostpy.processing.context import HandlerContext

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(http.HandlerOptions, socks5.HandlerOptions, socks4.HandlerOptions):
    """The options of all three; where they share a key, as the http handler reads it."""


class Handler:
    """See the module's description."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self._wait = max(options.read_timeout or 15.0, 0.0)
        metadata, strict = context.metadata, context.strict
        self._http = http.Handler(parse(http.HandlerOptions, metadata, strict=strict), context)
        self._socks: dict[bytes, AnyHandler] = {
            b"\x04": socks4.Handler(parse(socks4.HandlerOptions, metadata, strict=strict), context),
            b"\x05": socks5.Handler(parse(socks5.HandlerOptions, metadata, strict=strict), context),
        }

    def handle(self, conn: Conn) -> None:
        with timeout(self._wait, "nothing was asked for in time"):
            first = conn.peek(1)
        if first:
            self._socks.get(first, self._http).handle(conn)
