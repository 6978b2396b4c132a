"""The dialing side of every stack: open a carrier connection, shake hands, keep mux sessions.

A session belongs to the node and the route beneath it, never to an address: the same proxy reached
through another chain is another session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gostpy.channel.sessions import SessionPool
from gostpy.errors import DialFailed, GostError
from gostpy.interfaces import Context, Layer, Mux, Open
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
        self._pools: dict[tuple[Any, ...], SessionPool] = {}

    def dial(self, open: Open, beneath: tuple[Any, ...]) -> Any:
        mux = self._mux
        if mux is None:
            return self._establish(open)
        pool = self._pools.get(beneath)
        if pool is None:
            name = self._context.node or self._context.address
            pool = self._pools[beneath] = SessionPool(name, self._context.log)
        gather = getattr(mux, "gather", None)
        if gather is not None:
            return pool.open(lambda: gather(lambda: self._establish(open)))
        return pool.open(lambda: mux.connect(self._establish(open)))

    def _establish(self, open: Open) -> Any:
        address = self._context.address
        carrier = self._open_carrier
        conn = carrier(open) if carrier is not None else open(self.network, address)
        if self._dialed is not None:
            self._dialed(conn)
        try:
            with timeout(self._timeout, "handshake timed out"):
                for layer in self._layers:
                    conn = layer.connect(conn) or conn
        except (GostError, OSError) as error:
            conn.close(True)
            node = self._context.node
            raise DialFailed(f"{node or address}: {error}", node, address) from error
        except BaseException:
            conn.close(True)
            raise
        return conn

    def retire(self) -> None:
        """The node was replaced: its sessions end with the conns that use them."""
        for pool in self._pools.values():
            pool.retire()

    def close(self) -> None:
        """End every session; conns in use end with them."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
