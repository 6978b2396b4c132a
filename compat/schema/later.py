"""Named objects that gost 3.3 added: rewriters, caches, quotas."""

from __future__ import annotations

from compat.schema.fields import ConfigObject, flag, integer, one, span, text
from compat.schema.sections import PluginConfig
from compat.values import Duration

__all__ = [
    "CacheConfig",
    "MemoryCache",
    "QuotaConfig",
    "QuotaRedisConfig",
    "QuotaStatus",
    "QuotaStoreConfig",
    "RedisCache",
    "RewriterConfig",
]


class RewriterConfig(ConfigObject):
    """A plugin that rewrites bodies."""

    name: str = text("name", always=True, since="3.3")
    plugin: PluginConfig | None = one("plugin", PluginConfig, since="3.3")


class MemoryCache(ConfigObject):
    """A cache in memory."""

    ttl: Duration = span("ttl", since="3.3")
    max_size: int = integer("maxSize", since="3.3")
    max_bytes: int = integer("maxBytes", since="3.3")
    cleanup_interval: Duration = span("cleanupInterval", since="3.3")
    eviction: str = text("eviction", since="3.3")


class RedisCache(ConfigObject):
    """A cache in Redis."""

    addr: str = text("addr", always=True, since="3.3")
    db: int = integer("db", since="3.3")
    username: str = text("username", since="3.3")
    password: str = text("password", since="3.3")
    ttl: Duration = span("ttl", since="3.3")
    key: str = text("key", since="3.3")


class CacheConfig(ConfigObject):
    """A response cache."""

    name: str = text("name", always=True, since="3.3")
    memory: MemoryCache | None = one("memory", MemoryCache, since="3.3")
    redis: RedisCache | None = one("redis", RedisCache, since="3.3")


class QuotaRedisConfig(ConfigObject):
    """A quota counter in Redis."""

    addr: str = text("addr", always=True, since="3.3")
    db: int = integer("db", since="3.3")
    username: str = text("username", since="3.3")
    password: str = text("password", since="3.3")
    key: str = text("key", since="3.3")


class QuotaStoreConfig(ConfigObject):
    """Where a quota counter is kept."""

    type: str = text("type", always=True, since="3.3")
    file: str = text("file", since="3.3")
    redis: QuotaRedisConfig | None = one("redis", QuotaRedisConfig, since="3.3")


class QuotaStatus(ConfigObject):
    """State of a quota, read-only."""

    used: int = integer("used", always=True, since="3.3")
    limit: int = integer("limit", always=True, since="3.3")
    starts_at: int = integer("startsAt", since="3.3")
    expires_at: int = integer("expiresAt", since="3.3")
    active: bool = flag("active", always=True, since="3.3")
    expired: bool = flag("expired", since="3.3")
    blocked: bool = flag("blocked", always=True, since="3.3")
    direction: str = text("direction", since="3.3")


class QuotaConfig(ConfigObject):
    """A persistent traffic quota."""

    name: str = text("name", always=True, since="3.3")
    limit: str = text("limit", since="3.3")
    starts_at: str = text("startsAt", since="3.3")
    expires_at: str = text("expiresAt", since="3.3")
    direction: str = text("direction", since="3.3")
    flush: str = text("flush", since="3.3")
    store: QuotaStoreConfig | None = one("store", QuotaStoreConfig, since="3.3")
    status: QuotaStatus | None = one("status", QuotaStatus, since="3.3")
