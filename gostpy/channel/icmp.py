"""icmp, icmp6: QUIC in ICMP echo messages, for networks that let only pings pass.

Wire     "GOST", flags and length, then a QUIC datagram, in echo requests of the client and replies
         of the server; raw sockets, so both ends need the privilege for them (CAP_NET_RAW)
Source   gost's listener/icmp and dialer/icmp
Differs  the number of a reply is that of the client's last request, also when clients of several
         hosts use the same id; behind other nodes the dialer refuses, where gost goes direct
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.channel import quic
from gostpy.interfaces import Context
from gostpy.net.icmp import listen_icmp
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions"]

DATAGRAM_SIZE = 1432
"""Bytes of QUIC that fit into an echo message over Ethernet and IPv6."""


@dataclass(frozen=True)
class ListenOptions(quic.CommonOptions):
    """Options of both sides."""

    keepalive: bool = opt(False, "keepalive", doc="Ask a silent peer whether it is there.")
    ipv6: bool = opt(False, doc="ICMPv6 in place of ICMP.")


DialOptions = ListenOptions


class Carrier(quic.Carrier):
    """Makes and accepts QUIC connections in echo messages."""

    def __init__(self, options: ListenOptions, context: Context) -> None:
        self.network = "icmp6" if options.ipv6 else "icmp"
        super().__init__(options, context)

    @property
    def datagram_size(self) -> int:
        return DATAGRAM_SIZE

    def bind(self) -> Any:
        return listen_icmp(self.context.address, self.options.ipv6, self.context.sockets)
