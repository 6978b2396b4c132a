"""Sniffing: recognise HTTP, TLS and SSH by a stream's first bytes, and route or record by host."""

from gostpy.processing.sniffing.options import (
    CacheOptions,
    InspectionOptions,
    SniffingOptions,
    refuse_unbuilt,
)
from gostpy.processing.sniffing.sniffer import Relay, Sniffer, relay_for

__all__ = [
    "CacheOptions",
    "InspectionOptions",
    "Relay",
    "Sniffer",
    "SniffingOptions",
    "refuse_unbuilt",
    "relay_for",
]
