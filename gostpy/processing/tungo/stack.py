"""What tungo does with the packets of a device: to TCP, to UDP, to ICMP, or away."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from gostpy.addresses import ip_text
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.device import HEADER, PARTIAL, DeviceConn
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.listen import Acceptor, listen_tcp
from gostpy.processing.tungo.translate import Flow, Translator
from gostpy.processing.tungo.udp import Flows, UDPFlow
from gostpy.wire.fragments import Reassembly
from gostpy.wire.ip import (
    ICMP,
    ICMP6,
    TCP,
    UDP,
    Packet,
    echo_reply,
    parse,
    reset_for,
    udp_payload,
)

__all__ = ["Stack", "neighbour_of"]

_PLAIN = bytes(HEADER)
_LEAST4, _LEAST6 = HEADER + 40, HEADER + 60
_BROADCAST = b"\xff\xff\xff\xff"

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def neighbour_of(interfaces: tuple[Interface, ...], version: int) -> tuple[bytes, bytes] | None:
    """(own address, free address of its network) for a family; None without such a network."""
    own = {interface.ip for interface in interfaces}
    for interface in interfaces:
        network = interface.network
        if interface.version != version or network.num_addresses < 2:
            continue
        last = int(network.network_address) + network.num_addresses - 1
        ends = 1 if network.num_addresses > 2 else 0  # the network itself and broadcast
        for number in range(last - ends, int(network.network_address) - 1 + ends, -1):
            candidate = ipaddress.ip_address(number.to_bytes(network.max_prefixlen // 8, "big"))
            if candidate not in own:
                return interface.ip.packed, candidate.packed
    return None


class Stack:
    """The packets of one device. All of it runs on the hub and never blocks.

    Args:
        groups: packed multicast addresses whose datagrams are taken.
        tcp, udp: get the conns of clients.
        ended: told when the device is gone.
        warn: told what does not work.
    """

    def __init__(
        self,
        device: DeviceConn,
        groups: frozenset[bytes],
        tcp: Callable[[Conn], Any],
        udp: Callable[[UDPFlow], Any],
        ended: Callable[[BaseException | None], Any],
        warn: Callable[[str], Any],
    ) -> None:
        self._device = device
        self._groups = groups
        self._tcp = tcp
        self._ended = ended
        self._warn = warn
        self._reassembly = Reassembly()
        self.flows = Flows(self._write_partial, udp)
        self.translators: dict[int, Translator] = {}
        self._acceptors: list[Acceptor] = []

    def start(self, tune: Callable[[Any], None]) -> None:
        """Take packets from now on; a family that cannot have TCP is told of and left out.

        Args:
            tune: sets options of the listening sockets, which conns inherit.

        Raises OSError.
        """
        for version in (4, 6):
            pair = neighbour_of(self._device.settings.addresses, version)
            if pair is None:
                continue
            try:
                self._listen(version, *pair, tune)
            except OSError as error:  # a system without IPv6
                self._warn(f"no TCP over IPv{version}: {error.strerror}")
        if not self.translators:
            self._warn("no TCP: net has no address with another one free in its network")
        self._device.start_frames(self)

    def _listen(
        self, version: int, own: bytes, neighbour: bytes, tune: Callable[[Any], None]
    ) -> None:
        host = ip_text(own)
        address = f"[{host}]:0" if version == 6 else f"{host}:0"

        def accepted(sock: Any, peer: Any) -> None:
            flow = translator.accepted(peer) if peer[0] == ip_text(neighbour) else None
            if flow is None:  # somebody found the port: it is not for him
                sock.close()
                return
            self._accepted(translator, flow, sock)

        acceptor = listen_tcp(address, accepted, self._device.sockets)
        translator = Translator(own, neighbour, acceptor.address[1], HEADER)
        tune(acceptor.sock)
        self.translators[version] = translator
        self._acceptors.append(acceptor)
        acceptor.start()

    def _accepted(self, translator: Translator, flow: Flow, sock: Any) -> None:
        info = self._info(flow.client, flow.target)
        conn = Conn(SocketEndpoint(sock), info)
        conn.on_close = lambda _: translator.ended(flow)
        self._tcp(conn)

    def _info(self, client: tuple[bytes, int], target: tuple[bytes, int]) -> ConnInfo:
        peer, destination = (
            (ip_text(client[0]), client[1]),
            (ip_text(target[0]), target[1]),
        )
        return ConnInfo(peer=peer, local=destination, destination=destination)

    # -- packets -----------------------------------------------------------------------------------

    def frame(self, frame: memoryview) -> None:
        """A packet of the device, in place."""
        first = frame[HEADER] if len(frame) >= _LEAST4 else 0
        if first == 0x45:
            if frame[HEADER + 9] == TCP and not (frame[HEADER + 6] & 0x3F or frame[HEADER + 7]):
                translator = self.translators.get(4)
                if translator is not None and translator.translate(frame):
                    self._device.write(frame)
                    return
        elif first >> 4 == 6 and len(frame) >= _LEAST6 and frame[HEADER + 6] == TCP:
            translator = self.translators.get(6)
            if translator is not None and translator.translate(frame):
                self._device.write(frame)
                return
        self._packet(frame[HEADER:])

    def ended(self, error: BaseException | None) -> None:
        self._ended(error)

    def _packet(self, packet: memoryview) -> None:
        parsed = parse(packet)
        if parsed is None:
            return
        if parsed.fragment:
            whole = self._reassembly.add(parsed, packet, timers.now())
            if whole is not None:
                self._whole(whole)
            return
        if parsed.protocol == UDP:
            self._datagram(packet, parsed)
        elif parsed.protocol in (ICMP, ICMP6):
            self._answer(echo_reply(packet, parsed), parsed)
        elif parsed.protocol == TCP:
            self._answer(reset_for(packet, parsed), parsed)

    def _whole(self, packet: bytes) -> None:
        """A packet that came in fragments."""
        self.frame(memoryview(bytearray(_PLAIN + packet)))

    def _datagram(self, packet: memoryview, parsed: Packet) -> None:
        found = udp_payload(packet, parsed)
        if found is None or not self._takes(parsed):
            return
        source, target, data = found
        client, there = (parsed.source, source), (parsed.target, target)
        self.flows.datagram((*client, *there), data, lambda: self._info(client, there))

    def _takes(self, parsed: Packet) -> bool:
        """Whether datagrams for this address are for us."""
        target = parsed.target
        if target in self._groups:
            return True
        if parsed.version == 4:
            return target[0] & 0xF0 != 0xE0 and target != _BROADCAST
        return target[0] != 0xFF

    def _answer(self, packet: bytes | None, parsed: Packet) -> None:
        if packet is not None and self._takes(parsed):
            self._device.write(_PLAIN + packet)

    def _write_partial(self, packet: bytes) -> float:
        return self._device.write(PARTIAL[packet[0] >> 5 & 1] + packet)

    def close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        for translator in self.translators.values():
            translator.clear()
        self.flows.close()
