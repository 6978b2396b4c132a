"""A TUN or TAP device that a test plays: a pair of datagram sockets in place of /dev/net/tun."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent

from gostpy.net.device import HEADER, DeviceConn, DeviceSettings
from gostpy.net.routing import RouteEntry, RoutingTable, network_of
from gostpy.processing.context import HandlerContext
from tests.channel.fakes import SilentLog

__all__ = ["PlayedDevice", "eventually", "udp_socket"]


class _Device(DeviceConn):
    """Its offload needs no system call."""

    def start_frames(self, sink: Any, burst: int = 64) -> None:
        self._frames = sink
        self.start(sink)


class PlayedDevice:
    """The kernel's side of a device, and the conn of its other side."""

    def __init__(self, *nets: str, tap: bool = False, local: str = "127.0.0.1:0") -> None:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for sock in (ours, self.kernel):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.kernel.settimeout(10)
        ours.setblocking(False)
        interfaces = tuple(ipaddress.ip_interface(net) for net in nets)
        settings = DeviceSettings(tap=tap, name="played0", addresses=interfaces)
        self.conn = _Device(io.FileIO(ours.detach(), "r+b"), "played0", settings)
        self.conn.info.local = local
        self._head = 0 if tap else HEADER
        self.log = SilentLog()

    def routes(self, *routes: tuple[str, str]) -> None:
        table = RoutingTable(RouteEntry(network_of(net), net, via) for net, via in routes)
        self.conn.gateways = lambda: table

    def says(self, packet: bytes, header: bytes = b"") -> None:
        """The system sends a packet into the device."""
        self.kernel.send((header or bytes(self._head)) + packet)

    def hears(self) -> bytes:
        """The next packet that comes out of the device."""
        return self.kernel.recv(70000)[self._head :]

    def silent(self) -> bool:
        """Nothing comes out, even after what is due now is done."""
        for _ in range(5):
            gevent.sleep(0)
        self.kernel.setblocking(False)
        try:
            self.kernel.recv(70000)
        except BlockingIOError:
            return True
        finally:
            self.kernel.settimeout(10)
        return False

    @contextlib.contextmanager
    def served(self, handler: Any, options: Any, **context: Any) -> Iterator[Any]:
        """Run a handler on the device; yields it."""
        made = handler(options, HandlerContext("test", self.log, **context))
        thread = gevent.spawn(made.handle, self.conn)
        try:
            yield made
        finally:
            self.conn.close()
            self.kernel.close()
            thread.join(10)
            assert thread.dead
            if thread.exception is not None:
                raise thread.exception


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def eventually(check: Callable[[], Any], what: str = "") -> Any:
    """Wait until something holds; returns it."""
    with gevent.Timeout(10, AssertionError(what or "it never happened")):
        while not (found := check()):
            gevent.sleep(0.005)
    return found
