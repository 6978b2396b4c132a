"""grpctls: TLS below gRPC, with ``h2`` by ALPN; with ``insecure`` there is none."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.channel import h2tls
from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import opt

__all__ = ["DialOptions", "Layer", "ListenOptions"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    insecure: bool = opt(
        False, "grpc.insecure", "grpcInsecure", "insecure", doc="HTTP/2 in clear, without TLS."
    )


@dataclass(frozen=True)
class DialOptions(ListenOptions):
    """Options of the dialing side."""

    handshake_timeout: float = opt(
        30.0,
        "grpc.minConnectTimeout",
        "minConnectTimeout",
        kind="duration",
        positive=True,
        doc="Time for the handshakes of a connection.",
    )


class Layer:
    """One TLS handshake, or nothing."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._tls: h2tls.Layer | None = None
        if not options.insecure:
            side = h2tls.ListenOptions() if context.listening else h2tls.DialOptions()
            self._tls = h2tls.Layer(side, context)

    def accept(self, conn: Conn) -> None:
        if self._tls is not None:
            self._tls.accept(conn)

    def connect(self, conn: Conn) -> None:
        """Raises HandshakeFailed, OSError."""
        if self._tls is not None:
            self._tls.connect(conn)
