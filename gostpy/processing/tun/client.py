"""The client's side of tun: the device's packets go to one server, dialed by way of the chain.

A target with a port is dialed by udp, and told who has which addresses; any other is a name for the
router connector (network ``ip``). What ends is dialed anew after a second.
"""

from __future__ import annotations

from typing import Any, Protocol

from gostpy.errors import ConfigError, ConnectionClosed
from gostpy.net.device import DeviceConn
from gostpy.net.keepalive import KeepAlive
from gostpy.net.packet import PacketConn
from gostpy.processing.context import HandlerContext
from gostpy.processing.tun.link import DeviceLost, Link, packets_of
from gostpy.wire.ip import addresses
from gostpy.wire.tun import Registration, is_acknowledgement

__all__ = ["Client"]

PATIENCE = 3
"""Intervals of keepalive without an answer that end a link."""


class _Options(Protocol):
    keepalive: bool
    ttl: float
    token: str


class Client:
    """One device, one server."""

    def __init__(
        self, options: Any, context: HandlerContext, device: DeviceConn, target: str
    ) -> None:
        self._options: _Options = options
        self._context = context
        self._device = device
        self._target = target
        host, colon, port = target.rpartition(":")
        bare = ":" in host and not host.endswith("]")
        self._network = "udp" if colon and port and not bare else "ip"
        self._link: Link | None = None
        self._heard = False

    def run(self) -> None:
        """Dial once, and carry packets until that ends. Raises GostError, OSError, DeviceLost."""
        own = [address.ip.packed for address in self._device.settings.addresses]
        if not own:  # as in gost, which needs to know them for the registration
            raise DeviceLost from ConfigError("a tun client needs net, the addresses of its device")
        context, device = self._context, self._device
        request = context.request(device, self._network, self._target)
        conn = context.dial(request)
        packets = packets_of(conn)
        link = self._link = Link(device, packets, self._inward, self._outward)
        context.log.debug(f"{device.name} >> {self._target}/{self._network}")
        keeping: KeepAlive | None = None
        if self._network == "udp":
            registration = Registration(self._options.token.encode(), tuple(own)).encode()
            packets.send_now(registration)
            if self._options.keepalive:
                keeping = self._keep(link, packets, registration)
        try:
            link.run()
        finally:
            self._link = None
            if keeping is not None:
                keeping.cancel()

    def _keep(self, link: Link, packets: PacketConn, registration: bytes) -> KeepAlive:
        """Register every ``ttl`` from now on."""

        def register() -> None:
            try:
                packets.send_now(registration)
            except (ConnectionClosed, OSError) as error:
                link.end(error)

        def give_up(silence: float) -> None:
            link.end(TimeoutError(f"no answer from {self._target} in {silence:g} s"))

        self._heard = False
        ttl = self._options.ttl
        limit = (PATIENCE - 0.01) * ttl  # sums of fractions are not exact
        return KeepAlive(ttl, self._was_heard, register, give_up, limit=limit)

    def _was_heard(self) -> bool:
        """An acknowledgement has come since the last time."""
        heard, self._heard = self._heard, False
        return heard

    def _inward(self, packets: list[bytes]) -> float:
        """From the device; the system makes no packets that are wrong."""
        link = self._link
        return link.send(packets) if link is not None else 0.0

    def _outward(self, data: bytes, _: str) -> float:
        """From the server."""
        if is_acknowledgement(data):
            self._heard = True
        elif addresses(data) is not None and self._link is not None:
            return self._link.deliver(data)
        return 0.0
