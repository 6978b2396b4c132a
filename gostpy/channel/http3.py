"""http3: the listener of the http3 and masque handlers: every request of a client is an exchange.

Wire      HTTP/3 with extended CONNECT and, unless turned off, HTTP datagrams
Source    RFC 9114, 9220, 9297; gost's listener/http3
Differs   nothing known
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.options import no_effect
from gostpy.stream.http2exchange import StreamExchange
from gostpy.stream.http3 import Session
from gostpy.stream.quic import Quic
from gostpy.wire.http3 import H3_DATAGRAM

__all__ = ["Mux", "Options"]


@dataclass(frozen=True)
class Options:
    """Options of the listening side; it has no other."""

    backlog: int = no_effect("backlog", kind="int", doc="Requests are handled at once here.")


class Mux:
    """Serves connections."""

    def __init__(self, options: Options, context: Context) -> None:
        self._context = context

    def serve(self, quic: Quic, deliver: Deliver) -> Session:
        """Deliver an exchange for each request."""
        takes = bool(quic.core.configuration.max_datagram_frame_size)
        session = Session(
            quic,
            False,
            lambda stream: deliver(StreamExchange(stream)),
            {H3_DATAGRAM: 1} if takes else None,
        )
        session.on_close = self._ended
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"http3: {error}", remote=session.quic.info.peer_address)
