"""Handler ``redirect`` (also ``red``, ``redir``): conns that a firewall sent here go on to where
they were going, by way of the chain.

REDIRECT   the kernel is asked for the original destination (SO_ORIGINAL_DST)
TPROXY     (``tproxy`` here and on the listener) it is the conn's local address
Sniffing   the host that a TLS or HTTP client names is dialed instead, at the original port
Source     go-gost/x handler/redirect/tcp
Differs    a PROXY header that names a destination goes before. A conn that was not redirected but
           made to this listener is refused; gost dials itself until it has no descriptors left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import Denied, GostError, Unsupported
from gostpy.interfaces import Request
from gostpy.net.conn import Conn, format_address
from gostpy.net.dial import split_address
from gostpy.net.transparent import original_destination
from gostpy.options import opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import SniffingOptions, refuse_unbuilt

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Wait for a sniffed request and for its response.",
    )
    tproxy: bool = opt(False, "tproxy", doc="The destination is the conn's local address (TPROXY).")
    sniffing_fallback: bool = opt(
        False,
        "sniffing.fallback",
        doc="Dial the original address when the sniffed host cannot be reached.",
    )
    dial_original: bool = opt(
        False,
        "sniffing.dialOriginalDst",
        since="3.3",
        doc="Dial the original address always; the host matters to rules and records only.",
    )


class Handler:
    """See the module's description."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        refuse_unbuilt(options)
        self.options = options
        self.context = context
        self._sniffer: Any = None
        if options.sniffing:  # only a config that sniffs pays for what that needs
            from gostpy.processing.sniffing.sniffer import Sniffer

            self._sniffer = Sniffer(
                options, context, read_timeout=options.read_timeout, quiet=True, transparent=True
            )

    def handle(self, conn: Any) -> None:
        context = self.context
        if context.admit_request is not None:
            context.check_rate(conn)
        info = conn.info
        if info.destination is None:
            info.destination = self._destination(conn)
        if self._sniffer is not None and self._sniffer.route(conn, self._reach) is None:
            return
        address = format_address(info.destination)
        request = context.request(conn, "tcp", address)
        context.check_bypass(request)
        context.relay(conn, context.dial(request), request)

    def _destination(self, conn: Any) -> tuple[str, int]:
        """Raises OSError, Denied, Unsupported."""
        local = conn.info.local
        if self.options.tproxy:
            return local[0], local[1]
        sock = getattr(conn.endpoint, "sock", None) if isinstance(conn, Conn) else None
        if sock is None or not isinstance(local, tuple):
            raise Unsupported("only a TCP connection can have been redirected")
        found = original_destination(sock, ":" in conn.info.peer[0])
        if found == tuple(local[:2]):
            raise Denied("the connection was made to this listener, not redirected to it")
        return found

    def _reach(self, request: Request) -> Any:
        """A conn for a sniffed request. Raises RouteError, Denied."""
        context, original = self.context, request.destination
        if request.host and not self.options.dial_original:
            host, _ = split_address(request.host)
            port = split_address(original)[1]
            request.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                return context.dial(request)
            except (GostError, OSError):
                if not self.options.sniffing_fallback:
                    raise
        request.address = original
        context.check_bypass(request)
        return context.dial(request)
