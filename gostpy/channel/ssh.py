"""ssh: gost's tunnel through SSH 2: one connection, on which each conn is a channel of the type
gost-tunnel. It begins as sshlogin says.

An ordinary SSH client can log in to the listener, but gets no channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError
from gostpy.interfaces import Context, Deliver
from gostpy.options import no_effect, opt
from gostpy.stream.ssh import Link, Session, TunnelClient, TunnelServer

__all__ = ["DialOptions", "ListenOptions", "Mux"]


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    backlog: int = no_effect(
        "backlog", kind="int", doc="Channels that wait for the handler; here none has to wait."
    )


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    ping: bool = opt(False, "keepalive", doc="Ask the server for a sign of life (request ping).")
    ping_interval: float = opt(
        30.0, "ttl", "keepalive.interval", kind="duration", positive=True, doc="Time between pings."
    )
    ping_timeout: float = opt(
        15.0, "keepalive.timeout", kind="duration", positive=True, doc="Time to answer a ping."
    )
    ping_retries: int = opt(
        1, "keepalive.retries", positive=True, doc="Unanswered pings that end the session."
    )


class Mux:
    """Makes sessions of links."""

    server: type[Any] = TunnelServer
    client: type[Any] = TunnelClient

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def serve(self, link: Link, deliver: Deliver) -> Session:
        """Deliver what the peer opens."""
        session: Session = self.server(link, deliver)
        session.on_close = self._ended
        session.start()
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        tell = self.context.log.warn if isinstance(error, ProtocolError) else self.context.log.debug
        tell(f"{session.name}: {error}", remote=session.conn.info.peer_address)

    def connect(self, link: Link) -> Any:
        """A session on which conns can be opened."""
        session = self.client(link)
        session.start()
        options = self.options
        if options.ping and session.alive:
            session.keep_pinging(options.ping_interval, options.ping_timeout, options.ping_retries)
        return session
