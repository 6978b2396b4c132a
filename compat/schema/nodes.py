"""The way out: chains, hops, nodes and what a forwarder sends to."""

from __future__ import annotations

from typing import Any

from compat.schema.fields import (
    ConfigObject,
    chain_names,
    flag,
    headers,
    integer,
    many,
    one,
    span,
    table,
    text,
    texts,
    values,
)
from compat.schema.sections import (
    AuthConfig,
    FileLoader,
    HTTPLoader,
    PluginConfig,
    RedisLoader,
    SelectorConfig,
    SockOptsConfig,
    TLSConfig,
    TLSOptions,
)
from compat.values import Duration

__all__ = [
    "ChainConfig",
    "ChainGroupConfig",
    "ChainGroupEntry",
    "ConnectorConfig",
    "DialerConfig",
    "ForwardHopConfig",
    "ForwardHopGroupConfig",
    "ForwardNodeConfig",
    "ForwarderConfig",
    "HTTPBodyRewriteConfig",
    "HTTPNodeConfig",
    "HTTPURLRewriteConfig",
    "HopConfig",
    "NodeConfig",
    "NodeFilterConfig",
    "NodeMatcherConfig",
    "ProbeConfig",
    "TLSNodeConfig",
]


class HTTPURLRewriteConfig(ConfigObject):
    """One rewrite of request paths."""

    match: str = text("match", json="Match", always=True)
    replacement: str = text("replacement", json="Replacement", always=True)


class HTTPBodyRewriteConfig(ConfigObject):
    """One rewrite of bodies."""

    type: str = text(
        "type",
        json="Type",
        always=True,
        doc="comma separated MIME types; empty = text/html; * = any",
    )
    match: str = text("match", json="Match", always=True)
    replacement: str = text("replacement", json="Replacement", always=True)
    rewriter: str = text("rewriter", since="3.3")
    max_chunk_size: int = integer("maxChunkSize", since="3.3")


class HTTPNodeConfig(ConfigObject):
    """What is changed in HTTP requests and responses of a node."""

    host: str = text("host")
    header: dict[str, str] | None = headers("header", deprecated=True)
    request_header: dict[str, str] | None = headers("requestHeader")
    response_header: dict[str, str] | None = headers("responseHeader")
    rewrite: list[HTTPURLRewriteConfig] | None = values(
        "rewrite", HTTPURLRewriteConfig, deprecated=True
    )
    rewrite_url: list[HTTPURLRewriteConfig] | None = values("rewriteURL", HTTPURLRewriteConfig)
    rewrite_body: list[HTTPBodyRewriteConfig] | None = values(
        "rewriteBody", HTTPBodyRewriteConfig, deprecated=True
    )
    auth: AuthConfig | None = one("auth", AuthConfig)
    rewrite_request_body: list[HTTPBodyRewriteConfig] | None = values(
        "rewriteRequestBody", HTTPBodyRewriteConfig, since="3.3"
    )
    rewrite_response_body: list[HTTPBodyRewriteConfig] | None = values(
        "rewriteResponseBody", HTTPBodyRewriteConfig, since="3.3"
    )
    fail_codes: str = text("failCodes", since="3.3")


class NodeFilterConfig(ConfigObject):
    """Legacy choice of a node by protocol, host and path."""

    host: str = text("host")
    protocol: str = text("protocol")
    path: str = text("path")


class NodeMatcherConfig(ConfigObject):
    """The rule that requests for a node must match."""

    rule: str = text("rule")
    priority: int = integer("priority", doc="0 = rule length")
    bodysize: int = integer(
        "bodysize", json="bodySize", since="3.3", doc="default 1048576; at most 10485760"
    )


class TLSNodeConfig(ConfigObject):
    """TLS towards a forwarding target."""

    server_name: str = text("serverName")
    secure: bool = flag("secure")
    options: TLSOptions | None = one("options", TLSOptions)


class ProbeConfig(ConfigObject):
    """A health check."""

    type: str = text("type", always=True, since="3.3")
    addr: str = text("addr", always=True, since="3.3")
    interval: Duration = span("interval", always=True, since="3.3")
    timeout: Duration = span("timeout", always=True, since="3.3")
    http_path: str = text("httpPath", since="3.3")
    http_host: str = text("httpHost", since="3.3")
    http_headers: dict[str, str] | None = headers("httpHeaders", since="3.3")
    expected_status: int = integer("expectedStatus", since="3.3")
    command: str = text("command", since="3.3")


class DialerConfig(ConfigObject):
    """How bytes travel to a node."""

    type: str = text("type", always=True)
    auth: AuthConfig | None = one("auth", AuthConfig)
    tls: TLSConfig | None = one("tls", TLSConfig)
    metadata: dict[str, Any] | None = table("metadata")


class ConnectorConfig(ConfigObject):
    """What is asked of a node."""

    type: str = text("type", always=True)
    auth: AuthConfig | None = one("auth", AuthConfig)
    tls: TLSConfig | None = one("tls", TLSConfig)
    metadata: dict[str, Any] | None = table("metadata")


class NodeConfig(ConfigObject):
    """One proxy on the way out."""

    name: str = text("name", always=True)
    addr: str = text("addr")
    network: str = text("network", doc="one of tcp, udp, unix, serial; used by forwarding nodes")
    bypass: str = text("bypass")
    bypasses: list[str] | None = texts("bypasses")
    resolver: str = text("resolver")
    hosts: str = text("hosts")
    connector: ConnectorConfig | None = one("connector", ConnectorConfig)
    dialer: DialerConfig | None = one("dialer", DialerConfig)
    interface: str = text("interface", deprecated=True)
    netns: str = text("netns", deprecated=True)
    sockopts: SockOptsConfig | None = one("sockopts", SockOptsConfig, deprecated=True)
    filter: NodeFilterConfig | None = one("filter", NodeFilterConfig, deprecated=True)
    matcher: NodeMatcherConfig | None = one("matcher", NodeMatcherConfig)
    http: HTTPNodeConfig | None = one("http", HTTPNodeConfig)
    tls: TLSNodeConfig | None = one("tls", TLSNodeConfig)
    metadata: dict[str, Any] | None = table("metadata")
    probe: ProbeConfig | None = one("probe", ProbeConfig, since="3.3")


class HopConfig(ConfigObject):
    """A set of nodes of which one is used."""

    name: str = text("name", always=True)
    interface: str = text("interface", deprecated=True)
    sockopts: SockOptsConfig | None = one("sockopts", SockOptsConfig, deprecated=True)
    selector: SelectorConfig | None = one("selector", SelectorConfig)
    bypass: str = text("bypass")
    bypasses: list[str] | None = texts("bypasses")
    resolver: str = text("resolver")
    hosts: str = text("hosts")
    nodes: list[NodeConfig | None] | None = many(
        "nodes", NodeConfig, doc="present (even empty list) = inline hop inside a chain"
    )
    reload: Duration = span("reload")
    file: FileLoader | None = one("file", FileLoader)
    redis: RedisLoader | None = one("redis", RedisLoader)
    http: HTTPLoader | None = one("http", HTTPLoader)
    plugin: PluginConfig | None = one("plugin", PluginConfig)
    metadata: dict[str, Any] | None = table("metadata")


class ChainConfig(ConfigObject):
    """Hops in order."""

    name: str = text("name", always=True)
    hops: list[HopConfig | None] | None = many("hops", HopConfig, always=True)
    metadata: dict[str, Any] | None = table("metadata")


class ChainGroupEntry(ConfigObject):
    """A chain of a group with its conditions."""

    chain: str = text("chain", since="3.3")
    matcher: NodeMatcherConfig | None = one("matcher", NodeMatcherConfig, since="3.3")
    probe: ProbeConfig | None = one("probe", ProbeConfig, since="3.3")


class ChainGroupConfig(ConfigObject):
    """Chains of which one is picked for each dial."""

    chains: list[ChainGroupEntry] | None = chain_names("chains", ChainGroupEntry)
    selector: SelectorConfig | None = one("selector", SelectorConfig)


class ForwardNodeConfig(ConfigObject):
    """A forwarding target."""

    name: str = text("name")
    addr: str = text("addr")
    network: str = text("network")
    bypass: str = text("bypass")
    bypasses: list[str] | None = texts("bypasses")
    protocol: str = text("protocol", deprecated=True)
    host: str = text("host", deprecated=True)
    path: str = text("path", deprecated=True)
    filter: NodeFilterConfig | None = one("filter", NodeFilterConfig, deprecated=True)
    matcher: NodeMatcherConfig | None = one("matcher", NodeMatcherConfig)
    auth: AuthConfig | None = one("auth", AuthConfig, deprecated=True)
    http: HTTPNodeConfig | None = one("http", HTTPNodeConfig)
    tls: TLSNodeConfig | None = one("tls", TLSNodeConfig)
    metadata: dict[str, Any] | None = table("metadata")
    probe: ProbeConfig | None = one("probe", ProbeConfig, since="3.3")


class ForwardHopConfig(ConfigObject):
    """A hop of a group with its conditions."""

    hop: str = text("hop", since="3.3")
    matcher: NodeMatcherConfig | None = one("matcher", NodeMatcherConfig, since="3.3")
    probe: ProbeConfig | None = one("probe", ProbeConfig, since="3.3")


class ForwardHopGroupConfig(ConfigObject):
    """Hops of which one is picked."""

    hops: list[ForwardHopConfig | None] | None = many("hops", ForwardHopConfig, since="3.3")
    selector: SelectorConfig | None = one("selector", SelectorConfig, since="3.3")


class ForwarderConfig(ConfigObject):
    """The targets of a forwarding service."""

    name: str = text("name", deprecated=True)
    hop: str = text("hop")
    selector: SelectorConfig | None = one("selector", SelectorConfig)
    nodes: list[ForwardNodeConfig | None] | None = many(
        "nodes", ForwardNodeConfig, always=True, doc="null items skipped"
    )
    hop_group: ForwardHopGroupConfig | None = one("hopGroup", ForwardHopGroupConfig, since="3.3")
