"""Sections about the program itself: log, TLS, API, metrics; and what all lists share."""

from __future__ import annotations

from compat.schema.fields import ConfigObject, flag, integer, one, span, text, texts
from compat.values import Duration

__all__ = [
    "APIConfig",
    "AuthConfig",
    "FileLoader",
    "HTTPLoader",
    "LogConfig",
    "LogRotationConfig",
    "LoggerConfig",
    "MetricsConfig",
    "PluginConfig",
    "ProfilingConfig",
    "RedisLoader",
    "SelectorConfig",
    "SockOptsConfig",
    "TLSConfig",
    "TLSOptions",
]


class LogRotationConfig(ConfigObject):
    """When a log file is set aside."""

    max_size: int = integer("maxSize", doc="MB; default 100")
    max_age: int = integer("maxAge", doc="days; default 0 = keep")
    max_backups: int = integer("maxBackups", doc="default 0 = keep all")
    local_time: bool = flag("localTime", doc="default false; backup names use UTC unless true")
    compress: bool = flag("compress", doc="gzip old files")


class LogConfig(ConfigObject):
    """Where log lines go, from which level on, in which format."""

    output: str = text(
        "output",
        doc="none|null = discard, stdout, stderr or empty = stderr, anything else = file "
        "path (parent directories are created)",
    )
    level: str = text(
        "level",
        doc="one of trace, debug, info, warn, error, fatal; default info; case-sensitive, "
        "unknown = info",
    )
    format: str = text("format", doc="one of json, text; default json")
    rotation: LogRotationConfig | None = one("rotation", LogRotationConfig)


class LoggerConfig(ConfigObject):
    """A named log."""

    name: str = text("name", always=True)
    log: LogConfig | None = one("log", LogConfig)


class ProfilingConfig(ConfigObject):
    """The profiling endpoint."""

    addr: str = text("addr", always=True, doc="default :6060; net/http/pprof on /debug/pprof/")


class AuthConfig(ConfigObject):
    """A user and password."""

    username: str = text("username")
    password: str = text("password")
    file: str = text(
        "file",
        doc="file with USER PASSWORD; the first line replaces username/password for "
        "client-side credentials; server-side inline auth ignores it",
    )


class APIConfig(ConfigObject):
    """The web API."""

    addr: str = text(
        "addr", always=True, doc="unix://PATH listens on a Unix socket (config file only)"
    )
    path_prefix: str = text("pathPrefix")
    accesslog: bool = flag("accesslog")
    auth: AuthConfig | None = one("auth", AuthConfig)
    auther: str = text("auther")


class MetricsConfig(ConfigObject):
    """The metrics endpoint."""

    addr: str = text(
        "addr", always=True, doc="unix://PATH listens on a Unix socket (config file only)"
    )
    path: str = text("path")
    auth: AuthConfig | None = one("auth", AuthConfig)
    auther: str = text("auther")


class TLSOptions(ConfigObject):
    """TLS versions, cipher suites and ALPN."""

    min_version: str = text("minVersion")
    max_version: str = text("maxVersion")
    cipher_suites: list[str] | None = texts("cipherSuites")
    alpn: list[str] | None = texts("alpn")


class TLSConfig(ConfigObject):
    """Certificates and TLS settings of one side."""

    cert_file: str = text("certFile")
    key_file: str = text("keyFile")
    ca_file: str = text("caFile")
    secure: bool = flag("secure")
    server_name: str = text("serverName")
    options: TLSOptions | None = one("options", TLSOptions)
    validity: Duration = span("validity", doc="default 8760h")
    common_name: str = text("commonName", doc="default gost.run")
    organization: str = text("organization", doc="default GOST")
    reject_unknown_sni: bool = flag("rejectUnknownSNI", since="3.3")
    server_names: list[str] | None = texts("serverNames", since="3.3")


class PluginConfig(ConfigObject):
    """A list kept by another program."""

    type: str = text(
        "type",
        always=True,
        doc="one of grpc, http; default grpc; anything but http is grpc; case-insensitive, "
        "except authers where only lower-case http is recognised",
    )
    addr: str = text("addr", always=True)
    tls: TLSConfig | None = one("tls", TLSConfig)
    timeout: Duration = span("timeout", doc="HTTP only; 0 = none")
    token: str = text(
        "token",
        doc="gRPC: sent as metadata key token; HTTP: ignored in 3.2.6, Authorization: "
        "Bearer in 3.3",
    )


class FileLoader(ConfigObject):
    """A list kept in a file."""

    path: str = text("path", always=True)


class RedisLoader(ConfigObject):
    """A list kept in Redis."""

    addr: str = text("addr", always=True)
    db: int = integer("db")
    username: str = text("username")
    password: str = text("password")
    key: str = text("key", doc="default gost")
    type: str = text("type", doc="see loaders.redis_types")


class HTTPLoader(ConfigObject):
    """A list fetched over HTTP."""

    url: str = text("url", always=True)
    timeout: Duration = span("timeout")


class SelectorConfig(ConfigObject):
    """How one of several nodes or chains is picked."""

    strategy: str = text(
        "strategy", always=True, doc="one of round, rr, random, rand, fifo, ha, hash; default round"
    )
    max_fails: int = integer("maxFails", always=True, doc="default 1")
    fail_timeout: Duration = span("failTimeout", always=True, doc="default 10s")
    max_latency: Duration = span("maxLatency", since="3.3")


class SockOptsConfig(ConfigObject):
    """Legacy socket options."""

    mark: int = integer("mark")
