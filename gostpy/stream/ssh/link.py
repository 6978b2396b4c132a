"""A conn with SSH packets on it, as long as a green thread speaks: key exchange and login.

A session (session.py) takes over what a link has become. Until then the link stands in for the
conn in a stack of layers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from gostpy.errors import GostError, ProtocolError, Truncated
from gostpy.net.conn import Conn, ConnInfo
from gostpy.wire.codec import Buffer
from gostpy.wire.ssh.keys import ALGORITHMS, PrivateKey
from gostpy.wire.ssh.transport import PROTOCOL_ERROR, Disconnected, Transport, disconnect

__all__ = ["Link", "accept_link", "connect_link"]


class Link:
    """Messages over a conn, blocking. Attributes: ``conn`` and ``transport`` beneath."""

    def __init__(self, conn: Conn, transport: Transport) -> None:
        self.conn = conn
        self.transport = transport
        self._out: list[Buffer] = []
        self._arrived: deque[bytes] = deque()
        transport.emit = self._emit
        transport.receive = lambda payload: self._arrived.append(bytes(payload))

    @property
    def info(self) -> ConnInfo:
        return self.conn.info

    def _emit(self, head: bytes, body: bytes) -> None:
        self._out += (head, body)

    def send(self, payload: bytes) -> None:
        """Leaves with the next ``flush`` or ``read``."""
        self.transport.send(payload)

    def flush(self) -> None:
        """Send what was made. Raises OSError."""
        out = self.take_output()
        if out:
            self.conn.sendall(b"".join(out))

    def read(self) -> bytes:
        """The next message. Raises ProtocolError, OSError."""
        while not self._arrived:
            self._receive()
        return self._arrived.popleft()

    def exchange_keys(self) -> None:
        """The first key exchange. Raises ProtocolError, OSError."""
        transport = self.transport
        transport.start()
        while transport.session_id is None:
            self._receive()

    def _receive(self) -> None:
        self.flush()
        data = self.conn.recv()
        if not data:
            raise Truncated("SSH peer closed the connection during the handshake")
        self.transport.feed(data)

    def take(self) -> list[bytes]:
        """Messages that have arrived and were not read."""
        left = list(self._arrived)
        self._arrived.clear()
        return left

    def take_output(self) -> list[Buffer]:
        """What was made and has not been sent."""
        out, self._out = self._out, []
        return out

    def complain(self, error: ProtocolError, reason: int = PROTOCOL_ERROR) -> None:
        """Tell the peer why it ends, if it can be told."""
        if isinstance(error, Disconnected | Truncated):
            return
        try:
            self.transport.emit(*self.transport.seal(disconnect(reason, str(error))))
            self.flush()
        except (GostError, OSError):
            self._out.clear()  # the peer does not listen: the first error is what counts

    def close(self, now: bool = False) -> None:
        self.conn.close(now)


def accept_link(conn: Conn, host_key: PrivateKey) -> Link:
    """The serving side, up to the first keys. Raises ProtocolError, OSError."""
    return _started(Link(conn, Transport(host_key)))


def connect_link(
    conn: Conn,
    check_host: Callable[[bytes], None] | None = None,
    host_algorithms: Sequence[str] = ALGORITHMS,
) -> Link:
    """The asking side; see :class:`Transport` for the arguments. Raises ProtocolError, OSError."""
    transport = Transport(check_host=check_host, host_algorithms=host_algorithms)
    return _started(Link(conn, transport))


def _started(link: Link) -> Link:
    try:
        link.exchange_keys()
    except ProtocolError as error:
        link.complain(error)
        raise
    return link
