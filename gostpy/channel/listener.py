"""The listening side of every stack: accept, guard, shake hands, deliver.

Written once for all transports: a carrier yields sockets (or conns of its own), the guards admit
them, each layer shakes hands in the conn's own green thread, and a mux, if there is one, delivers
its streams as conns.
"""

from __future__ import annotations

import _socket
from collections.abc import Sequence
from typing import Any

from gostpy.errors import GostError
from gostpy.interfaces import Context, Deliver, Guards, Layer, Mux
from gostpy.net.conn import Conn
from gostpy.net.tasks import start_task
from gostpy.net.timers import timeout

__all__ = ["HANDSHAKE_TIMEOUT", "StackListener"]

HANDSHAKE_TIMEOUT = 15.0
"""Seconds for all handshakes of a conn together; gost has no limit here."""


class StackListener:
    """Carrier, layers and mux of one service.

    Args:
        carrier: has ``listen(accepted)``; ``accepted`` gets either (socket, peer) from carriers
            that yield sockets or (conn, None) from those that make conns themselves.
        handshake_timeout: seconds for all layers together.
    """

    def __init__(
        self,
        carrier: Any,
        layers: Sequence[Layer],
        mux: Mux | None,
        guards: Guards,
        context: Context,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        self._carrier = carrier
        self._layers = tuple(layers)
        self._mux = mux
        self._counts_streams: bool = getattr(mux, "counts_streams", False)
        self.guards = guards
        self._context = context
        self._timeout = handshake_timeout or HANDSHAKE_TIMEOUT
        self._deliver: Deliver | None = None
        self._bound: Any = None

    @property
    def address(self) -> Any:
        return self._bound.address if self._bound is not None else None

    def listen(self) -> None:
        self._bound = self._carrier.listen(self._accepted)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._bound.start()

    def adopt(self, made: Any) -> None:
        """Take over guards, router, credentials and log of a listener made with equal options."""
        self.guards = made.guards
        context, new = self._context, made._context
        context.router, context.log, context.guards = new.router, new.log, new.guards
        context.auth, context.authenticate = new.auth, new.authenticate
        context.find = new.find

    def close(self) -> None:
        if self._bound is not None:
            self._bound.close()

    def _accepted(self, sock: _socket.socket | Any, peer: Any) -> None:
        """On the hub: nothing here may block or raise."""
        if isinstance(sock, _socket.socket):
            conn = self.guards.carrier(sock, peer, not self._counts_streams)
            if conn is not None:
                start_task(self._establish, conn)
        elif self.guards.session(sock):
            start_task(self._establish, sock)
        else:
            sock.close(True)

    def _establish(self, conn: Any) -> None:
        """The conn's green thread: handshakes, then the handler."""
        deliver = self._deliver
        assert deliver is not None
        try:
            if self._layers or self.guards.has_opening:
                with timeout(self._timeout, "handshake timed out"):
                    opening = self.guards.has_opening
                    if opening and isinstance(conn, Conn):
                        self.guards.opened(conn)
                        opening = False
                    for layer in self._layers:
                        conn = layer.accept(conn) or conn
                    if opening and isinstance(conn, Conn):  # a stream that was made of datagrams
                        self.guards.opened(conn)
            if self._mux is not None:
                self._mux.serve(conn, self._stream)
                return
        except (GostError, OSError) as error:
            self._refused(conn, error)
            return
        except Exception as error:
            self._context.log.error("handshake failed", error=repr(error))
            conn.close(True)
            return
        deliver(conn)

    def _stream(self, conn: Conn) -> None:
        """On the hub: a peer opened a stream."""
        if self._counts_streams and not self.guards.stream(conn):
            conn.close(True)
        elif self._deliver is not None:
            start_task(self._deliver, conn)

    def _refused(self, conn: Any, error: Exception) -> None:
        self._context.log.warn(f"handshake: {error}", remote=conn.info.peer_address)
        conn.close()
