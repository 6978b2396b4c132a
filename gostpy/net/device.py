"""TUN and TAP devices: made, given addresses and routes, and read as packet conns.

A device is a file of /dev/net/tun. TUN devices are opened with a header in front of every packet
(virtio_net_hdr), which lets whoever can use them take packets of up to 64 KiB with unfinished
checksums (``offload``); everybody else gets plain packets and never sees the header.

Everything about the interface is set by netlink, whose answers are there at once: nothing blocks.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import fcntl
import io
import ipaddress
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from gevent import get_hub

from gostpy.addresses import ip_bytes
from gostpy.errors import ConnectionClosed
from gostpy.net.conn import ConnInfo
from gostpy.net.endpoint import READ
from gostpy.net.queued import CallbackPackets
from gostpy.net.routing import RouteEntry, RoutingTable
from gostpy.net.sockopt import DEFAULT, SocketOptions, in_namespace
from gostpy.wire.offload import HEADER
from gostpy.wire.rtnetlink import add_address, read_answer, replace_route, set_link

__all__ = [
    "HEADER",
    "PARTIAL",
    "DeviceConn",
    "DeviceSettings",
    "FrameSink",
    "open_device",
    "system_routes",
]

PARTIAL = struct.pack("=BBHHHH", 1, 0, 0, 0, 20, 6), struct.pack("=BBHHHH", 1, 0, 0, 0, 40, 6)
"""Headers for UDP packets with unfinished checksums: IPv4, IPv6."""

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _TAP, _NO_PI, _VNET_HDR = 1, 2, 0x1000, 0x4000
_OFFLOADS = 1 | 2 | 4  # unfinished checksums, large TCP over IPv4 and IPv6
_NETLINK, _NETLINK_ROUTE = 16, 0
_BURST = 64
_PLAIN = bytes(HEADER)

# shared by all devices: a packet is valid during the callback
_buffer = bytearray(HEADER + 65536)
_view = memoryview(_buffer)


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What an interface is to be like.

    Attributes:
        tap: Ethernet frames instead of IP packets.
        name: empty: the system chooses.
        addresses: with the networks that they are in.
        tolerant: an address that cannot be set is told to ``warn`` and left out.
    """

    tap: bool = False
    name: str = ""
    mtu: int = 1420
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    tolerant: bool = True


class FrameSink(Protocol):
    """Gets what is read from a device with offload, in place. Runs on the hub; may not block."""

    def frame(self, frame: memoryview) -> None:
        """``HEADER`` bytes and a packet; writable, valid during the call."""
        ...

    def ended(self, error: BaseException | None) -> None: ...


class DeviceConn(CallbackPackets):
    """The packets of one device. Addresses of ``send_to`` have no meaning.

    Attributes:
        name: of the interface.
        settings: how it was made.
        gateways: the routing table beyond the interface, looked up at each use.
        admits: whether a peer (``ip:port``) may use what lies behind the device.
        lost: packets that the device did not take.
    """

    network = "ip"

    def __init__(self, file: io.FileIO, name: str, settings: DeviceSettings) -> None:
        super().__init__(ConnInfo())
        self.name = name
        self.settings = settings
        self.gateways: Callable[[], RoutingTable | None] = lambda: None
        self.admits: Callable[[str], bool] | None = None
        self.sockets: SocketOptions = DEFAULT
        self.lost = 0
        self._file = file
        self._header = 0 if settings.tap else HEADER
        self._io = get_hub().loop.io(file.fileno(), READ)
        self._frames: FrameSink | None = None
        self._burst = _BURST

    # -- in a green thread ---------------------------------------------------------------------

    def send_to(self, data: bytes, address: str = "") -> None:
        self.send_now(data)

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: Any) -> None:
        self.sink = sink
        if not self.closed and not self._hold:
            self._io.start(self._readable)

    def start_frames(self, sink: FrameSink, burst: int = _BURST) -> None:
        """Hand over packets in place from now on, large ones too, unless there is a meter: its
        limits are made for packets of the usual size.

        Args:
            burst: packets before others get their turn.

        Raises OSError: no offload.
        """
        if self.meter is None:
            fcntl.ioctl(self._file.fileno(), _TUNSETOFFLOAD, _OFFLOADS)
        self._frames = sink
        self._burst = burst
        self.start(sink)

    def _halt(self) -> None:
        if not self.closed:
            self._io.stop()

    def _go_on(self) -> None:
        super()._go_on()
        if self.sink is not None:
            self._io.start(self._readable)

    def _readable(self) -> None:
        try:
            read, head, meter = self._file.readinto, self._header, self.meter
            for _ in range(self._burst):
                size = read(_buffer)
                if size is None:
                    return
                if size <= head:
                    if not size:
                        raise ConnectionClosed("the device is gone")
                    continue
                if meter is not None and not self._received(size - head):
                    continue
                if self._frames is not None:
                    self._frames.frame(_view[:size])
                elif self.sink is not None:
                    self.sink.datagram(bytes(_view[head:size]), "")
                if self.closed or self._hold:
                    return
        except Exception as error:  # whatever it is, it ends this device, not the loop
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The device cannot be used any more."""
        self._frames = None
        self._broken(error)

    def send_now(self, data: bytes, address: str = "") -> float:
        """Packets that the system does not take, as it does with garbage, are lost."""
        return self.write((_PLAIN + data) if self._header else data)

    def write(self, frame: bytes | memoryview) -> float:
        """Write a packet with its header (a TAP device has none); see ``send_now``."""
        if self.closed:
            raise ConnectionClosed("the device is closed")
        delay = 0.0
        if self.meter is not None:
            size = len(frame) - self._header
            delay = self._sent(size)
            if delay < 0.0:
                return 0.0
        try:
            if self._file.write(frame) is None:
                self.lost += 1
        except OSError as error:
            self.lost += 1
            if error.errno in (errno.EBADFD, errno.EBADF, errno.ENODEV):
                get_hub().loop.run_callback(self.fail, error)
        return delay

    def _close(self) -> None:
        self._io.stop()
        self._io.close()
        self._file.close()
        super()._close()


def open_device(
    settings: DeviceSettings,
    options: SocketOptions = DEFAULT,
    warn: Callable[[str], Any] = lambda _: None,
) -> DeviceConn:
    """Make a device, or take one over that exists. Raises OSError."""
    with in_namespace(options.netns):
        file, name = _attach(settings)
        try:
            _configure(settings, name, warn)
        except BaseException:
            file.close()
            raise
    conn = DeviceConn(file, name, settings)
    conn.sockets = options
    return conn


def _attach(settings: DeviceSettings) -> tuple[io.FileIO, str]:
    if len(settings.name.encode()) > 15:
        raise OSError(errno.ENAMETOOLONG, f"interface name {settings.name!r} is too long")
    file = io.FileIO(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), "r+b")
    flags = (_TAP if settings.tap else _TUN | _VNET_HDR) | _NO_PI
    try:
        wanted = struct.pack("=16sH22x", settings.name.encode(), flags)
        made = fcntl.ioctl(file.fileno(), _TUNSETIFF, wanted)
        if not settings.tap:
            fcntl.ioctl(file.fileno(), _TUNSETOFFLOAD, 0)
    except OSError as error:
        file.close()
        name = settings.name or ("tap" if settings.tap else "tun")
        raise OSError(error.errno, f"device {name}: {error.strerror}") from error
    return file, made[:16].rstrip(b"\0").decode()


def _configure(settings: DeviceSettings, name: str, warn: Callable[[str], Any]) -> None:
    """In the namespace of the device."""
    index = _socket.if_nametoindex(name)
    with _netlink() as sock:
        for address in settings.addresses:
            try:
                _ask(sock, add_address(index, address), f"address {address}")
            except OSError as error:
                if not settings.tolerant:
                    raise
                warn(f"{name}: {error.strerror}")
        _ask(sock, set_link(index, mtu=settings.mtu), f"mtu {settings.mtu}, up")
        _add_routes(sock, index, settings.routes)


def _netlink() -> contextlib.closing[_socket.socket]:
    return contextlib.closing(_socket.socket(_NETLINK, _socket.SOCK_RAW, _NETLINK_ROUTE))


def _add_routes(sock: _socket.socket, index: int, routes: Iterable[RouteEntry]) -> None:
    for route in routes:
        if route.network is None:
            continue
        gateway = ip_bytes(route.gateway) or b""
        request = replace_route(route.network, gateway, 0 if gateway else index)
        _ask(sock, request, f"route {route.network} {route.gateway}".rstrip())


def _ask(sock: _socket.socket, request: bytes, what: str) -> None:
    """Send a request; the kernel has answered when that returns. Raises OSError."""
    sock.send(request)
    code = read_answer(sock.recv(4096))
    if code:
        raise OSError(code, f"{what}: {os.strerror(code)}")


def system_routes(routes: Iterable[RouteEntry], options: SocketOptions = DEFAULT) -> None:
    """Put routes that have a gateway into the system's table. Raises OSError."""
    with in_namespace(options.netns), _netlink() as sock:
        _add_routes(sock, 0, [route for route in routes if ip_bytes(route.gateway)])
