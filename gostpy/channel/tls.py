"""tls: TLS as a layer of a stack, also under ws, http2 and the muxes.

What else the listener and the dialer take (multipath TCP, keep-alive) belongs to the tcp carrier.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.stream.tls import ClientContext, ServerContext, accept_tls, connect_tls, host_of

__all__ = ["DialOptions", "Layer", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """The listening side has none: certificates are in the ``tls`` block."""


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    handshake_timeout: float = opt(
        0.0, "handshakeTimeout", kind="duration", doc="Deadline for the TLS handshake; 0 = none."
    )


class Layer:
    """One TLS handshake. The context of the side in use is made once.

    Raises ConfigError: certificate files or settings cannot be used.

    Attributes:
        alpn: what the transport above asks for, besides the protocols of the settings.
    """

    alpn: tuple[str, ...] = ()

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self.options = options
        self._timeout = options.handshake_timeout if isinstance(options, DialOptions) else 0.0
        self._name = host_of(context.address)
        self._server: ServerContext | None = None
        self._client: ClientContext | None = None
        given = context.tls.alpn if context.tls is not None else ()
        alpn = (*given, *(name for name in self.alpn if name not in given)) if self.alpn else ()
        if context.listening:
            self._server = ServerContext(context.tls, alpn=alpn, log=context.log)
            self._server.current()  # a certificate is made now, not while the first client waits
        else:
            self._client = ClientContext(context.tls, alpn=alpn, log=context.log)

    def accept(self, conn: Conn) -> None:
        assert self._server is not None, "a layer of the dialing side"
        accept_tls(conn, self._server)

    def connect(self, conn: Conn) -> None:
        assert self._client is not None, "a layer of the listening side"
        with timeout(self._timeout, "TLS handshake timed out"):
            connect_tls(conn, self._client, self._name)
