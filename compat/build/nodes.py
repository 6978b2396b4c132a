"""Nodes, hops, chains and chain groups from their configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compat.build.metadata import ChainOptions, HopOptions, NodeOptions
from compat.build.parts import build_connector, build_dialer, credentials
from compat.build.rules import bypass_rule, hosts_and_resolver, node_matcher
from compat.build.world import World
from compat.schema import (
    ChainConfig,
    ChainGroupConfig,
    ForwardNodeConfig,
    HopConfig,
    HTTPNodeConfig,
    NodeConfig,
    SelectorConfig,
    TLSNodeConfig,
)
from gostpy.errors import ConfigError, DialFailed
from gostpy.interfaces import Credentials, TLSSettings
from gostpy.net.sockopt import SocketOptions
from gostpy.route.chain import Chain, ChainGroup, Member
from gostpy.route.hop import Hop
from gostpy.route.node import HTTPSettings, Node
from gostpy.route.selector import Selector

__all__ = [
    "build_chain_group",
    "build_forward_node",
    "build_hop",
    "build_selector",
    "build_ways",
    "chain_by_name",
]


def build_ways(world: World) -> None:
    """Fill the runtime with hops and chains."""
    for index, hop in enumerate(world.config.hops or ()):
        if hop is not None and hop.name:
            where = f"hops[{index}]"
            world.runtime.add("hop", hop.name, build_hop(world, hop, where), where)
    for index, chain in enumerate(world.config.chains or ()):
        if chain is not None and chain.name:
            where = f"chains[{index}]"
            world.runtime.add("chain", chain.name, _chain(world, chain, where), where)


def _chain(world: World, config: ChainConfig, where: str) -> Chain:
    options = world.options(ChainOptions, config.metadata, f"{where}.metadata")
    world.leftover(f"{where}.metadata", config.metadata, f"{where}.metadata")
    hops: list[Callable[[], Hop | None]] = []
    owned: list[Hop] = []
    for index, hop in enumerate(config.hops or ()):
        if hop is None:
            continue
        place = f"{where}.hops[{index}]"
        if hop.nodes is not None or hop.plugin is not None or hop.file or hop.redis or hop.http:
            made = build_hop(world, hop, place)
            owned.append(made)
            hops.append(lambda made=made: made)  # type: ignore[misc]
        else:
            world.refer("hop", hop.name, place)
            hops.append(world.runtime.holder("hop", hop.name))
    return Chain(
        config.name,
        hops,
        weight=options.weight,
        backup=options.backup,
        max_fails=options.max_fails,
        fail_timeout=options.fail_timeout,
        strict=world.strict,
        owned=owned,
    )


def build_chain_group(
    world: World, chain: str, group: ChainGroupConfig | None, where: str
) -> Callable[[], Any] | None:
    """What a router asks for its route: the named chain, a group, or nothing.

    The callable raises DialFailed for a chain that does not exist, unless gost's way is asked for.
    """
    entries = list(group.chains or ()) if group is not None else []
    names = ([chain] if chain else []) + [entry.chain for entry in entries]
    if not names:
        return None
    for name in names:
        world.refer("chain", name, where)
    if len(names) == 1 and not entries:
        return chain_by_name(world, chain)
    members = [Member(world.runtime.holder("chain", chain))] if chain else []
    for index, entry in enumerate(entries):
        place = f"{where}Group.chains[{index}]"
        if entry.probe is not None:
            raise ConfigError("probes of chains are not supported yet", f"{place}.probe")
        matches = node_matcher(world, None, entry.matcher, place)
        members.append(
            Member(world.runtime.holder("chain", entry.chain), matches[0] if matches else None)
        )
    selector = build_selector(world, group.selector if group else None, f"{where}Group.selector")
    made = ChainGroup(members, selector or Selector())
    return lambda: made


def chain_by_name(world: World, name: str) -> Callable[[], Any]:
    """Looks a chain up at each use; raises DialFailed when there is none (gost: no chain)."""
    find = world.runtime.holder("chain", name)
    if world.strict:
        return find

    def existing() -> Any:
        chain = find()
        if chain is None:
            raise DialFailed(f"chain {name!r} does not exist")
        return chain

    return existing


def build_selector(world: World, config: SelectorConfig | None, where: str) -> Selector | None:
    """The selector of a hop or group; None takes gost's defaults."""
    if config is None:
        return Selector()
    from gostpy.route.selector import strategy_name

    if config.strategy and strategy_name(config.strategy) is None:
        world.warn(f"{where}.strategy", f"unknown strategy {config.strategy!r}, using round")
    return Selector(config.strategy, config.max_fails, config.fail_timeout.seconds)


def build_hop(world: World, config: HopConfig, where: str) -> Hop:
    """A hop with its nodes. Raises ConfigError."""
    for name in ("file", "redis", "http", "plugin"):
        if getattr(config, name) is not None:
            raise ConfigError(f"nodes from {name} are not supported yet", f"{where}.{name}")
    options = world.options(HopOptions, config.metadata, f"{where}.metadata", scope=where)
    nodes = [
        _node(world, node, config, options, f"{where}.nodes[{index}]", where)
        for index, node in enumerate(config.nodes or ())
        if node is not None
    ]
    world.leftover(where, config.metadata, f"{where}.metadata")
    return Hop(
        config.name,
        nodes,
        build_selector(world, config.selector, f"{where}.selector"),
        bypass_rule(world, config.bypass, config.bypasses, where),
        strict=world.strict,
    )


def _node(
    world: World, config: NodeConfig, hop: HopConfig, inherited: HopOptions, where: str, scope: str
) -> Node:
    """A proxy node; hop metadata stands in for what the node does not set."""
    metadata = config.metadata or {}
    options = world.options(NodeOptions, metadata, f"{where}.metadata", scope=scope)
    sockets = SocketOptions(
        interface=options.interface or config.interface or inherited.interface or hop.interface,
        mark=options.so_mark
        or (config.sockopts.mark if config.sockopts else 0)
        or inherited.so_mark
        or (hop.sockopts.mark if hop.sockopts else 0),
        netns=options.netns or config.netns or inherited.netns,
    ).usual()
    matched = node_matcher(world, config.filter, config.matcher, where)
    node = Node(
        name=config.name,
        address=config.addr,
        network=config.network or "tcp",
        sockets=sockets,
        proxy_protocol=options.proxy_protocol or inherited.proxy_protocol,
        matches=matched[0] if matched else None,
        priority=matched[1] if matched else 0,
        bypassed=bypass_rule(world, config.bypass, config.bypasses, where),
        resolve=hosts_and_resolver(
            world, config.hosts or hop.hosts, config.resolver or hop.resolver, where
        ),
        weight=options.weight,
        backup=options.backup,
        max_fails=options.max_fails,
        fail_timeout=options.fail_timeout,
        http=_http(config.http, None),
        tls=_node_tls(config.tls),
        metadata=metadata,
    )
    node.dialer = build_dialer(world, config, sockets, where, scope)
    node.connector = build_connector(world, config, sockets, where, scope)
    world.leftover(scope, metadata, f"{where}.metadata")
    for part, kept in (("dialer", config.dialer), ("connector", config.connector)):
        if kept is not None:
            world.leftover(scope, kept.metadata, f"{where}.{part}.metadata")
    return node


def build_forward_node(world: World, config: ForwardNodeConfig, where: str) -> Node:
    """A target of a forwarder."""
    options = world.options(NodeOptions, config.metadata, f"{where}.metadata")
    legacy = _legacy_filter(config)
    matched = node_matcher(world, config.filter or legacy, config.matcher, where)
    auth = credentials(config.http.auth if config.http and config.http.auth else config.auth, where)
    return Node(
        name=config.name or config.addr,
        address=config.addr,
        network=config.network or "tcp",
        matches=matched[0] if matched else None,
        priority=matched[1] if matched else 0,
        bypassed=bypass_rule(world, config.bypass, config.bypasses, where),
        weight=options.weight,
        backup=options.backup,
        max_fails=options.max_fails,
        fail_timeout=options.fail_timeout,
        http=_http(config.http, auth),
        tls=_node_tls(config.tls),
        metadata=config.metadata or {},
    )


def _legacy_filter(config: ForwardNodeConfig) -> Any:
    from compat.schema import NodeFilterConfig

    if not (config.host or config.protocol or config.path):
        return None
    return NodeFilterConfig(host=config.host, protocol=config.protocol, path=config.path)


def _http(config: HTTPNodeConfig | None, auth: Credentials | None) -> HTTPSettings | None:
    """The ``http`` block, deprecated spellings included."""
    if config is None and not auth:
        return None
    if config is None:
        return HTTPSettings(auth=auth or Credentials())
    bodies = config.rewrite_response_body or config.rewrite_body or ()
    return HTTPSettings(
        host=config.host,
        request_header=_headers(config.request_header or config.header),
        response_header=_headers(config.response_header),
        rewrite_url=tuple(
            (rule.match, rule.replacement) for rule in config.rewrite_url or config.rewrite or ()
        ),
        rewrite_body=tuple((rule.type, rule.match, rule.replacement) for rule in bodies),
        rewrite_request_body=tuple(
            (rule.type, rule.match, rule.replacement) for rule in config.rewrite_request_body or ()
        ),
        auth=auth or credentials(config.auth, ""),
        fail_codes=config.fail_codes,
    )


def _headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    return dict(headers or {})


def _node_tls(config: TLSNodeConfig | None) -> TLSSettings | None:
    if config is None:
        return None
    options = config.options
    return TLSSettings(
        secure=config.secure,
        server_name=config.server_name,
        min_version=options.min_version if options else "",
        max_version=options.max_version if options else "",
        cipher_suites=tuple(options.cipher_suites or ()) if options else (),
        alpn=tuple(options.alpn or ()) if options else (),
    )
