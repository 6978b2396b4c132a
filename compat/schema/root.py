"""The whole configuration."""

from __future__ import annotations

from compat.schema.fields import ConfigObject, many, one
from compat.schema.later import CacheConfig, QuotaConfig, RewriterConfig
from compat.schema.lists import (
    AdmissionConfig,
    AutherConfig,
    BypassConfig,
    HostsConfig,
    IngressConfig,
    LimiterConfig,
    ObserverConfig,
    RecorderConfig,
    ResolverConfig,
    RouterConfig,
    SDConfig,
)
from compat.schema.nodes import ChainConfig, HopConfig
from compat.schema.sections import (
    APIConfig,
    LogConfig,
    LoggerConfig,
    MetricsConfig,
    ProfilingConfig,
    TLSConfig,
)
from compat.schema.services import ServiceConfig

__all__ = [
    "Config",
]


class Config(ConfigObject):
    """The root object of a configuration."""

    services: list[ServiceConfig | None] | None = many("services", ServiceConfig, always=True)
    chains: list[ChainConfig | None] | None = many("chains", ChainConfig)
    hops: list[HopConfig | None] | None = many("hops", HopConfig)
    authers: list[AutherConfig | None] | None = many("authers", AutherConfig)
    admissions: list[AdmissionConfig | None] | None = many("admissions", AdmissionConfig)
    bypasses: list[BypassConfig | None] | None = many("bypasses", BypassConfig)
    resolvers: list[ResolverConfig | None] | None = many("resolvers", ResolverConfig)
    hosts: list[HostsConfig | None] | None = many("hosts", HostsConfig)
    ingresses: list[IngressConfig | None] | None = many("ingresses", IngressConfig)
    routers: list[RouterConfig | None] | None = many("routers", RouterConfig)
    sds: list[SDConfig | None] | None = many("sds", SDConfig)
    recorders: list[RecorderConfig | None] | None = many("recorders", RecorderConfig)
    limiters: list[LimiterConfig | None] | None = many("limiters", LimiterConfig)
    climiters: list[LimiterConfig | None] | None = many("climiters", LimiterConfig)
    rlimiters: list[LimiterConfig | None] | None = many("rlimiters", LimiterConfig)
    observers: list[ObserverConfig | None] | None = many("observers", ObserverConfig)
    loggers: list[LoggerConfig | None] | None = many("loggers", LoggerConfig)
    tls: TLSConfig | None = one("tls", TLSConfig)
    log: LogConfig | None = one("log", LogConfig)
    profiling: ProfilingConfig | None = one("profiling", ProfilingConfig)
    api: APIConfig | None = one("api", APIConfig)
    metrics: MetricsConfig | None = one("metrics", MetricsConfig)
    rewriters: list[RewriterConfig | None] | None = many("rewriters", RewriterConfig, since="3.3")
    caches: list[CacheConfig | None] | None = many("caches", CacheConfig, since="3.3")
    quotas: list[QuotaConfig | None] | None = many("quotas", QuotaConfig, since="3.3")
