"""Metadata of a service, hop, node or chain: the options that no component owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.options import opt

__all__ = ["ChainOptions", "HandlerOptions", "HopOptions", "NodeOptions", "ServiceOptions"]


@dataclass(frozen=True)
class SocketMetadata:
    """Keys that services, hops and nodes have in common."""

    interface: str = opt("", "interface", doc="Interfaces or addresses to send from.")
    so_mark: int = opt(0, "so_mark", doc="SO_MARK of outgoing sockets when above 0.")
    proxy_protocol: int = opt(
        0, "proxyProtocol", doc="Service: accept PROXY headers. Node: send one of this version."
    )
    netns: str = opt("", "netns", doc="Network namespace: a name, or a path with a leading slash.")


@dataclass(frozen=True)
class ServiceOptions(SocketMetadata):
    """``services[].metadata``."""

    pre_up: tuple[Any, ...] = opt((), "preUp", doc="Commands run before the service is served.")
    post_up: tuple[Any, ...] = opt((), "postUp", doc="Commands run when the service is served.")
    pre_down: tuple[Any, ...] = opt((), "preDown", doc="Commands run before it is closed.")
    post_down: tuple[Any, ...] = opt((), "postDown", doc="Commands run after it was closed.")
    ignore_chain: bool = opt(False, "ignoreChain", doc="Use no chain of listener or handler.")
    enable_stats: bool = opt(False, "enableStats", doc="Count connections and bytes.")
    reset_traffic: bool = opt(
        False, "observer.resetTraffic", doc="Byte counters restart after each report."
    )
    observer_period: float = opt(
        5.0, "observer.period", "observePeriod", kind="duration", doc="Interval of reports."
    )
    netns_out: str = opt("", "netns.out", doc="Network namespace of outgoing connections.")
    dial_timeout: float = opt(
        15.0, "dialTimeout", kind="duration", doc="Limit of one outgoing dial; negative = none."
    )
    refresh_interval: float = opt(
        30.0, "limiter.refreshInterval", kind="duration", doc="How long limiter answers are kept."
    )
    cleanup_interval: float = opt(
        60.0, "limiter.cleanupInterval", kind="duration", doc="How often idle limiters are dropped."
    )
    limiter_scope: str = opt(
        "", "limiter.scope", choices=("", "service", "conn"), doc="Use one scope of the limiter."
    )
    labels: dict[str, Any] = opt({}, "labels", since="3.3", doc="Labels on records and log lines.")


@dataclass(frozen=True)
class HandlerOptions:
    """What every handler takes besides its own options."""

    skip_auth: tuple[Any, ...] = opt(
        (), "skipauth", since="3.3", doc="Addresses of clients that need no login."
    )


@dataclass(frozen=True)
class HopOptions(SocketMetadata):
    """``hops[].metadata``; nodes inherit it."""


@dataclass(frozen=True)
class NodeOptions(SocketMetadata):
    """``nodes[].metadata``."""

    weight: int = opt(1, "weight", doc="Share under the random strategy.")
    backup: bool = opt(False, "backup", doc="Used only when every other node is out.")
    max_fails: int = opt(0, "maxFails", doc="Overrides the selector's value.")
    fail_timeout: float = opt(0.0, "failTimeout", kind="duration", doc="Likewise.")


@dataclass(frozen=True)
class ChainOptions:
    """``chains[].metadata``."""

    weight: int = opt(1, "weight", doc="Share inside a group under the random strategy.")
    backup: bool = opt(False, "backup", doc="Used only when every other chain is out.")
    max_fails: int = opt(0, "maxFails", doc="Overrides the selector's value.")
    fail_timeout: float = opt(0.0, "failTimeout", kind="duration", doc="Likewise.")
