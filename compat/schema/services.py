"""The way in: services with their handler, listener and status."""

from __future__ import annotations

from typing import Any

from compat.schema.fields import ConfigObject, flag, integer, many, one, table, text, texts, values
from compat.schema.nodes import ChainGroupConfig, ForwarderConfig
from compat.schema.sections import AuthConfig, SockOptsConfig, TLSConfig

__all__ = [
    "HandlerConfig",
    "ListenerConfig",
    "RecorderObject",
    "ServiceConfig",
    "ServiceEvent",
    "ServiceQuota",
    "ServiceStats",
    "ServiceStatus",
]


class ListenerConfig(ConfigObject):
    """How bytes travel to a service."""

    type: str = text("type", always=True)
    chain: str = text("chain")
    chain_group: ChainGroupConfig | None = one("chainGroup", ChainGroupConfig)
    auther: str = text("auther")
    authers: list[str] | None = texts("authers")
    auth: AuthConfig | None = one("auth", AuthConfig)
    tls: TLSConfig | None = one("tls", TLSConfig)
    metadata: dict[str, Any] | None = table("metadata")


class HandlerConfig(ConfigObject):
    """What is asked of a service."""

    type: str = text("type", always=True)
    retries: int = integer("retries", doc="default 0")
    chain: str = text("chain")
    chain_group: ChainGroupConfig | None = one("chainGroup", ChainGroupConfig)
    auther: str = text("auther")
    authers: list[str] | None = texts("authers")
    auth: AuthConfig | None = one("auth", AuthConfig)
    tls: TLSConfig | None = one("tls", TLSConfig)
    limiter: str = text("limiter", doc="traffic limiter with scope client")
    observer: str = text("observer", doc="per-client stats")
    metadata: dict[str, Any] | None = table("metadata")


class RecorderObject(ConfigObject):
    """What a service records, and where."""

    name: str = text("name", always=True)
    record: str = text("record", always=True)
    metadata: dict[str, Any] | None = table("metadata")


class ServiceEvent(ConfigObject):
    """One event of a service."""

    time: int = integer("time", always=True)
    msg: str = text("msg", always=True)


class ServiceStats(ConfigObject):
    """Counters of a service."""

    total_conns: int = integer("totalConns", always=True)
    current_conns: int = integer("currentConns", always=True)
    total_errs: int = integer("totalErrs", always=True)
    input_bytes: int = integer("inputBytes", always=True)
    output_bytes: int = integer("outputBytes", always=True)


class ServiceQuota(ConfigObject):
    """State of a quota at a service."""

    name: str = text("name", always=True, since="3.3")
    used: int = integer("used", always=True, since="3.3")
    limit: int = integer("limit", always=True, since="3.3")
    starts_at: int = integer("startsAt", since="3.3")
    expires_at: int = integer("expiresAt", since="3.3")
    active: bool = flag("active", always=True, since="3.3")
    expired: bool = flag("expired", since="3.3")
    blocked: bool = flag("blocked", always=True, since="3.3")
    direction: str = text("direction", since="3.3")


class ServiceStatus(ConfigObject):
    """State of a service, read-only."""

    create_time: int = integer("createTime", always=True)
    state: str = text("state", always=True)
    events: list[ServiceEvent] | None = values("events", ServiceEvent)
    stats: ServiceStats | None = one("stats", ServiceStats)
    stopped_by_limit: bool = flag("stoppedByLimit", since="3.3")
    quotas: list[ServiceQuota | None] | None = many("quotas", ServiceQuota, since="3.3")


class ServiceConfig(ConfigObject):
    """One listener and its handler."""

    name: str = text("name", always=True, doc="made up when missing")
    addr: str = text("addr")
    interface: str = text("interface", deprecated=True)
    sockopts: SockOptsConfig | None = one("sockopts", SockOptsConfig, deprecated=True)
    admission: str = text("admission")
    admissions: list[str] | None = texts("admissions")
    bypass: str = text("bypass")
    bypasses: list[str] | None = texts("bypasses")
    resolver: str = text("resolver")
    hosts: str = text("hosts")
    limiter: str = text("limiter", doc="traffic limiter with scopes service and conn")
    climiter: str = text("climiter")
    rlimiter: str = text("rlimiter")
    logger: str = text("logger")
    loggers: list[str] | None = texts(
        "loggers", doc="logs go to every listed logger instead of the default one"
    )
    observer: str = text("observer", doc="service status and stats")
    recorders: list[RecorderObject | None] | None = many("recorders", RecorderObject)
    handler: HandlerConfig | None = one("handler", HandlerConfig)
    listener: ListenerConfig | None = one("listener", ListenerConfig)
    forwarder: ForwarderConfig | None = one("forwarder", ForwarderConfig)
    metadata: dict[str, Any] | None = table("metadata")
    status: ServiceStatus | None = one("status", ServiceStatus, doc="read-only")
    quotas: list[str] | None = texts("quotas", since="3.3")
    rewriter: str = text("rewriter", since="3.3")
    cache: str = text("cache", since="3.3")
