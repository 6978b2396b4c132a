"""What tun, tap and tungo listeners have in common: a device that is kept, and its options.

The device is the one conn of its service. When it ends (somebody deletes the interface, or the
handler gives up) an owned green thread makes it anew after a second, as gost does. Closing the
listener closes the device.

Differs   gost's tap listener goes on trying when the device cannot be made at start; here all three
          say so and the service does not start.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent.event import Event

from gostpy.addresses import ip_bytes
from gostpy.errors import ConfigError, DialFailed
from gostpy.interfaces import Context
from gostpy.net.conn import format_address
from gostpy.net.device import DeviceConn, DeviceSettings, open_device, system_routes
from gostpy.net.dial import split_address
from gostpy.net.routing import RouteEntry, RoutingTable, network_of

__all__ = ["DeviceCarrier", "interfaces_of", "routes_of", "servers_of"]

DELAY = 1.0
"""Seconds before a device that ended is made anew."""

_COMMAND_TIME = 10.0

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def interfaces_of(text: str) -> tuple[Interface, ...]:
    """The addresses of ``IP/BITS,IP/BITS``; what cannot be read is left out, as in gost."""
    found: list[Interface] = []
    for word in _words(text):
        try:
            if "/" in word:
                found.append(ipaddress.ip_interface(word))
        except ValueError:
            continue
    return tuple(found)


def servers_of(text: str) -> tuple[str, ...]:
    """The IPs of a list of DNS servers; anything else is left out."""
    return tuple(word for word in _words(text) if ip_bytes(word))


def routes_of(
    route: str, routes: Iterable[Any], gateway: str, *, names: bool = False
) -> tuple[RouteEntry, ...]:
    """The routes of ``route`` (networks with commas) and ``routes`` (``NETWORK GATEWAY`` each).

    Args:
        gateway: for those that name none.
        names: keep what is no network, for look-ups by the exact address (tun).
    """
    gateway = gateway if ip_bytes(gateway) else ""
    found = []
    for word in _words(route):
        network = network_of(word)
        if network is not None or names:
            found.append(RouteEntry(network, word, gateway))
    for line in routes:
        word, _, via = str(line).partition(" ")
        network = network_of(word)
        if network is not None and via:
            via = via.strip()
            found.append(RouteEntry(network, str(network), via if ip_bytes(via) else gateway))
    return tuple(found)


class DeviceCarrier:
    """Base of the carriers: ``settings`` and what else a name has."""

    network = "ip"
    dns: tuple[str, ...] = ()
    routing = ""

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
        self.settings = self.make_settings()
        self._table = RoutingTable(self.settings.routes)

    def make_settings(self) -> DeviceSettings:
        raise NotImplementedError

    def listen(self, accepted: Callable[[Any, Any], None]) -> _KeptDevice:
        """Make the device. Raises OSError; ConfigError: the address cannot be one."""
        try:
            split_address(self.context.address)
        except DialFailed as error:
            raise ConfigError(str(error), self.context.service) from error
        kept = _KeptDevice(self, accepted)
        kept.make()
        return kept

    def open(self) -> DeviceConn:
        """The device, with everything set. Raises OSError."""
        context, log = self.context, self.context.log
        conn = open_device(self.settings, context.sockets, log.warn)
        try:
            self._set_dns(conn.name)
        except OSError:
            conn.close()
            raise
        conn.info.local = context.address
        conn.info.facts["device"] = conn.name
        conn.gateways = self._gateways
        conn.admits = self._admits if context.guards is not None else None
        self._set_system_routes()
        networks = ", ".join(str(address) for address in self.settings.addresses)
        log.info(f"device {conn.name}: net {networks}, mtu {self.settings.mtu}")
        return conn

    def _admits(self, address: str) -> bool:
        guards = self.context.guards  # a reload replaces them
        return guards is None or guards.admits(address)

    def _gateways(self) -> RoutingTable | None:
        """The named router if there is one, else the device's own routes."""
        if self.routing and self.context.find is not None:
            found: RoutingTable | None = self.context.find("router", self.routing)
            if found is not None:
                return found
        return self._table if self.settings.routes else None

    def _set_system_routes(self) -> None:
        table = self._gateways()
        if table is None or table is self._table:
            return
        try:
            system_routes(table.routes, self.context.sockets)
        except OSError as error:
            self.context.log.warn(f"router {self.routing}: {error.strerror}")

    def _set_dns(self, name: str) -> None:
        """Raises OSError."""
        if not self.dns:
            return
        command = ["resolvectl", "dns", name, *self.dns]
        self.context.log.debug(" ".join(command))
        try:
            done = subprocess.run(command, capture_output=True, timeout=_COMMAND_TIME, check=False)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{' '.join(command)}: no end in {_COMMAND_TIME:g} s") from error
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip()
            raise OSError(f"{' '.join(command)}: {reason or done.returncode}")


class _KeptDevice:
    """A listening point with one conn at a time."""

    def __init__(self, carrier: DeviceCarrier, accepted: Callable[[Any, Any], None]) -> None:
        self.address = format_address(carrier.context.address)
        self._carrier = carrier
        self._accepted = accepted
        self._conn: DeviceConn | None = None
        self._ended = Event()
        self._closed = False
        self._keeper: Any = None

    def make(self) -> None:
        """Raises OSError."""
        self._conn = conn = self._carrier.open()
        self._ended.clear()
        conn.on_close = lambda _: self._ended.set()

    def start(self) -> None:
        if self._keeper is None and not self._closed:
            self._keeper = gevent.spawn(self._keep)

    def _keep(self) -> None:
        while True:
            if self._conn is not None:
                self._accepted(self._conn, None)
                self._ended.wait()
                self._conn = None
            gevent.sleep(DELAY)
            try:
                self.make()
            except OSError as error:
                self._carrier.context.log.error(str(error))

    def close(self) -> None:
        self._closed = True
        if self._keeper is not None:
            self._keeper.kill(block=False)
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()
