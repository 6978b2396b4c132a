"""Remote bindings for many peers: a mux session on the connection that asked for it.

The side that listens is the mux *client*: it opens a stream for each peer that it accepts, and
begins it with an announcement of the peer in the words of its protocol (relay, SOCKS 5, tunnel).
The side that asked reads that, and has a conn of the peer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import spawn_raw

from gostpy.errors import ConnectionClosed, GostError
from gostpy.interfaces import Request
from gostpy.net.binding import BACKLOG, Arrivals, StreamBinding, socket_address
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.stream.mux import MuxOptions, mux_session

__all__ = ["PeersBinding", "serve_peers"]

_ANNOUNCE_TIMEOUT = 15.0
_MOST_UNANNOUNCED = 1024


def serve_peers(
    context: HandlerContext,
    conn: Conn,
    binding: StreamBinding,
    options: MuxOptions,
    request: Request,
    announce: Callable[[str], bytes],
) -> None:
    """Carry the peers of ``binding`` over ``conn`` until one of them ends; closes both.

    Args:
        request: the client's; its limits hold for each peer.
        announce: the peer's address -> the first bytes of its stream.
    """
    try:
        session = mux_session(conn, options, True)
        session.on_close = lambda _: binding.close()
        session.start()
    except BaseException:
        binding.close()
        raise
    try:
        while True:
            peer = binding.accept()
            try:
                stream = session.open()
                first = announce(peer.info.peer_address)
                if first:
                    stream.write(first)
            except (GostError, OSError):
                peer.close(True)
                raise
            target = Request(
                "tcp",
                peer.info.peer_address,
                source=request.source,
                client_id=request.client_id,
            )
            context.relay(stream, peer, target)
    except ConnectionClosed:
        pass  # the client has gone, or the session is used up
    finally:
        binding.close()
        session.close()


class PeersBinding:
    """The asking side.

    Args:
        conn: after the reply of success.
        address: where the other side listens, as a socket address.
        read_peer: takes the announcement off a stream; (peer address, host asked for or "").
    """

    def __init__(
        self,
        conn: Conn,
        address: Any,
        options: MuxOptions,
        read_peer: Callable[[Conn], tuple[str, str]],
        backlog: int = BACKLOG,
    ) -> None:
        self.address = address
        self._read_peer = read_peer
        self._arrivals = Arrivals(backlog)
        self._unannounced = 0
        self._session = mux_session(conn, options, False, self._opened)
        self._session.on_close = self._ended
        self._session.start()

    def accept(self) -> Conn:
        conn: Conn = self._arrivals.get()
        return conn

    def close(self) -> None:
        self._session.close()

    def _opened(self, stream: Conn) -> None:
        """The other side opened a stream. On the hub."""
        if self._unannounced >= _MOST_UNANNOUNCED:
            stream.close(True)
            return
        self._unannounced += 1
        spawn_raw(self._introduce, stream)

    def _introduce(self, stream: Conn) -> None:
        """The stream's green thread: learn who the peer is."""
        try:
            with timeout(_ANNOUNCE_TIMEOUT, "the peer was not announced in time"):
                peer, host = self._read_peer(stream)
            stream.info = ConnInfo(peer=socket_address(peer), local=self.address, host=host)
        except (GostError, OSError):
            stream.close(True)  # gost drops such a stream, too
            return
        finally:
            self._unannounced -= 1
        if not self._arrivals.put(stream):
            stream.close(True)

    def _ended(self, _: Any) -> None:
        for conn in self._arrivals.close():
            conn.close(True)
