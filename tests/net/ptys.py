"""Pseudo terminals as serial ports: the test holds the other end of the line."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gevent.os import make_nonblocking, nb_read, nb_write

from gostpy.net.timers import timeout
from tests.engine.running import eventually


class Line:
    """A port (``name``) and the far end of its line."""

    def __init__(self) -> None:
        self.far, near = os.openpty()
        self.name = os.ttyname(near)
        tty.setraw(near)
        self._near = near  # kept: without it the far end is hung up before the port is opened
        make_nonblocking(self.far)

    def send(self, data: bytes) -> None:
        while data:
            data = data[nb_write(self.far, data) :]

    def receive(self, size: int) -> bytes:
        data = b""
        with timeout(5, "nothing on the line"):
            while len(data) < size:
                data += nb_read(self.far, size - len(data))
        return data

    def wake(self, other: Line) -> None:
        """Send dots until some arrive at the other port: what comes before both are open is
        thrown away by their opening."""

        def awake() -> bytes:
            os.write(self.far, b".")
            try:
                return os.read(other.far, 1)
            except BlockingIOError:
                return b""

        eventually(awake)
        self.send(b"|")
        while other.receive(1) != b"|":
            pass

    def settings(self) -> list[Any]:
        """As of ``termios.tcgetattr``."""
        return termios.tcgetattr(self._near)

    def hang_up(self) -> None:
        """The device is pulled out."""
        if self.far >= 0:
            os.close(self.far)
            os.close(self._near)
            self.far = -1


@contextmanager
def lines(count: int) -> Iterator[list[Line]]:
    made = [Line() for _ in range(count)]
    try:
        yield made
    finally:
        for line in made:
            line.hang_up()
