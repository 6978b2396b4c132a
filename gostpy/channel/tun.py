"""tun: a TUN device, whose IP packets go to the handler. There is no wire of its own.

Source    go-gost/x listener/tun (Linux)
Differs   none known on Linux; there is nothing for other systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.channel.device import DeviceCarrier, interfaces_of, routes_of, servers_of
from gostpy.interfaces import Context
from gostpy.net.device import DeviceSettings
from gostpy.options import no_effect, opt

__all__ = ["Carrier", "DeviceOptions", "Options"]


@dataclass(frozen=True)
class DeviceOptions:
    """Options of tun and tungo."""

    name: str = opt("", "name", "tun.name", doc="Interface name; by default the system chooses.")
    peer: str = no_effect("peer", "tun.peer", doc="Peer address; for macOS only.")
    mtu: int = opt(
        1420, "mtu", "tun.mtu", unit="bytes", positive=True, doc="Largest packet of the interface."
    )
    gw: str = opt("", "gw", "tun.gw", doc="Gateway of routes that name none.")
    net: str = opt("", "net", "tun.net", doc="Addresses of the interface, IP/BITS with commas.")
    route: str = opt(
        "", "route", "tun.route", doc="Networks routed through the interface, with commas."
    )
    routes: tuple[Any, ...] = opt(
        (), "routes", "tun.routes", doc="Routes of the form NETWORK GATEWAY."
    )
    dns: str = opt(
        "", "dns", "tun.dns", doc="DNS servers of the interface, with commas (by resolvectl)."
    )
    guid: str = no_effect("guid", "tun.guid", doc="Adapter GUID; for Windows only.")


@dataclass(frozen=True)
class Options(DeviceOptions):
    """Options of tun."""

    router: str = opt(
        "",
        "router",
        "tun.router",
        doc="Name of a router: which gateway, and so which peer, a network lies behind.",
    )


class Carrier(DeviceCarrier):
    """Delivers the device."""

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.dns = servers_of(options.dns)
        self.routing = getattr(options, "router", "")

    def make_settings(self) -> DeviceSettings:
        options = self.options
        return DeviceSettings(
            name=options.name,
            mtu=options.mtu,
            addresses=interfaces_of(options.net),
            routes=routes_of(options.route, options.routes, options.gw, names=True),
        )
