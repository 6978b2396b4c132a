"""The dialing side of every stack, and the one cache of mux sessions.

A session belongs to the node and the route beneath it, never to an address: the same proxy reached
through another chain is another session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gevent.event import Event

from gostpy.errors import DialFailed, GostError
from gostpy.interfaces import Context, Layer, Mux, Open, Session
from gostpy.net.timers import timeout

__all__ = ["StackDialer"]


class StackDialer:
    """Carrier, layers and mux of one node.

    Args:
        carrier: has ``network`` and may have ``dialed(conn)``, called with each carrier connection.
        handshake_timeout: seconds for all layers together; 0 = none.
    """

    def __init__(
        self,
        carrier: Any,
        layers: Sequence[Layer],
        mux: Mux | None,
        context: Context,
        handshake_timeout: float = 0.0,
    ) -> None:
        self.network: str = carrier.network
        self.multiplex = mux is not None
        self._dialed: Callable[[Any], None] | None = getattr(carrier, "dialed", None)
        self._open_carrier = getattr(carrier, "open", None)
        self._layers = tuple(layers)
        self._mux = mux
        self._context = context
        self._timeout = handshake_timeout
        self._sessions: dict[tuple[Any, ...], list[Session]] = {}
        self._dialing: dict[tuple[Any, ...], Event] = {}

    def dial(self, open: Open, beneath: tuple[Any, ...]) -> Any:
        if self._mux is None:
            return self._establish(open)
        while True:
            session = self._session(beneath)
            if session is not None:
                return session.open()
            busy = self._dialing.get(beneath)
            if busy is not None:  # somebody is making one: use it together
                busy.wait()
                continue
            self._dialing[beneath] = Event()
            try:
                made = self._mux.connect(self._establish(open))
                self._sessions.setdefault(beneath, []).append(made)
            finally:
                self._dialing.pop(beneath).set()

    def _session(self, beneath: tuple[Any, ...]) -> Session | None:
        """A live session with room for another stream; dead ones are forgotten."""
        sessions = self._sessions.get(beneath)
        if not sessions:
            return None
        for session in sessions[:]:
            if not session.alive:
                sessions.remove(session)
            elif not getattr(session, "busy", False):
                return session
        return None

    def _establish(self, open: Open) -> Any:
        address = self._context.address
        carrier = self._open_carrier
        conn = carrier(open) if carrier is not None else open(self.network, address)
        if self._dialed is not None:
            self._dialed(conn)
        try:
            with timeout(self._timeout, "handshake timed out"):
                for layer in self._layers:
                    layer.connect(conn)
        except (GostError, OSError) as error:
            conn.close(True)
            node = self._context.node
            raise DialFailed(f"{node or address}: {error}", node, address) from error
        except BaseException:
            conn.close(True)
            raise
        return conn

    def close(self) -> None:
        """End every session; conns in use end with them."""
        for sessions in self._sessions.values():
            for session in sessions:
                session.close()
        self._sessions.clear()
