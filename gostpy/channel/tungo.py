"""tungo: a TUN device whose connections the tungo handler terminates here and dials anew.

The device is that of tun; its default name is ``tungo``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.channel.tun import Carrier as TunCarrier
from gostpy.channel.tun import DeviceOptions
from gostpy.options import opt

__all__ = ["Carrier", "Options"]


@dataclass(frozen=True)
class Options(DeviceOptions):
    """Options of tungo."""

    name: str = opt("tungo", "name", "tun.name", doc="Interface name.")


class Carrier(TunCarrier):
    """Delivers the device."""
