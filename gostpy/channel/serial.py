"""serial: a serial port as one connection. The address is ``PORT[,BAUD[,PARITY]]``; needs pyserial.

The listener delivers one conn and opens the port again, after a second, when that has ended or the
port could not be opened: busy, not there yet, gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.errors import GostError
from gostpy.interfaces import Context
from gostpy.net import timers
from gostpy.net.serialport import SerialEndpoint, SerialPort, open_serial, require_serial
from gostpy.net.tasks import start_task
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions"]

AGAIN = 1.0
"""Seconds until the port is opened again."""


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has no options."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    timeout: float = opt(
        0.0,
        "timeout",
        "serial.timeout",
        "listener.serial.timeout",
        kind="duration",
        doc="Silence of the port that ends its connection; 0 = never.",
    )


class Carrier:
    """Delivers the port as a conn, again and again; dialing one is the route's business.

    Raises MissingExtra, ConfigError.
    """

    network = "serial"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
        require_serial()
        SerialPort.parse(context.address)

    def listen(self, accepted: Callable[[Any, Any], None]) -> _Port:
        return _Port(self.context, self.options.timeout, accepted)


class _Port:
    """The listening point: one conn at a time."""

    def __init__(
        self, context: Context, silence: float, accepted: Callable[[Any, Any], None]
    ) -> None:
        self.address = context.address
        self._log = context.log
        self._silence = silence
        self._accepted = accepted
        self._closed = False
        self._complaint = ""

    def start(self) -> None:
        if not self._closed:
            start_task(self._open)

    def _open(self) -> None:
        if self._closed:
            return
        try:
            conn = open_serial(self.address, silence=self._silence)
        except GostError as error:
            if str(error) != self._complaint:  # said once, not every second
                self._complaint = str(error)
                self._log.error(self._complaint)
            timers.after(AGAIN, self.start)
            return
        self._complaint = ""
        conn.info.peer, conn.info.local = "@", self.address
        assert isinstance(conn.endpoint, SerialEndpoint)
        conn.endpoint.finished = self._finished
        self._accepted(conn, None)

    def _finished(self) -> None:
        timers.after(AGAIN, self.start)

    def close(self) -> None:
        self._closed = True
