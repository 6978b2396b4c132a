"""Named lists and sections: users, rules, hosts, resolvers, limits. Fills the runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from compat.build.nodes import chain_by_name
from compat.build.parts import credentials
from compat.build.world import World
from compat.schema import (
    AdmissionConfig,
    AuthConfig,
    AutherConfig,
    BypassConfig,
    HostsConfig,
    LimiterConfig,
    NameserverConfig,
    ResolverConfig,
    RouterConfig,
)
from gostpy.auth.authenticator import Authenticator, Group
from gostpy.errors import ConfigError, DialFailed, GostError
from gostpy.interfaces import Request, TLSSettings
from gostpy.lines import Remark
from gostpy.net.dial import is_ip, resolve
from gostpy.route.router import Router

if TYPE_CHECKING:  # imported where a configuration needs them: a start without is faster
    from gostpy.guard.admission import Admission
    from gostpy.guard.connections import ConnectionLimits
    from gostpy.guard.requests import RequestLimits
    from gostpy.guard.traffic import TrafficLimits
    from gostpy.net.routing import RoutingTable
    from gostpy.route.bypass import Bypass
    from gostpy.route.hosts import Hosts
    from gostpy.route.resolver import NameServer, Resolver

__all__ = ["authenticator", "build_policies"]

_SOURCES = ("file", "redis", "http", "plugin")


def build_policies(world: World) -> None:
    """Fill the runtime with everything that services and nodes refer to by name."""
    _refuse_later(world)
    config = world.config
    tables: tuple[tuple[str, str, Iterable[Any], Callable[[World, Any, str], Any]], ...] = (
        ("auther", "authers", config.authers or (), _auther),
        ("admission", "admissions", config.admissions or (), _admission),
        ("bypass", "bypasses", config.bypasses or (), _bypass),
        ("resolver", "resolvers", config.resolvers or (), _resolver),
        ("hosts", "hosts", config.hosts or (), _hosts),
        ("limiter", "limiters", config.limiters or (), _traffic),
        ("climiter", "climiters", config.climiters or (), _connections),
        ("rlimiter", "rlimiters", config.rlimiters or (), _requests),
        ("router", "routers", config.routers or (), _router),
    )
    for kind, section, items, make in tables:
        for index, item in enumerate(items):
            if item is None or not item.name:
                continue
            where = f"{section}[{index}]"
            for source in _SOURCES:
                if getattr(item, source, None) is not None:
                    message = f"{section} from {source} are not supported yet"
                    raise ConfigError(message, f"{where}.{source}")
            world.runtime.add(kind, item.name, make(world, item, where), where)


def _refuse_later(world: World) -> None:
    """Sections whose code does not exist yet are refused by name."""
    config = world.config
    for name in ("ingresses", "sds", "recorders", "observers", "rewriters", "caches"):
        if getattr(config, name):
            raise ConfigError(f"{name} are not supported yet", f"{name}[0]")
    if config.quotas:
        raise ConfigError("quotas are not supported yet", "quotas[0]")
    for name in ("api", "metrics", "profiling"):
        if getattr(config, name) is not None:
            raise ConfigError(f"the {name} service is not supported yet", name)


def _remarks(world: World, remarks: Iterable[Remark], where: str) -> None:
    for remark in remarks:
        world.warn(where, str(remark))


def _router(world: World, config: RouterConfig, where: str) -> RoutingTable:
    """Routes of layer 3; one without a gateway says nothing, as in gost."""
    from gostpy.net.routing import RouteEntry, RoutingTable, network_of

    routes = []
    for index, entry in enumerate(config.routes or ()):
        destination = (entry.dst or entry.net).strip() if entry is not None else ""
        if entry is None or not destination or not entry.gateway:
            continue
        network = network_of(destination)
        if network is None and "/" in destination:
            world.warn(f"{where}.routes[{index}]", f"{destination!r} is no network")
            continue
        routes.append(RouteEntry(network, destination, entry.gateway))
    return RoutingTable(routes)


def _auther(world: World, config: AutherConfig, where: str) -> Authenticator:
    users = {}
    for entry in config.auths or ():
        if entry is not None and entry.username:
            users[entry.username] = entry.password
    return Authenticator(users)


def authenticator(
    world: World, one: str, several: list[str] | None, auth: AuthConfig | None, where: str
) -> Callable[[str, str, str], str | None] | None:
    """(user, password, client address) -> client id; None lets everybody in.

    Named authers come first; inline credentials count only without any. A name that does not exist
    refuses everybody (gost: lets everybody in).
    """
    names = ([one] if one else []) + [name for name in several or () if name]
    if not names:
        own = credentials(auth, f"{where}.auth")
        if not own.username:
            return None
        return Authenticator({own.username: own.password}).authenticate
    for name in names:
        world.refer("auther", name, f"{where}.auther")
    holders = [world.runtime.holder("auther", name) for name in names]

    def authenticate(user: str, password: str, client: str) -> str | None:
        found = [auther for find in holders if (auther := find()) is not None]
        if world.strict and not found:
            return ""
        return Group(found).authenticate(user, password, client)

    return authenticate


def _admission(world: World, config: AdmissionConfig, where: str) -> Admission:
    from gostpy.guard.admission import Admission

    def addresses(name: str) -> list[str]:
        try:
            return [target[0] for _, target in resolve(name, 0)]
        except DialFailed as error:
            raise OSError(str(error)) from error

    made = Admission(config.matchers or (), config.whitelist or config.reverse, resolve=addresses)
    _remarks(world, made.remarks, f"{where}.matchers")
    return made


def _bypass(world: World, config: BypassConfig, where: str) -> Bypass:
    from gostpy.route.bypass import Bypass

    made = Bypass(
        config.matchers or (),
        config.whitelist or config.reverse,
        network=config.network,
        strict=world.strict,
    )
    _remarks(world, made.remarks, f"{where}.matchers")
    return made


def _hosts(world: World, config: HostsConfig, where: str) -> Hosts:
    from gostpy.route.hosts import Hosts, Mapping

    mappings = [
        Mapping(entry.ip, (entry.hostname, *(entry.aliases or ())))
        for entry in config.mappings or ()
        if entry is not None
    ]
    made = Hosts(mappings, strict=world.strict)
    _remarks(world, made.remarks, f"{where}.mappings")
    return made


def _traffic(world: World, config: LimiterConfig, where: str) -> TrafficLimits:
    from gostpy.guard.traffic import TrafficLimits, parse_traffic

    rules, remarks = parse_traffic(config.limits or ())
    _remarks(world, remarks, f"{where}.limits")
    return TrafficLimits(rules)


def _connections(world: World, config: LimiterConfig, where: str) -> ConnectionLimits:
    from gostpy.guard.connections import ConnectionLimits, parse_connections

    rules, remarks = parse_connections(config.limits or ())
    _remarks(world, remarks, f"{where}.limits")
    return ConnectionLimits(rules)


def _requests(world: World, config: LimiterConfig, where: str) -> RequestLimits:
    from gostpy.guard.requests import RequestLimits, parse_requests

    rules, remarks = parse_requests(config.limits or ())
    _remarks(world, remarks, f"{where}.limits")
    return RequestLimits(rules)


def _resolver(world: World, config: ResolverConfig, where: str) -> Resolver:
    from gostpy.route.resolver import Resolver

    servers = [
        _nameserver(world, server, f"{where}.nameservers[{index}]")
        for index, server in enumerate(config.nameservers or ())
        if server is not None
    ]
    return Resolver(servers, world.log.bind(kind="resolver", resolver=config.name))


def _nameserver(world: World, config: NameserverConfig, where: str) -> NameServer:
    from urllib.parse import urlsplit

    from gostpy.route.resolver import (
        NameServer,
        families,
        https_exchange,
        packet_exchange,
        stream_exchange,
    )

    text = config.addr if "://" in config.addr else f"udp://{config.addr}"
    url = urlsplit(text)
    scheme = url.scheme.lower()
    if scheme not in ("udp", "tcp", "tls", "dot", "https"):
        world.warn(f"{where}.addr", f"unknown scheme {scheme!r}, using udp")
        scheme = "udp"
    if not url.hostname:
        raise ConfigError(f"no host in {config.addr!r}", f"{where}.addr")
    port = url.port or (443 if scheme == "https" else 53)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    address = f"{host}:{port}"
    if config.chain:
        world.refer("chain", config.chain, f"{where}.chain")
    find = chain_by_name(world, config.chain) if config.chain else None
    router = Router(find)

    def stream() -> Any:
        return router.dial(Request("tcp", address))

    if scheme == "udp":
        exchange = packet_exchange(lambda: router.dial(Request("udp", address)))
    elif scheme == "tcp":
        exchange = stream_exchange(stream)
    else:
        secured = _secured(stream, config.hostname or url.hostname)
        exchange = (
            https_exchange(secured, url.netloc, url.path)
            if scheme == "https"
            else stream_exchange(secured)
        )
    try:
        order = families(config.prefer, config.only)
    except ConfigError as error:
        raise ConfigError(error.message, where) from error
    return NameServer(
        config.addr,
        exchange,
        order,
        ttl=config.ttl.seconds if config.ttl else 0.0,
        timeout=config.timeout.seconds if config.timeout else 5.0,
        client_ip=config.client_ip if is_ip(config.client_ip) else "",
        refresh=config.async_,
    )


def _secured(stream: Callable[[], Any], name: str) -> Callable[[], Any]:
    """TLS over what ``stream`` dials, unverified as in gost."""
    from gostpy.stream.tls import ClientContext, connect_tls

    settings = dataclasses.replace(TLSSettings(), server_name="" if is_ip(name) else name)
    context = ClientContext(settings)

    def secured() -> Any:
        conn = stream()
        try:
            connect_tls(conn, context, settings.server_name)
        except (GostError, OSError):
            conn.close(True)
            raise
        return conn

    return secured
