"""Stand-ins for what surrounds a data channel."""

from typing import Any

from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint


class SilentLog:
    """Keeps messages for those who want to look."""

    debug_on = False

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []

    def bind(self, **fields: Any) -> "SilentLog":
        return self

    def _keep(self, level: str, message: str) -> None:
        self.messages.append((level, message))

    def trace(self, message: str, **fields: Any) -> None:
        self._keep("trace", message)

    def debug(self, message: str, **fields: Any) -> None:
        self._keep("debug", message)

    def info(self, message: str, **fields: Any) -> None:
        self._keep("info", message)

    def warn(self, message: str, **fields: Any) -> None:
        self._keep("warn", message)

    def error(self, message: str, **fields: Any) -> None:
        self._keep("error", message)


class FakeGuards:
    """Admits everything, or nothing."""

    has_opening = False

    def __init__(self) -> None:
        self.admits = True

    def carrier(self, sock: Any, peer: Any, counted: bool = True) -> Conn | None:
        if self.admits:
            return Conn(SocketEndpoint(sock), ConnInfo(peer=peer))
        sock.close()
        return None

    def session(self, conn: Any) -> bool:
        return self.admits

    def stream(self, conn: Any) -> bool:
        return self.admits

    def opened(self, conn: Conn) -> None:
        """Nothing is to be read first."""

    def logical(self, conn: Any) -> None:
        """Nothing more is asked."""
