"""rtnetlink: the messages that give a network interface its address, size, state and routes.

Wire      nlmsghdr LEN(4) TYPE(2) FLAGS(2) SEQ(4) PID(4) | ifinfomsg, ifaddrmsg or rtmsg | then
          attributes LEN(2) TYPE(2) VALUE, padded to 4; in the machine's byte order, but addresses
          the kernel answers with NLMSG_ERROR: 0 or a negative errno
Source    rtnetlink(7), linux/rtnetlink.h
"""

from __future__ import annotations

import ipaddress
import struct

from gostpy.errors import ProtocolError

__all__ = ["add_address", "read_answer", "replace_route", "set_link"]

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_AF = {4: 2, 6: 10}
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE = 1, 4, 0x100, 0x200, 0x400
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE, _ERROR = 16, 20, 24, 2
_UP = 1


def _message(kind: int, flags: int, body: bytes) -> bytes:
    size = 16 + len(body)
    return struct.pack("=IHHII", size, kind, flags | _REQUEST | _ACK, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def set_link(index: int, *, mtu: int) -> bytes:
    """Set the largest packet of an interface and switch it on."""
    head = struct.pack("=BxHiII", 0, 0, index, _UP, _UP)
    return _message(_NEW_LINK, 0, head + _attribute(4, struct.pack("=I", mtu)))


def add_address(index: int, address: Interface) -> bytes:
    """Give an interface an address; IPv4 gets the broadcast address of its network."""
    network = address.network
    head = struct.pack("=BBBBI", _AF[address.version], network.prefixlen, 0, 0, index)
    body = _attribute(2, address.ip.packed) + _attribute(1, address.ip.packed)
    if address.version == 4 and network.prefixlen < 31:
        body += _attribute(4, network.broadcast_address.packed)
    return _message(_NEW_ADDRESS, _CREATE | _EXCLUSIVE, head + body)


def replace_route(network: Network, gateway: bytes = b"", index: int = 0) -> bytes:
    """Route a network by way of a gateway, or of an interface."""
    scope = 0 if gateway or network.version == 6 else 253  # universe, link
    head = struct.pack(
        "=BBBBBBBBI", _AF[network.version], network.prefixlen, 0, 0, 254, 3, scope, 1, 0
    )
    body = _attribute(1, network.network_address.packed)
    if gateway:
        body += _attribute(5, gateway)
    if index:
        body += _attribute(4, struct.pack("=I", index))
    return _message(_NEW_ROUTE, _CREATE | _REPLACE, head + body)


def read_answer(data: bytes) -> int:
    """The errno in the kernel's answer, 0 for success. Raises ProtocolError."""
    if len(data) < 20:
        raise ProtocolError(f"netlink answer of {len(data)} bytes")
    kind = struct.unpack_from("=H", data, 4)[0]
    if kind != _ERROR:
        raise ProtocolError(f"netlink answer of type {kind}")
    return -int(struct.unpack_from("=i", data, 16)[0])
