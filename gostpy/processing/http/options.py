"""Options of the http handler and connector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError
from gostpy.options import no_effect, opt
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.sniffing import CacheOptions, SniffingOptions
from gostpy.wire.http1 import is_field

__all__ = ["ConnectorOptions", "HandlerOptions", "header_lines"]


@dataclass(frozen=True)
class HandlerOptions(CacheOptions, SniffingOptions, AccountingOptions):
    """Handler ``http``."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        doc="Deadline of the first request and of every response's head; negative = none.",
    )
    header: dict[str, Any] = opt(
        {}, "http.header", "header", doc="Header lines added to answers of the proxy itself."
    )
    keepalive: bool = opt(
        False, "http.keepalive", "keepalive", doc="Keep connections to origins for more requests."
    )
    compression: bool = no_effect(
        "http.compression",
        "compression",
        kind="bool",
        doc="Let the proxy ask origins for gzip; clients see no difference.",
    )
    probe_resist: str = opt(
        "",
        "probeResist",
        "probe_resist",
        doc="Answer to the unauthenticated: code:N, web:URL, host:HOST:PORT or file:PATH.",
    )
    knock: str = opt("", "knock", doc="Host whose request is asked for credentials all the same.")
    udp: bool = opt(False, "udp", doc="Carry UDP for clients that ask by X-Gost-Protocol: udp.")
    udp_buffer_size: int = opt(
        0,
        "udp.bufferSize",
        "udpBufferSize",
        unit="bytes",
        doc="Largest datagram that passes whole; 0 = any.",
    )
    hash: str = opt(
        "", "hash", choices=("", "host"), doc="What the hash selector uses: host, else client IP."
    )
    realm: str = opt("gost", "authBasicRealm", doc="Realm of the request for credentials.")
    proxy_agent: str = opt(
        "gost/3.0", "http.proxyAgent", "proxyAgent", doc="Value of Proxy-Agent in answers."
    )
    idle_timeout: float = opt(
        0.0,
        "idleTimeout",
        kind="duration",
        since="3.3",
        doc="Close a relayed connection that is silent for this long; 0 = never.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """Connector ``http``."""

    timeout: float = opt(
        0.0, "timeout", kind="duration", doc="Deadline of the answer to CONNECT; 0 = none."
    )
    header: dict[str, Any] = opt({}, "header", doc="Header lines added to CONNECT.")


def header_lines(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Canonical (name, value) of a configured map, sorted by name.

    Raises ConfigError: a name or value that HTTP cannot carry.
    """
    lines = []
    for name, value in header.items():
        text = "" if value is None else str(value)
        if not is_field(name, text):
            raise ConfigError(f"header: {name!r} cannot be sent as an HTTP header line")
        lines.append(("-".join([part.capitalize() for part in name.split("-")]), text))
    return sorted(lines)
