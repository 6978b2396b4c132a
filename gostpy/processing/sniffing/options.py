"""Options of everything that looks into the streams it relays.

Handlers take the classes in by inheritance: ``SniffingOptions`` for those that sniff on demand,
``InspectionOptions`` for the sni handler, which always does. ``readTimeout`` and ``http.keepalive``
stay with each handler, whose defaults differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import ConfigError
from gostpy.options import opt

__all__ = ["CacheOptions", "InspectionOptions", "SniffingOptions", "refuse_unbuilt"]

_STATUS_KEYS = tuple(f"cache.status.{code}" for code in range(100, 600))


@dataclass(frozen=True)
class InspectionOptions:
    """What is done with HTTP and TLS that was recognised."""

    sniffing_websocket: bool = opt(
        False, "sniffing.websocket", doc="Record the frames of WebSocket connections."
    )
    sniffing_websocket_sample_rate: float = opt(
        0.0,
        "sniffing.websocket.sampleRate",
        unit="frames/s",
        doc="WebSocket frames recorded per second; 0 = 10, negative = all.",
    )
    mitm_cert_file: str = opt(
        "",
        "mitm.certFile",
        "mitm.caCertFile",
        unit="path",
        doc="CA certificate that signs intercepted certificates; needs mitm.keyFile too.",
    )
    mitm_key_file: str = opt(
        "", "mitm.keyFile", "mitm.caKeyFile", unit="path", doc="Private key of that CA."
    )
    mitm_alpn: str = opt(
        "", "mitm.alpn", doc="ALPN protocol forced on both sides of an interception."
    )
    mitm_bypass: str = opt(
        "", "mitm.bypass", doc="Name of a bypass; hosts that match are not intercepted."
    )


@dataclass(frozen=True)
class SniffingOptions(InspectionOptions):
    """Whether and how long the first bytes are looked at."""

    sniffing: bool = opt(
        False, "sniffing", doc="Look at the first bytes to find HTTP, TLS and SSH, and their host."
    )
    sniffing_timeout: float = opt(
        0.0,
        "sniffing.timeout",
        kind="duration",
        doc="How long to wait for the first bytes; 0 = for ever. Then the stream is opaque.",
    )


@dataclass(frozen=True)
class CacheOptions:
    """The response cache of gost 3.3."""

    cache_ttl: float = opt(
        0.0,
        "cache.ttl",
        kind="duration",
        since="3.3",
        doc="How long a response is kept; 0 = as it says itself.",
    )
    cache_status: str = opt(
        "", *_STATUS_KEYS, since="3.3", doc="How long a response with that status code is kept."
    )
    cache_serve_stale: bool = opt(
        False,
        "cache.serveStale",
        since="3.3",
        doc="Answer with an expired response when the origin fails.",
    )
    cache_methods: tuple[str, ...] = opt(
        ("GET", "HEAD"), "cache.methods", since="3.3", doc="Methods whose responses are kept."
    )
    cache_max_body_bytes: int = opt(
        1 << 20,
        "cache.maxBodyBytes",
        since="3.3",
        unit="bytes",
        doc="Size of the largest response that is kept.",
    )


def refuse_unbuilt(options: InspectionOptions | CacheOptions) -> None:
    """Called once by what builds a handler with these options.

    Raises ConfigError: an option asks for something that gostpy does not have yet.
    """
    if isinstance(options, InspectionOptions) and options.mitm_cert_file and options.mitm_key_file:
        raise ConfigError(
            "mitm.certFile: TLS interception is a gost feature that gostpy does not have yet"
        )
    if isinstance(options, CacheOptions) and (options.cache_ttl > 0 or options.cache_status):
        key = "cache.ttl" if options.cache_ttl > 0 else "cache.status"
        raise ConfigError(f"{key}: the response cache of gost 3.3 is not in gostpy yet")
