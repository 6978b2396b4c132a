"""tap: a TAP device, whose Ethernet frames go to the handler. There is no wire of its own.

Source    go-gost/x listener/tap (Linux)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.channel.device import DeviceCarrier, interfaces_of, routes_of
from gostpy.errors import ConfigError
from gostpy.net.device import DeviceSettings
from gostpy.options import no_effect, opt

__all__ = ["Carrier", "Options"]


@dataclass(frozen=True)
class Options:
    """Options of tap."""

    name: str = opt("", "name", doc="Interface name; by default the system chooses.")
    net: str = opt("", "net", doc="Address of the interface, IP/BITS.")
    mtu: int = opt(1420, "mtu", unit="bytes", positive=True, doc="Largest packet of the interface.")
    gw: str = opt("", "gw", doc="Gateway of routes that name none.")
    component_id: str = no_effect("componentID", doc="Driver component; for Windows only.")
    route: str = opt("", "route", doc="Networks routed through the interface, with commas.")
    routes: tuple[Any, ...] = opt((), "routes", doc="Routes of the form NETWORK GATEWAY.")


class Carrier(DeviceCarrier):
    """Delivers the device."""

    def make_settings(self) -> DeviceSettings:
        """Raises ConfigError: ``net`` is no address, which is an error of tap alone, as in gost."""
        options = self.options
        addresses = interfaces_of(options.net)
        if options.net and not addresses:
            raise ConfigError(f"net: {options.net!r} is not of the form IP/BITS")
        return DeviceSettings(
            tap=True,
            name=options.name,
            mtu=options.mtu,
            addresses=addresses,
            routes=routes_of(options.route, options.routes, options.gw),
            tolerant=False,
        )
