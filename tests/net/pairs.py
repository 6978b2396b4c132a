"""Two conns joined back to back."""

import _socket

from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint


def socket_pair() -> tuple[Conn, Conn]:
    """Two conns over a pair of Unix sockets."""
    conns = []
    for sock in _socket.socketpair():
        sock.setblocking(False)
        conns.append(Conn(SocketEndpoint(sock), ConnInfo(peer="pair", local="pair")))
    return conns[0], conns[1]
