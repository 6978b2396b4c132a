"""Handler and connector ``sni``: proxying by the host that TLS and HTTP clients name anyway.

Handler     sniffs HTTP and TLS and dials the host of the first request (port 80) or hello (443)
            through the router; anything else is closed
Connector   no protocol of its own: the first bytes are changed on their way. The server name of a
            ClientHello becomes ``host`` and the real one goes into extension 0xFFFE; the Host line
            of an HTTP request becomes ``host`` and the real one goes into ``Gost-Target``. Without
            ``host`` nothing is changed
Source      go-gost/x handler/sni, connector/sni/conn.go
Differs     The first bytes must come within ``readTimeout``. The connector waits for a whole hello
            or head (gost fails when it is not in the first write), and takes ``Host`` in any case.
            As in gost, the handler does not look at hidden names; the http handler does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.conn import Conn
from gostpy.options import no_effect, opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import CacheOptions, InspectionOptions, refuse_unbuilt
from gostpy.processing.sniffing.sniffer import Sniffer
from gostpy.wire.sni import Disguise

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(InspectionOptions, CacheOptions):
    """Handler ``sni``."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Deadline of the first bytes and of responses' heads.",
    )
    hash: str = no_effect("hash", doc="Key of the hash selector; always the client IP here.")


@dataclass(frozen=True)
class ConnectorOptions:
    """Connector ``sni``."""

    host: str = opt("", "host", doc="Host name shown instead of the real one.")
    timeout: float = no_effect("timeout", kind="duration", doc="There is no handshake.")


class Handler:
    """See the module's description."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        refuse_unbuilt(options)
        self._context = context
        self._wait = options.read_timeout
        self._sniffer = Sniffer(options, context, read_timeout=options.read_timeout, quiet=True)

    def handle(self, conn: Conn) -> None:
        self._context.check_rate(conn)
        if self._sniffer.route(conn, wait=self._wait) is not None:
            raise ProtocolError("neither TLS nor HTTP")


class Connector:
    """See the module's description."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self._host = options.host

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Any:
        """The conn itself; the target is what the stream will name."""
        if not isinstance(conn, Conn):
            raise Unsupported("the sni connector needs a byte stream")
        if self._host:
            conn.push(Disguise(self._host))
        return conn
