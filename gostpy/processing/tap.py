"""tap: carries the Ethernet frames of a TAP device to other tap nodes, one in a datagram.

With a forwarder it is a client, which sends all frames to that node; without one a server: a switch
that learns which MAC address is behind which client, and whose last port is the device.

Wire      a bare Ethernet frame; with credentials (user: the method) a Shadowsocks packet without
          an address: SALT | AEAD(frame)
Source    go-gost/x handler/tap; shadowsocks/go-shadowsocks2 shadowaead/packet.go
Differs   frames to a group of stations are flooded like broadcasts (gost drops them, and IPv6 with
          them); one copy goes to each client, not one per MAC address; frames that are cut off,
          or do not authenticate, are dropped (gost crashes, or starts the socket anew); the
          process does not exit when the device is gone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from gostpy.errors import ConfigError, ConnectionClosed, GostError, ProtocolError
from gostpy.net import timers
from gostpy.net.conn import format_address
from gostpy.net.device import DeviceConn
from gostpy.net.dial import resolve, split_address
from gostpy.net.packet import PacketConn, listen_udp
from gostpy.net.wrapped import WrappedPackets
from gostpy.options import opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.shadowsocks import replayed_salts
from gostpy.processing.tun.link import DeviceLost, Link, Peers, packets_of, rest
from gostpy.wire.shadowsocks.methods import METHODS, InvalidTag, Secret, secret
from gostpy.wire.shadowsocks.salts import SaltFilter

__all__ = ["Handler", "HandlerOptions"]

MOST_STATIONS = 4096
"""MAC addresses that are known at a time; the one not heard of for longest goes first."""

_SMALLEST = 14
_DELAYS = (1.0, 2.0, 4.0, 6.0)
_ALIASES = {
    "aead_aes_128_gcm": "aes-128-gcm",
    "aead_aes_192_gcm": "aes-192-gcm",
    "aead_aes_256_gcm": "aes-256-gcm",
    "aead_chacha20_poly1305": "chacha20-ietf-poly1305",
}


@dataclass(frozen=True)
class HandlerOptions:
    """Options of tap."""

    key: str = opt("", "key", doc="Key of the packet cipher itself, instead of a password.")


class _Sealed(WrappedPackets):
    """Datagrams, each of which is a Shadowsocks packet without an address."""

    def __init__(self, inner: PacketConn, key: Secret, salts: SaltFilter | None) -> None:
        super().__init__(inner, inner.info)
        self._secret = key
        self._salts = salts
        method = key.method
        self._nonce = bytes(method.nonce_size)
        self._salt_size = method.salt_size
        self._least = method.salt_size + method.tag_size

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        if len(data) < self._least:
            return None
        salt = data[: self._salt_size]
        try:
            plain = self._secret.session(salt).decrypt(self._nonce, data[self._salt_size :], None)
        except InvalidTag:
            return None
        if self._salts is not None and self._salts.repeated(salt):
            return None
        return plain, address

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        salt = os.urandom(self._salt_size)
        if self._salts is not None:
            self._salts.add(salt)
        return salt + self._secret.session(salt).encrypt(self._nonce, data, None), address


class Handler:
    """Serves a device until it is gone.

    Raises ConfigError: an unknown method, or a key that does not fit it.
    """

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._secret = _secret_of(context, options.key)
        self._salts = replayed_salts(self._secret) if self._secret is not None else None

    def handle(self, conn: DeviceConn) -> None:
        """Raises ProtocolError: the conn is no TAP device. Ends with the device."""
        if not isinstance(conn, DeviceConn) or not conn.settings.tap:
            raise ProtocolError("the tap handler needs the tap listener")
        hop = self.context.hop
        node = hop.select(self.context.request(conn, "udp", "")) if hop is not None else None
        target = str(getattr(node, "address", "")) if node is not None else ""
        failures = 0
        while not conn.closed:
            started = timers.now()
            try:
                self._run(conn, target)
            except DeviceLost as error:
                if error.__cause__ is not None:
                    self.context.log.error(f"device {conn.name}: {error.__cause__}")
                return
            except (GostError, OSError) as error:
                self.context.log.error(str(error) or type(error).__name__)
            if timers.now() - started > _DELAYS[-1]:
                failures = 0
            rest(conn, _DELAYS[min(failures, len(_DELAYS) - 1)])
            failures += 1

    def _run(self, device: DeviceConn, target: str) -> None:
        """Open the datagram side, and carry frames until it ends."""
        if not target:
            bound = listen_udp(str(device.info.local), self.context.sockets)
            packets = self._protect(packets_of(bound))
            switch = Switch(device, packets)
            Link(device, packets, switch.inward, switch.outward).run()
            return
        host, port = split_address(target)
        address = format_address(resolve(host, port)[0][1][:2])
        dialed = packets_of(self.context.dial(self.context.request(device, "udp", "")))
        packets = self._protect(dialed)

        def inward(frame: bytes) -> float:
            return packets.send_now(frame, address)

        def outward(frame: bytes, _: str) -> float:
            return device.send_now(frame) if len(frame) >= _SMALLEST else 0.0

        Link(device, packets, inward, outward).run()

    def _protect(self, packets: PacketConn) -> PacketConn:
        if self._secret is None:
            return packets
        return _Sealed(packets, self._secret, self._salts)


class Switch:
    """Which MAC address is behind which client."""

    def __init__(self, device: DeviceConn, packets: PacketConn) -> None:
        self._device = device
        self._packets = packets
        self._stations: dict[bytes, str] = {}
        self._peers = Peers(device)

    @property
    def stations(self) -> dict[bytes, str]:
        """MAC address -> ``host:port``."""
        return self._stations

    def inward(self, frame: bytes) -> float:
        """From the device."""
        if len(frame) < _SMALLEST:
            return 0.0
        if frame[0] & 1:
            return self._flood(frame, "")
        client = self._stations.get(frame[:6])
        return self._packets.send_now(frame, client) if client is not None else 0.0

    def outward(self, frame: bytes, sender: str) -> float:
        """From a client."""
        if len(frame) < _SMALLEST or not self._peers.admitted(sender):
            return 0.0
        source = frame[6:12]
        if not source[0] & 1:  # a group is nobody's address
            self._learn(source, sender)
        if frame[0] & 1:
            self._flood(frame, sender)
            return self._device.send_now(frame)
        client = self._stations.get(frame[:6])
        if client is not None:
            return self._packets.send_now(frame, client) if client != sender else 0.0
        return self._device.send_now(frame)

    def _learn(self, source: bytes, sender: str) -> None:
        stations = self._stations
        if stations.pop(source, None) is None and len(stations) >= MOST_STATIONS:
            del stations[next(iter(stations))]
        stations[source] = sender

    def _flood(self, frame: bytes, sender: str) -> float:
        """To every client but the one that it is from."""
        delay = 0.0
        for client in set(self._stations.values()):
            if client != sender:
                try:
                    delay = max(delay, self._packets.send_now(frame, client))
                except ConnectionClosed:
                    raise
                except (GostError, OSError):
                    continue  # this client does not get it, the others do
        return delay


def _secret_of(context: HandlerContext, key: str) -> Secret | None:
    """The packet cipher; None without credentials. Raises ConfigError."""
    name, password = context.auth.username.lower(), context.auth.password
    if not name or not password or name == "dummy":
        return None
    name = _ALIASES.get(name, name)
    method = METHODS.get(name)
    if method is None or method.edition != "classic":
        known = ", ".join(each for each, one in METHODS.items() if one.edition == "classic")
        raise ConfigError(f"method {name!r} is not for frames; known: {known}", "auth")
    if not key:
        return secret(name, password, "auth")
    raw = key.encode()
    if len(raw) != method.key_size:
        raise ConfigError(f"key: {len(raw)} bytes, {name} needs {method.key_size}", "metadata")
    return Secret(method, (raw,))
