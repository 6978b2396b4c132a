"""Sniffing: recognise HTTP, TLS and SSH by a stream's first bytes, and route or record by host."""

from gostpy.processing.sniffing.options import (
    CacheOptions,
    InspectionOptions,
    SniffingOptions,
    refuse_unbuilt,
)

__all__ = ["CacheOptions", "InspectionOptions", "SniffingOptions", "refuse_unbuilt"]
