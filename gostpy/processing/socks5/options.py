"""Options of SOCKS 5's two sides."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.options import opt
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.sniffing import SniffingOptions
from gostpy.stream.mux import MuxOptions

__all__ = ["ConnectorOptions", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions, AccountingOptions, MuxOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Time for everything up to the request, its TLS handshake included.",
    )
    notls: bool = opt(False, "notls", doc="Never choose the methods that begin with TLS.")
    bind: bool = opt(False, "bind", doc="Let clients listen here (BIND, MUX BIND, UDP bind).")
    udp: bool = opt(False, "udp", doc="Let clients send and receive datagrams.")
    udp_buffer_size: int = opt(
        0,
        "udp.bufferSize",
        "udpBufferSize",
        unit="bytes",
        doc="Bytes of a datagram that are kept; 0 = all (4096 in gost).",
    )
    udp_resolve_domain: bool = opt(
        False,
        "udp.resolveDomain",
        "udpResolveDomain",
        since="3.3",
        doc="Resolve the names in datagrams here, even if a node further on could.",
    )
    udp_port_min: int = opt(
        0,
        "udp.bindRange.min",
        "udp.minPort",
        since="3.3",
        doc="Lowest port for datagrams of clients; 0 = any port.",
    )
    udp_port_max: int = opt(
        0,
        "udp.bindRange.max",
        "udp.maxPort",
        since="3.3",
        doc="Highest port for datagrams of clients.",
    )
    public_address: str = opt(
        "",
        "socks.publicAddr",
        "publicAddr",
        doc="Host in the replies to BIND and UDP, in place of the local one.",
    )
    compatible: bool = opt(
        False, "comp", doc="MUX BIND for gost v2: peers are not announced in their streams."
    )
    hash: str = opt(
        "",
        "hash",
        choices=("", "host"),
        doc="What the hash selector looks at; host: the target, else the client's IP.",
    )
    tor: bool = opt(
        False,
        "tor",
        "enableTor",
        "socks5.tor",
        since="3.3",
        doc="Pass Tor's RESOLVE and RESOLVE_PTR on to the next SOCKS 5 node.",
    )


@dataclass(frozen=True)
class ConnectorOptions(MuxOptions):
    """Options of the connector."""

    timeout: float = opt(
        0.0,
        "timeout",
        kind="duration",
        doc="Time for the login, and again for the answer to the request; 0 = no limit.",
    )
    notls: bool = opt(False, "notls", doc="Do not offer the methods that begin with TLS.")
    relay: str = opt(
        "",
        "relay",
        choices=("", "udp"),
        doc="udp: send datagrams as such (UDP ASSOCIATE), else on the connection (gost).",
    )
    udp_buffer_size: int = opt(
        4096,
        "udp.bufferSize",
        "udpBufferSize",
        unit="bytes",
        positive=True,
        effect=False,
        doc="Read, but not needed: datagrams are never cut.",
    )
    udp_timeout: float = opt(
        0.0,
        "udp.timeout",
        kind="duration",
        doc="With relay=udp: time without a datagram that ends the association; 0 = no limit.",
    )
