"""Options of the http2 handler and connector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.options import opt
from gostpy.processing.accounting import AccountingOptions

__all__ = ["ConnectorOptions", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(AccountingOptions):
    """Handler ``http2``."""

    header: dict[str, Any] = opt(
        {}, "http.header", "header", doc="Header lines added to answers of the proxy itself."
    )
    probe_resist: str = opt(
        "",
        "probeResist",
        "probe_resist",
        doc="Answer to the unauthenticated: code:N, web:URL, host:HOST:PORT or file:PATH.",
    )
    knock: str = opt("", "knock", doc="Host whose request is asked for credentials all the same.")
    hash: str = opt(
        "", "hash", choices=("", "host"), doc="What the hash selector uses: host, else client IP."
    )
    realm: str = opt("gost", "authBasicRealm", doc="Realm of the request for credentials.")
    read_timeout: float = opt(
        0.0,
        "readTimeout",
        "read.timeout",
        kind="duration",
        since="3.3",
        doc="Deadline of an origin's response head, and of HTTP/1.1 clients' requests; 0 = none.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """Connector ``http2``."""

    timeout: float = opt(
        0.0, "timeout", kind="duration", doc="Deadline of the answer to CONNECT; 0 = none."
    )
    header: dict[str, Any] = opt({}, "header", doc="Header lines added to CONNECT.")
