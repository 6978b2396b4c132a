"""Sniffing: recognise HTTP, TLS and SSH by a stream's first bytes, and route or record by host.

Handlers mix the options into their own. A proxy relays through ``relay_for(...)``; port forwarding
uses ``Sniffer.route`` (in sniffer.py, which only configs that sniff need to load).
"""

from gostpy.processing.sniffing.options import (
    CacheOptions,
    InspectionOptions,
    SniffingOptions,
    refuse_unbuilt,
)
from gostpy.processing.sniffing.relay import Relay, relay_for

__all__ = [
    "CacheOptions",
    "InspectionOptions",
    "Relay",
    "SniffingOptions",
    "refuse_unbuilt",
    "relay_for",
]
