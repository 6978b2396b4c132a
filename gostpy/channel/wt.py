"""wt: WebTransport over HTTP/3: each conn is a bidirectional stream of a session.

Wire      see gostpy.stream.webtransport; path ``/wt``
Source    gost's listener/http3/wt and dialer/http3/wt
Differs   nothing known
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.net.timers import timeout
from gostpy.options import no_effect, opt
from gostpy.stream.quic import Quic
from gostpy.stream.tls import host_of
from gostpy.stream.webtransport import ClientSession, ServerSession
from gostpy.wire.http2headers import configured_lines

__all__ = ["DialOptions", "ListenOptions", "Mux"]

_PATH = "/wt"
_ANSWER_TIMEOUT = 15.0


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    path: str = opt("", "wt.path", "path", doc="Path of the session's request; empty = /wt.")
    backlog: int = no_effect("backlog", kind="int", doc="Conns are handled at once here.")


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    host: str = opt("", "wt.host", "host", doc="Host of the session's request; empty = the node's.")
    path: str = opt("", "wt.path", "path", doc="Path of the session's request; empty = /wt.")
    header: dict[str, str] = opt(
        {}, "wt.header", "header", doc="Further headers of the session's request."
    )


class Mux:
    """Sessions of both sides. Raises ConfigError: a header that HTTP cannot carry."""

    def __init__(self, options: ListenOptions | DialOptions, context: Context) -> None:
        self._context = context
        self._path = options.path or _PATH
        self._fields: list[tuple[str, str]] = []
        if isinstance(options, DialOptions):
            self._fields = [
                (":method", "CONNECT"),
                (":protocol", "webtransport"),
                (":scheme", "https"),
                (":authority", host_of(options.host or context.address)),
                (":path", self._path),
                *configured_lines(options.header).items(),
            ]
            if not any(name == "user-agent" for name, _ in self._fields):
                self._fields.append(("user-agent", "quic-go HTTP/3"))

    def serve(self, quic: Quic, deliver: Deliver) -> ServerSession:
        """Deliver each stream of the sessions that clients ask for."""
        session = ServerSession(quic, deliver, self._path)
        session.on_close = self._ended
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        log = self._context.log
        tell = log.warn if isinstance(error, ProtocolError) else log.debug
        tell(f"wt: {error}", remote=session.quic.info.peer_address)

    def connect(self, quic: Quic) -> ClientSession:
        """A session whose streams are conns. Raises HandshakeFailed, OSError."""
        session = ClientSession(quic)
        try:
            with timeout(_ANSWER_TIMEOUT, "webtransport: no answer in time"):
                session.begin(self._fields)
        except BaseException:
            quic.close(True)
            raise
        return session
