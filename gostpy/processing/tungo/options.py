"""Options of tungo."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.options import no_effect, opt

__all__ = ["HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions:
    """Options of the handler."""

    observe_period: float = no_effect(
        "observePeriod",
        "observer.period",
        "observer.observePeriod",
        kind="duration",
        doc="Interval of reports to the handler's observer; there are no observers yet.",
    )
    observer_reset_traffic: bool = no_effect(
        "observer.resetTraffic", kind="bool", doc="Likewise: byte counters as deltas."
    )
    limiter_refresh_interval: float = no_effect(
        "limiter.refreshInterval", kind="duration", doc="Read and ignored, as in gost."
    )
    limiter_cleanup_interval: float = no_effect(
        "limiter.cleanupInterval", kind="duration", doc="Read and ignored, as in gost."
    )
    udp_timeout: float = opt(
        30.0,
        "udpTimeout",
        "tungo.udpTimeout",
        kind="duration",
        positive=True,
        doc="Silence that ends a UDP flow.",
    )
    udp_buffer_size: int = opt(
        4096,
        "udp.bufferSize",
        "udpBufferSize",
        unit="bytes",
        effect=False,
        doc="Read and ignored, as in gost: datagrams pass whole.",
    )
    sniffing: bool = opt(
        False, "sniffing", doc="Look at the first bytes of TCP for the host of HTTP and TLS."
    )
    sniffing_udp: bool = no_effect("sniffing.udp", kind="bool", doc="Read and ignored, as in gost.")
    sniffing_timeout: float = opt(
        0.0,
        "sniffing.timeout",
        kind="duration",
        doc="How long to wait for the first bytes; 0 = for ever. Then the stream is opaque.",
    )
    sniffing_response_timeout: float = opt(
        30.0,
        "sniffing.responseTimeout",
        kind="duration",
        positive=True,
        doc="Wait for a sniffed request and for its response.",
    )
    sniffing_fallback: bool = opt(
        False,
        "sniffing.fallback",
        doc="Dial the original address when the sniffed host cannot be reached.",
    )
    multicast_groups: str = opt(
        "",
        "multicastGroups",
        "tungo.multicastGroups",
        doc="Multicast addresses, with commas, whose datagrams are taken too.",
    )
    ipv6: bool = opt(
        False, "ipv6", doc="Ask the chain for network tcp6, not tcp, when the client has IPv6."
    )
    tcp_send_buffer_size: int = opt(
        0,
        "tcpSendBufferSize",
        "tungo.tcpSendBufferSize",
        unit="bytes",
        doc="Send buffer of connections to clients; 0 = as the system does.",
    )
    tcp_receive_buffer_size: int = opt(
        0,
        "tcpReceiveBufferSize",
        "tungo.tcpReceiveBufferSize",
        unit="bytes",
        doc="Receive buffer of connections to clients; 0 = as the system does.",
    )
    tcp_moderate_receive_buffer: bool = opt(
        False,
        "tcpModerateReceiveBuffer",
        "tungo.tcpModerateReceiveBuffer",
        doc="Let the system tune the receive buffer whatever its size option says.",
    )
