"""stdio: standard input and output as one connection (gost 3.3), made for ssh's ProxyCommand.

There is exactly one conn; when it ends there is nothing left to serve, and the process exits with
status 0. Logs must go to standard error, which is the default.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import get_hub, spawn

from gostpy.interfaces import Context
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import WRITE, SocketEndpoint

__all__ = ["Carrier", "Options", "PairEndpoint"]

READER, WRITER = 0, 1


@dataclass(frozen=True)
class Options:
    """There are no options."""


class Carrier:
    """Delivers the one conn.

    Args:
        finished: called when the conn has ended; by default it ends the process.
    """

    network = "stdio"

    def __init__(
        self, options: Options, context: Context, finished: Callable[[], Any] | None = None
    ) -> None:
        self.options = options
        self.context = context
        self._finished = finished if finished is not None else _exit

    def listen(self, accepted: Callable[[Any, Any], None]) -> _Single:
        return _Single(accepted, self._finished, READER, WRITER)


def _exit() -> None:
    """Leave by way of the main green thread, so that its clean-up runs."""
    spawn(sys.exit, 0)


class _Single:
    """A listening point with one conn."""

    address = "stdio"

    def __init__(
        self,
        accepted: Callable[[Any, Any], None],
        finished: Callable[[], Any],
        reader: int,
        writer: int,
    ) -> None:
        self._accepted: Callable[[Any, Any], None] | None = accepted
        self._finished = finished
        self._descriptors = reader, writer

    def start(self) -> None:
        accepted, self._accepted = self._accepted, None
        if accepted is None:
            return
        endpoint = PairEndpoint(*self._descriptors)
        endpoint.finished = self._finished
        accepted(Conn(endpoint, ConnInfo(peer="pipe", local="stdio")), None)

    def close(self) -> None:
        self._accepted = None


class PairEndpoint(SocketEndpoint):
    """Two file descriptors, one to read from and one to write to. It closes the writing one at the
    end, and gives the reading one its blocking mode back."""

    __slots__ = ("finished",)

    def __init__(self, reader: int, writer: int) -> None:
        pair: Any = _Pair(reader, writer)
        super().__init__(pair)
        self._wio = get_hub().loop.io(writer, WRITE)
        self.finished: Callable[[], Any] | None = None

    def close(self, now: bool = False) -> None:
        super().close(now)
        if self.sock.closed:  # type: ignore[attr-defined]
            finished, self.finished = self.finished, None
            if finished is not None:
                finished()


class _Pair:
    """What a SocketEndpoint needs of a socket, over two descriptors."""

    __slots__ = ("_blocking", "_output", "closed", "reader")

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        # closes at once; os.close, when patched, may wait for the loop, which we may be on
        self._output = io.FileIO(writer, "wb")
        self.closed = False
        self._blocking = os.get_blocking(reader)
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def fileno(self) -> int:
        return self.reader

    def recv_into(self, buffer: bytearray) -> int:
        return os.readv(self.reader, [buffer])

    def send(self, data: Any) -> int:
        if self._output.closed:
            raise BrokenPipeError("the output is closed")
        return os.write(self._output.fileno(), data)

    def shutdown(self, how: int) -> None:
        self._output.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.shutdown(1)
        os.set_blocking(self.reader, self._blocking)
