"""Rules of services, hops and nodes as functions: bypass, admission, filter and matcher, names.

A name is looked up each time its rule is used. What does not exist fails closed: a missing bypass
refuses (with gost's own behaviour it is as if it was not set), a missing admission denies (in gost,
too).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compat.build.world import World
from compat.schema import NodeFilterConfig, NodeMatcherConfig
from gostpy.errors import ConfigError, Denied, DialFailed
from gostpy.interfaces import Request
from gostpy.net.dial import is_ip, split_address
from gostpy.route.filter import Filter

if TYPE_CHECKING:  # imported where a configuration needs them: a start without is faster
    from gostpy.route.bypass import Verdict
    from gostpy.route.matcher import Facts

__all__ = [
    "admission_rule",
    "bypass_rule",
    "hosts_and_resolver",
    "node_matcher",
    "service_bypass",
    "together",
]


def together(one: str, several: Sequence[str] | None) -> list[str]:
    """``bypass`` and ``bypasses`` (and their like) are one list, the singular first."""
    return ([one] if one else []) + [name for name in several or () if name]


def _decide_bypass(world: World, names: list[str], where: str) -> Callable[[str, str], Verdict]:
    from gostpy.route.bypass import decide_group

    for name in names:
        world.refer("bypass", name, where)
    holders = [(name, world.runtime.holder("bypass", name)) for name in names]

    def decide(network: str, address: str) -> Verdict:
        found = []
        for name, find in holders:
            bypass = find()
            if bypass is not None:
                found.append(bypass)
            elif not world.strict:
                raise Denied(f"bypass {name!r} does not exist")
        return decide_group(found, network, address)

    return decide


def bypass_rule(
    world: World, one: str, several: Sequence[str] | None, where: str
) -> Callable[[Request], bool] | None:
    """The bypass of a hop or node: whether a request goes around it. Raises Denied when called."""
    names = together(one, several)
    if not names:
        return None
    decide = _decide_bypass(world, names, f"{where}.bypass")
    return lambda request: bool(decide(request.network, request.host or request.address))


def service_bypass(
    world: World, one: str, several: Sequence[str] | None, where: str
) -> Callable[[str, str, str, str, str], str] | None:
    """The bypass of a service: (network, address, client, host, path) -> the rule, "" to go on."""
    names = together(one, several)
    if not names:
        return None
    decide = _decide_bypass(world, names, f"{where}.bypass")

    def bypassed(network: str, address: str, client: str, host: str, path: str) -> str:
        verdict = decide(network, host or address)
        return verdict.reason if verdict else ""

    return bypassed


def admission_rule(
    world: World, one: str, several: Sequence[str] | None, where: str
) -> Callable[[str], str] | None:
    """Client address -> why it is refused, "" admits."""
    names = together(one, several)
    if not names:
        return None
    for name in names:
        world.refer("admission", name, f"{where}.admission")
    holders = [(name, world.runtime.holder("admission", name)) for name in names]

    def refused(address: str) -> str:
        for name, find in holders:
            admission = find()
            if admission is None:
                return f"admission {name!r} does not exist"
            verdict = admission.decide(address)
            if not verdict:
                return str(verdict.reason)
        return ""

    return refused


def node_matcher(
    world: World,
    simple: NodeFilterConfig | None,
    matcher: NodeMatcherConfig | None,
    where: str,
) -> tuple[Callable[[Request], bool] | None, int] | None:
    """(condition, priority) of a node; a matcher rule replaces the filter. None: matches all."""
    if matcher is not None and matcher.rule:
        return _rule(world, matcher, f"{where}.matcher.rule")
    priority = matcher.priority if matcher is not None else 0
    if simple is None or not (simple.host or simple.protocol or simple.path):
        return (None, priority) if priority else None
    found = Filter(simple.host, simple.protocol, simple.path)
    return (lambda r: found.matches(r.host or r.address, r.protocol, r.path)), priority


def _rule(
    world: World, matcher: NodeMatcherConfig, where: str
) -> tuple[Callable[[Request], bool] | None, int]:
    from gostpy.route.matcher import parse_rule, priority_of

    runtime = world.runtime

    def passes_bypass(name: str, address: str) -> bool:
        bypass = runtime.get("bypass", name)
        return bypass is not None and not bypass.decide("", address)

    def passes_admission(name: str, address: str) -> bool:
        admission = runtime.get("admission", name)
        return admission is not None and bool(admission.decide(address))

    try:
        rule = parse_rule(matcher.rule, bypass=passes_bypass, admission=passes_admission)
    except ConfigError as error:
        if world.strict:  # gost logs it and lets the node match everything
            world.warn(where, str(error))
            return None, -1
        raise ConfigError(error.message, where) from error
    priority = priority_of(matcher.rule, matcher.priority)
    return (lambda request: rule.matches(facts_of(request))), priority


def facts_of(request: Request) -> Facts:
    """What matcher rules may look at."""
    from gostpy.route.matcher import Facts

    return Facts(
        network=request.network,
        address=request.address,
        host=request.host or request.address,
        protocol=request.protocol,
        client_ip=split_address(request.source)[0] if request.source else "",
        method=request.method,
        path=request.path,
        headers=request.headers,
        query=request.query,
    )


def hosts_and_resolver(
    world: World, hosts: str, resolver: str, where: str
) -> Callable[[str, str], str] | None:
    """(network, ``host:port``) -> ``ip:port`` by hosts table, then resolver; None: leave names.

    The callable raises DialFailed: the resolver knows no such name.
    """
    if not hosts and not resolver:
        return None
    if hosts:
        world.refer("hosts", hosts, f"{where}.hosts")
    if resolver:
        world.refer("resolver", resolver, f"{where}.resolver")
    find_hosts = world.runtime.holder("hosts", hosts)
    find_resolver = world.runtime.holder("resolver", resolver)

    def resolve(network: str, address: str) -> str:
        if network in ("unix", "serial"):
            return address
        host, port = split_address(address)
        if not host or is_ip(host):
            return address
        table = find_hosts()
        found = table.lookup("ip", host) if table is not None else None
        ips: Sequence[str] = found.ips if found is not None else ()
        if not ips:
            server = find_resolver()
            if server is None:
                return address
            ips = server.resolve(host)
            if not ips:
                raise DialFailed(f"domain {host} does not exist", address=address)
        ip = ips[0]
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

    return resolve
