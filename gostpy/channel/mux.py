"""mtcp, mtls, mws, mwss: many conns on one connection, as streams of smux or yamux.

The dialer is the mux client. Version 2 of smux is mtcp's default, version 1 that of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.conn import Conn
from gostpy.options import opt
from gostpy.stream.mux import MuxOptions, Session, check_mux, mux_session

__all__ = ["DialOptions", "ListenOptions", "Mux"]


@dataclass(frozen=True)
class ListenOptions(MuxOptions):
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
class DialOptions(MuxOptions):
    """Options of the dialing side."""

    handshake_timeout: float = opt(
        0.0,
        "handshakeTimeout",
        kind="duration",
        effect=False,
        doc="The layers below heed it; the mux itself has no handshake.",
    )


class Mux:
    """Makes sessions. Raises ConfigError: options that no session could have."""

    def __init__(self, options: MuxOptions, context: Context) -> None:
        check_mux(options)
        self.options = options
        self.context = context

    def serve(self, conn: Conn, deliver: Deliver) -> Session:
        """Deliver each stream that the peer opens."""
        session = mux_session(conn, self.options, False, deliver)
        session.on_close = self._ended
        session.start()
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        tell = self.context.log.warn if isinstance(error, ProtocolError) else self.context.log.debug
        tell(f"{session.name}: {error}", remote=session.conn.info.peer_address)

    def connect(self, conn: Conn) -> Session:
        """A session on which streams can be opened."""
        session = mux_session(conn, self.options, True)
        session.start()
        return session
