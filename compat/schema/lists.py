"""Named lists that services and nodes refer to: users, rules, hosts, routes, limits, recorders."""

from __future__ import annotations

from compat.schema.fields import ConfigObject, flag, headers, integer, many, one, span, text, texts
from compat.schema.sections import (
    AuthConfig,
    FileLoader,
    HTTPLoader,
    LogRotationConfig,
    PluginConfig,
    RedisLoader,
)
from compat.values import Duration

__all__ = [
    "AdmissionConfig",
    "AutherConfig",
    "BypassConfig",
    "FileRecorder",
    "HTTPRecorder",
    "HostMappingConfig",
    "HostsConfig",
    "IngressConfig",
    "IngressRuleConfig",
    "LimiterConfig",
    "NameserverConfig",
    "ObserverConfig",
    "RecorderConfig",
    "RedisRecorder",
    "ResolverConfig",
    "RouterConfig",
    "RouterRouteConfig",
    "SDConfig",
    "TCPRecorder",
]


class AutherConfig(ConfigObject):
    """Users and their passwords."""

    name: str = text("name", always=True)
    auths: list[AuthConfig | None] | None = many("auths", AuthConfig)
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class AdmissionConfig(ConfigObject):
    """Which clients may connect."""

    name: str = text("name", always=True)
    reverse: bool = flag("reverse", deprecated=True)
    whitelist: bool = flag("whitelist")
    matchers: list[str] | None = texts("matchers")
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class BypassConfig(ConfigObject):
    """Which targets are skipped or refused."""

    name: str = text("name", always=True)
    reverse: bool = flag("reverse", deprecated=True)
    whitelist: bool = flag("whitelist")
    matchers: list[str] | None = texts("matchers")
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)
    network: str = text("network", since="3.3")


class NameserverConfig(ConfigObject):
    """One name server."""

    addr: str = text(
        "addr",
        always=True,
        doc="[udp|tcp|tls|dot|https]://HOST[:PORT]; no scheme = udp; port 53 when missing "
        "(also for tls); unknown scheme = udp",
    )
    chain: str = text("chain")
    prefer: str = text("prefer", doc="one of ipv4, ipv6, ip4, ip6; default ipv4 first")
    client_ip: str = text("clientIP")
    hostname: str = text("hostname", doc="TLS server name")
    ttl: Duration = span("ttl", doc="0 = from answer, negative = no cache (also turns async off)")
    timeout: Duration = span("timeout", doc="default 5s")
    async_: bool = flag("async")
    only: str = text("only", doc="one of ip4, ipv4, ip6, ipv6; overrides prefer")


class ResolverConfig(ConfigObject):
    """Name servers asked in order."""

    name: str = text("name", always=True)
    nameservers: list[NameserverConfig | None] | None = many("nameservers", NameserverConfig)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class HostMappingConfig(ConfigObject):
    """One address and its names."""

    ip: str = text("ip", always=True)
    hostname: str = text("hostname", always=True)
    aliases: list[str] | None = texts("aliases")


class HostsConfig(ConfigObject):
    """A table of names."""

    name: str = text("name", always=True)
    mappings: list[HostMappingConfig | None] | None = many("mappings", HostMappingConfig)
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class IngressRuleConfig(ConfigObject):
    """Where requests for one host name go."""

    hostname: str = text("hostname", always=True)
    endpoint: str = text("endpoint", always=True)


class IngressConfig(ConfigObject):
    """Host names and tunnel endpoints."""

    name: str = text("name", always=True)
    rules: list[IngressRuleConfig | None] | None = many("rules", IngressRuleConfig)
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class SDConfig(ConfigObject):
    """Service discovery by a plugin."""

    name: str = text("name", always=True)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class RouterRouteConfig(ConfigObject):
    """One route."""

    net: str = text("net", deprecated=True)
    dst: str = text("dst")
    gateway: str = text("gateway", always=True)


class RouterConfig(ConfigObject):
    """A routing table."""

    name: str = text("name", always=True)
    routes: list[RouterRouteConfig | None] | None = many("routes", RouterRouteConfig)
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class FileRecorder(ConfigObject):
    """Records appended to a file."""

    path: str = text("path", always=True)
    sep: str = text(
        "sep", doc="written after every record; escapes are not interpreted beyond YAML"
    )
    rotation: LogRotationConfig | None = one("rotation", LogRotationConfig)


class TCPRecorder(ConfigObject):
    """Records sent over TCP."""

    addr: str = text("addr", always=True)
    timeout: Duration = span("timeout", always=True)


class HTTPRecorder(ConfigObject):
    """Records posted over HTTP."""

    url: str = text(
        "url",
        always=True,
        doc="http:// is prepended when missing; POST; status >= 400 is an error; "
        "Content-Type application/json unless set in header",
    )
    timeout: Duration = span("timeout")
    header: dict[str, str] | None = headers("header")


class RedisRecorder(ConfigObject):
    """Records written to Redis."""

    addr: str = text("addr", always=True)
    db: int = integer("db")
    username: str = text("username")
    password: str = text("password")
    key: str = text("key", doc="required")
    type: str = text("type", doc="one of set (default), list, sset")


class RecorderConfig(ConfigObject):
    """A place for records."""

    name: str = text("name", always=True)
    file: FileRecorder | None = one(
        "file", FileRecorder, doc="precedence when several are set: plugin, file, tcp, http, redis"
    )
    tcp: TCPRecorder | None = one("tcp", TCPRecorder)
    http: HTTPRecorder | None = one("http", HTTPRecorder)
    redis: RedisRecorder | None = one("redis", RedisRecorder)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class LimiterConfig(ConfigObject):
    """Traffic, connection or rate limits."""

    name: str = text("name", always=True)
    limits: list[str] | None = texts("limits", doc="see limits_syntax")
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)


class ObserverConfig(ConfigObject):
    """A plugin that is told about status and traffic."""

    name: str = text("name", always=True)
    plugin: PluginConfig | None = one("plugin", PluginConfig)
