"""The server's side of tun: one UDP socket for many clients, who are known by their addresses.

A packet for an address that a client registered goes to that client, also from client to client;
one for a network behind a registered gateway (the device's routes, or its ``router``) likewise;
everything else goes to the device. ``p2p``: all that comes goes to the device, and all that the
device says to whoever registered last.

Bounds: ``MOST_ADDRESSES`` registered addresses, the oldest goes first; a bounded number of
registrations at a time is checked by the auther.
"""

from __future__ import annotations

from typing import Any, Protocol

from gostpy.addresses import ip_text
from gostpy.errors import GostError, ProtocolError
from gostpy.net.device import DeviceConn
from gostpy.net.packet import listen_udp
from gostpy.net.tasks import start_task
from gostpy.processing.context import HandlerContext
from gostpy.processing.tun.link import Link, Peers, packets_of
from gostpy.wire.ip import addresses
from gostpy.wire.tun import Registration, acknowledgement, is_registration

__all__ = ["Server"]

MOST_ADDRESSES = 65536
MOST_CHECKS = 64
_ANYBODY = b""
"""The key of the one peer in p2p mode."""


class _Options(Protocol):
    p2p: bool


class Server:
    """One device, many clients."""

    def __init__(self, options: Any, context: HandlerContext, device: DeviceConn) -> None:
        self._options: _Options = options
        self._context = context
        self._device = device
        self._own = {address.ip.packed for address in device.settings.addresses}
        self._clients: dict[bytes, str] = {}
        self._gateway_of: Any = None
        self._link: Link | None = None
        self._checks = 0
        self._peers = Peers(device)
        # gost: anybody may send anything as soon as the socket is open
        self._closed = context.authenticate is not None and not context.strict

    @property
    def clients(self) -> dict[bytes, str]:
        """Packed inner address -> ``host:port`` of the client."""
        return self._clients

    def run(self) -> None:
        """Listen, and carry packets until the socket or the device ends.

        Raises OSError, GostError, DeviceLost.
        """
        device = self._device
        packets = packets_of(listen_udp(str(device.info.local), self._context.sockets))
        self._context.log.debug(f"{device.name} at {packets.info.local[:2]}")
        self._link = Link(device, packets, self._inward, self._outward)
        self._link.run()

    # -- routes --------------------------------------------------------------------------------

    def _client_for(self, target: bytes) -> str | None:
        clients = self._clients
        if self._options.p2p:
            return clients.get(_ANYBODY)
        found = clients.get(target)
        if found is not None:
            return found
        table = self._device.gateways()
        gateway = table.gateway(target) if table is not None else b""
        return clients.get(gateway) if gateway else None

    def _inward(self, packets: list[bytes]) -> float:
        """From the device; all of them have the same addresses."""
        found = addresses(packets[0])
        client = self._client_for(found[1]) if found is not None else None
        if client is None or self._link is None:
            return 0.0
        return self._link.send(packets, client)

    def _outward(self, data: bytes, sender: str) -> float:
        """From the socket."""
        if not self._peers.admitted(sender):
            return 0.0
        if is_registration(data):
            self._registered(data, sender)
            return 0.0
        found = addresses(data)
        if found is None:
            return 0.0
        source, target = found
        link = self._link
        if self._closed and self._client_for(source) != sender:
            return 0.0
        if not (self._options.p2p or target in self._own):
            client = self._client_for(target)
            if client is not None:
                return link.packets.send_now(data, client) if link is not None else 0.0
        return link.deliver(data) if link is not None else 0.0

    # -- registration --------------------------------------------------------------------------

    def _registered(self, data: bytes, sender: str) -> None:
        try:
            registration = Registration.read(data)
        except ProtocolError:
            return
        if not self._own.isdisjoint(registration.addresses):
            return  # our own addresses are nobody else's
        if self._context.authenticate is None:
            self._learn(registration, sender)
        elif self._checks < MOST_CHECKS:
            self._checks += 1
            start_task(self._check, registration, sender)

    def _check(self, registration: Registration, sender: str) -> None:
        """In a green thread: the auther may ask somebody else."""
        try:
            authenticate = self._context.authenticate
            assert authenticate is not None
            password = registration.passphrase.decode("utf-8", "replace")
            for address in registration.addresses:
                if authenticate(ip_text(address), password, sender) is None:
                    self._context.log.debug(f"registration of {sender} refused")
                    return
            self._learn(registration, sender)
        except GostError as error:
            self._context.log.warn(f"registration of {sender}: {error}")
        except Exception as error:  # a plugin went wrong: nobody is let in
            self._context.log.error(f"registration of {sender}: {error!r}")
        finally:
            self._checks -= 1

    def _learn(self, registration: Registration, sender: str) -> None:
        clients, link = self._clients, self._link
        if link is None or link.packets.closed:
            return
        try:
            link.packets.send_now(acknowledgement(sender.rpartition(":")[0].strip("[]")), sender)
        except (GostError, OSError) as error:
            self._context.log.warn(f"registration of {sender}: {error}")
            return
        keys = (_ANYBODY,) if self._options.p2p else registration.addresses
        for key in keys:
            before = clients.pop(key, "")  # the latest is at the end
            if before != sender and self._context.log.debug_on:
                name = ip_text(key) if key else "peer"
                self._context.log.debug(f"route {name} -> {sender}", old=before)
            while len(clients) >= MOST_ADDRESSES:
                del clients[next(iter(clients))]
            clients[key] = sender
