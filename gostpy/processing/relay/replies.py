"""Replies that end a relay connection."""

from __future__ import annotations

from typing import NoReturn

from gostpy.net.conn import Conn
from gostpy.wire import relay

__all__ = ["refuse"]


def refuse(conn: Conn, status: int, error: BaseException) -> NoReturn:
    """Answer with a status and end the connection with ``error``."""
    conn.sendall(relay.Response(status).encode())
    raise error
