"""A service: a bound listener, and what new conns get: a handler behind guards.

What is swapped on reload is the handler (with its router and policies) and the guards; the bound
listener and running conns stay.
"""

from __future__ import annotations

import traceback
from typing import Any

from gostpy.errors import GostError, Rejected
from gostpy.interfaces import Guards, Handler, Listener, Log
from gostpy.net.conn import format_address

__all__ = ["Service"]


class Service:
    """One named service.

    Args:
        key: what identifies the bound listener; a reload that keeps it keeps the socket.
    """

    def __init__(
        self,
        name: str,
        listener: Listener,
        handler: Handler,
        guards: Guards,
        log: Log,
        key: Any = None,
    ) -> None:
        self.name = name
        self.listener = listener
        self.handler = handler
        self.guards = guards
        self.log = log
        self.key = key
        self.state = "running"
        self.hooks: dict[str, tuple[str, ...]] = {}

    @property
    def address(self) -> str:
        """Where it listens, as bound (with the port that the system chose)."""
        return format_address(self.listener.address)

    def listen(self) -> None:
        """Bind. Raises OSError, ConfigError."""
        self.listener.listen()

    def start(self) -> None:
        self.listener.start(self.serve)
        self.state = "ready"
        self.log.info(f"listening on {self.address}")

    def replace(self, made: Service) -> None:
        """Serve new conns from now on as ``made`` would, which was never bound."""
        self.handler = made.handler
        self.guards = made.guards
        self.log = made.log
        self.hooks = made.hooks
        self.listener.adopt(made.listener)

    def serve(self, conn: Any) -> None:
        """Serve one logical conn in the running green thread. Nothing that it does escapes."""
        try:
            self.guards.logical(conn)
            self.handler.handle(conn)
        except Rejected as error:
            self.log.info(f"refused: {error}", remote=conn.info.peer_address)
        except (GostError, OSError) as error:
            self.log.error(str(error) or type(error).__name__, remote=conn.info.peer_address)
        except Exception as error:
            trace = traceback.format_exc(limit=-6)
            self.log.error(f"internal error: {error!r}", remote=conn.info.peer_address, trace=trace)
            conn.close(True)
            return
        if conn.sink is None:  # nothing took it over
            conn.close()

    def close(self) -> None:
        """Stop listening; running conns go on."""
        self.state = "closed"
        self.listener.close()
