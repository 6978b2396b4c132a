"""What both sides share: the system's own connection, and raw sockets."""

from __future__ import annotations

import _socket
import contextlib
import struct
from collections.abc import Callable
from typing import Any

from gevent import get_hub

from gostpy.net.endpoint import READ
from gostpy.net.socketfilter import attach
from gostpy.wire.rawtcp import Flow

__all__ = ["BUFFER", "VIEW", "System", "new_flow", "reason", "select", "unmapped"]

BUFFER = bytearray(65536)
VIEW = memoryview(BUFFER)

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST and keeps nothing


class System:
    """The system's own connection beside a flow: watched for its end, closed without a trace."""

    __slots__ = ("_ended", "_io", "_sock")

    def __init__(self, sock: _socket.socket, ended: Callable[[], None]) -> None:
        self._sock = sock
        self._ended = ended
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._io.start(self._readable)

    def _readable(self) -> None:
        try:
            if self._sock.recv(65536):  # arrived before the filter was there
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset, which is an end as well
        self._ended()

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._io.stop()
        self._io.close()
        # the system and the peer may disagree about numbers: nothing must be sent again and again
        self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        self._sock.close()


def select(raw: _socket.socket, program: bytes) -> None:
    """Let a new raw socket see only some segments; what it got before is thrown away."""
    attach(raw, program)
    with contextlib.suppress(BlockingIOError):
        while True:
            raw.recv_into(BUFFER)


def new_flow(family: int, local: Any, peer: Any) -> Flow:
    source, destination = (
        _socket.inet_pton(family, address[0].partition("%")[0]) for address in (local, peer)
    )
    return Flow(source, local[1], destination, peer[1])


def unmapped(address: Any) -> Any:
    """IPv4 in IPv6, as a dual-stack socket reports it, as IPv4."""
    host = str(address[0])
    if host.startswith("::ffff:") and "." in host:
        return host[7:], address[1]
    return address


def reason(error: OSError | None) -> str:
    if isinstance(error, PermissionError):
        return "raw sockets need root or CAP_NET_RAW"
    return str(getattr(error, "strerror", "") or error or "no usable address")
