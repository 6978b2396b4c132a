"""Addresses as text: host and port, the spellings of an IP, and look-up in many networks.

An IP is compared as its packed bytes (4 or 16), so that every spelling of one address is the same
key. An IPv4-mapped IPv6 address is its IPv4 address, a zone is dropped.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from typing import Generic, TypeVar

__all__ = ["NetworkMap", "fold_host", "ip_bytes", "ip_text", "parse_network", "split_host_port"]

T = TypeVar("T")

_LEGACY_IPV4 = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)(\.(0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
_PREFIX = re.compile(r"[0-9]{1,3}")


def split_host_port(address: str) -> tuple[str, int | None]:
    """Host (without brackets) and port of ``host:port``, ``[v6]:port``, a host or an IPv6 literal.

    The port is None when there is none or when it is not a number.
    """
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket:
            return address, None
        return host, _port(rest[1:]) if rest.startswith(":") else None
    if address.count(":") != 1:
        return address, None
    host, _, port = address.partition(":")
    return host, _port(port)


def _port(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else None


@lru_cache(maxsize=4096)
def ip_bytes(text: str, *, legacy: bool = False) -> bytes | None:
    """The packed address of an IP literal, or None for anything else.

    Args:
        legacy: also read what ``inet_aton`` reads (``127.1``, ``0x7f.1``, ``2130706433``), which a
            system resolver would turn into an address.
    """
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        if legacy and len(text) < 64 and _LEGACY_IPV4.fullmatch(text):
            try:
                return socket.inet_aton(text)
            except OSError:
                return None
        return None
    packed = ip.packed
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        return packed[12:]
    return packed


def ip_text(packed: bytes) -> str:
    """The canonical spelling of a packed address."""
    return str(ipaddress.ip_address(packed))


def fold_host(host: str) -> str:
    """The form in which host names are compared: lower case, without the root's dot."""
    return host.lower().removesuffix(".") if len(host) > 1 else host.lower()


def parse_network(text: str) -> tuple[bytes, int] | None:
    """Packed address (host bits cleared) and prefix length of ``IP/BITS``, or None.

    Networks inside ``::ffff:0:0/96`` become IPv4 networks.
    """
    address, slash, bits = text.partition("/")
    if not slash or not _PREFIX.fullmatch(bits) or "%" in address:
        return None
    try:
        network = ipaddress.ip_network(f"{address}/{int(bits)}", strict=False)
    except ValueError:
        return None
    packed, prefix = network.network_address.packed, network.prefixlen
    if len(packed) == 16 and prefix >= 96 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        return packed[12:], prefix - 96
    return packed, prefix


class NetworkMap(Generic[T]):
    """Networks with a value each; a look-up costs one dict access per prefix length in use."""

    __slots__ = ("_sizes",)

    def __init__(self) -> None:
        # bytes of an address -> bits to shift out -> network number -> value
        self._sizes: dict[int, dict[int, dict[int, T]]] = {4: {}, 16: {}}

    def __bool__(self) -> bool:
        return any(self._sizes.values())

    def add(self, packed: bytes, prefix: int, value: T) -> None:
        """Add a network as :func:`parse_network` returns it; the same network again replaces it."""
        shift = len(packed) * 8 - prefix
        by_shift = self._sizes[len(packed)]
        if shift not in by_shift:
            by_shift[shift] = {}
            self._sizes[len(packed)] = dict(sorted(by_shift.items(), reverse=True))
        self._sizes[len(packed)][shift][int.from_bytes(packed, "big") >> shift] = value

    def widest(self, packed: bytes) -> T | None:
        """The value of the largest network that holds the address, or None."""
        number = int.from_bytes(packed, "big")
        for shift, networks in self._sizes[len(packed)].items():
            value = networks.get(number >> shift)
            if value is not None:
                return value
        return None
