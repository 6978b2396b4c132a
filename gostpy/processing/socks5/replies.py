"""Replies that end a SOCKS 5 connection."""

from __future__ import annotations

from typing import NoReturn

from gostpy.net.conn import Conn
from gostpy.wire import socks5

__all__ = ["refuse"]


def refuse(conn: Conn, rep: int, error: BaseException) -> NoReturn:
    """Answer with a code and end the connection with ``error``."""
    conn.sendall(socks5.Reply(rep).encode())
    raise error
