"""The streams of QUIC connections as conns: quic, icmp, icmp6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.options import opt
from gostpy.stream.quic import Quic
from gostpy.stream.quicmux import QuicSession

__all__ = ["DialOptions", "ListenOptions", "Mux"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    backlog: int = opt(
        128,
        "backlog",
        unit="connections",
        positive=True,
        effect=False,
        doc="Streams that wait for the handler; here none has to wait.",
    )


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has none."""


class Mux:
    """Makes sessions of QUIC connections."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def serve(self, conn: Quic, deliver: Deliver) -> QuicSession:
        """Deliver each stream that the peer opens."""
        session = QuicSession(conn, deliver)
        session.on_close = self._ended
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        tell = self.context.log.warn if isinstance(error, ProtocolError) else self.context.log.debug
        tell(f"quic: {error}", remote=session.quic.info.peer_address)

    def connect(self, conn: Quic) -> QuicSession:
        """A session on which streams can be opened."""
        return QuicSession(conn)
