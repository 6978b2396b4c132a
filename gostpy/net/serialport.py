"""Serial ports as byte streams.

An address is ``PORT[,BAUD[,PARITY]]``: 9600 baud without parity by default, 8 data bits and 1 stop
bit always; parity is odd, even, mark, space, or its first letter.

Differs   gost takes a baud rate that it cannot read for none, an unknown parity for no parity, and
          more than three parts for COM1; here they are errors. A port that another gostpy has open
          is busy. gost cuts read timeouts to 25.5 s.
"""

from __future__ import annotations

import _socket
import errno
import io
import os
import termios
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gostpy.errors import ConfigError, ConnectionClosed, DialFailed, MissingExtra
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import SocketEndpoint
from gostpy.wire.codec import Buffer

__all__ = ["SerialEndpoint", "SerialPort", "open_serial", "require_serial"]

_PARITY = {"odd": "O", "even": "E", "mark": "M", "space": "S", "none": "N"}
_WORD = {letter: word for word, letter in _PARITY.items() if letter != "N"}


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port and its line settings.

    Attributes:
        parity: a letter, ``N O E M S``.
    """

    name: str
    baud: int = 9600
    parity: str = "N"

    @classmethod
    def parse(cls, address: str) -> SerialPort:
        """Raises ConfigError."""
        name, _, rest = address.partition(",")
        baud, _, parity = rest.partition(",")
        if not name:
            raise ConfigError("a serial port needs a name such as /dev/ttyUSB0")
        port = cls(name)
        if baud:
            if not (baud.isascii() and baud.isdigit() and 0 < int(baud) < 1 << 31):
                raise ConfigError(f"serial port {name}: bad baud rate {baud!r}")
            port = replace(port, baud=int(baud))
        if parity:
            word = parity.lower()
            letter = _PARITY.get(word) or (word.upper() if word.upper() in _WORD else "")
            if not letter:
                raise ConfigError(f"serial port {name}: unknown parity {parity!r}")
            port = replace(port, parity=letter)
        return port

    def __str__(self) -> str:
        parity = _WORD.get(self.parity, "")
        return f"{self.name},{self.baud}" + (f",{parity}" if parity else "")


def require_serial(where: str = "") -> Any:
    """The library. Raises MissingExtra."""
    try:
        import serial
    except ModuleNotFoundError as error:
        raise MissingExtra("serial", "a serial port", where) from error
    return serial


def open_serial(address: str, *, silence: float = 0.0, local: str = "@") -> Conn:
    """Open a port. Raises DialFailed, ConfigError, MissingExtra.

    Args:
        silence: seconds without a byte from the port that end the conn; 0 = never.
        local: what the conn shows as its own address.
    """
    library = require_serial()
    port = SerialPort.parse(address)
    try:
        with library.Serial(
            port.name, port.baud, parity=port.parity, timeout=0, write_timeout=0, exclusive=True
        ) as device:
            settings = termios.tcgetattr(device.fileno())
            settings[6][termios.VMIN] = 1  # without, nothing to read looks like the end
            termios.tcsetattr(device.fileno(), termios.TCSANOW, settings)
            descriptor = os.dup(device.fileno())  # its settings and its lock stay
    except (OSError, ValueError, OverflowError, termios.error) as error:
        raise DialFailed(f"serial port {port.name}: {_reason(error)}", address=address) from error
    return Conn(SerialEndpoint(descriptor, silence), ConnInfo(peer=address, local=local))


def _reason(error: Exception) -> str:
    if isinstance(error, termios.error):
        return f"it cannot be set so: {error.args[-1]}"
    code = getattr(error, "errno", None) or 0
    if code in (errno.EAGAIN, errno.EBUSY):
        return "busy"
    return os.strerror(code) if code else str(error)


class SerialEndpoint(SocketEndpoint):
    """An open port. Its end is that of both directions.

    Attributes:
        finished: called once, when the port has been closed.
    """

    __slots__ = ("_heard", "_silence", "_timer", "finished")

    can_half = False

    def __init__(self, descriptor: int, silence: float = 0.0) -> None:
        made: Any = _Device(descriptor)
        super().__init__(made)
        self.finished: Callable[[], Any] | None = None
        self._silence = 0.0
        self._heard = 0.0
        self._timer: timers.Entry | None = None
        self.limit(silence)

    def limit(self, silence: float) -> None:
        """End the conn after that many seconds without a byte from the port; 0 = never."""
        self._silence = max(silence, 0.0)
        self._heard = timers.now()
        if self._silence and self._timer is None:
            self._timer = timers.after(self._silence, self._look)

    def _look(self) -> None:
        self._timer = None
        left = self._silence - (timers.now() - self._heard)
        conn = self.conn
        if conn is None or not self._silence:
            return
        if left > 0.0:
            self._timer = timers.after(left, self._look)
        elif conn.sink is not None:
            self.pause()
            conn.eof()
        else:
            conn.close()

    def recv(self) -> Buffer:
        data = super().recv()
        self._heard = timers.now()
        return data

    def _readable(self) -> None:
        self._heard = timers.now()
        super()._readable()

    def shut(self) -> None:
        """A line has no end of its own to tell."""

    def close(self, now: bool = False) -> None:
        super().close(now)
        if self.sock.closed:  # type: ignore[attr-defined]
            if self._timer is not None:
                self._timer.cancel()
            finished, self.finished = self.finished, None
            if finished is not None:
                finished()


class _Device:
    """What a SocketEndpoint needs of a socket, over an open port."""

    __slots__ = ("_file",)

    def __init__(self, descriptor: int) -> None:
        # closes at once; os.close, when patched, may wait for the loop, which we may be on
        self._file = io.FileIO(descriptor, "r+b")

    @property
    def closed(self) -> bool:
        return self._file.closed

    def fileno(self) -> int:
        return self._file.fileno()

    def recv_into(self, buffer: bytearray) -> int:
        return os.readv(self._file.fileno(), [buffer])

    def send(self, data: Any) -> int:
        if self._file.closed:
            raise ConnectionClosed("the serial port is closed")
        return os.write(self._file.fileno(), data)

    def shutdown(self, how: int = _socket.SHUT_WR) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        self._file.close()
