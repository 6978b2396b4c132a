"""-L: one URL -> one or more services.

``SCHEME://[USER[:PASS]@][HOST]:PORT[/TARGETS][?QUERY]``. The host is cut out before the rest is
parsed as a URL, so it may be a name, a range or empty.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from compat.cmd_params import Lists, Params, credentials, selector, user_info
from compat.names import HANDLERS, LISTENERS
from compat.schema import (
    ForwarderConfig,
    ForwardNodeConfig,
    HandlerConfig,
    ListenerConfig,
    SelectorConfig,
    ServiceConfig,
    TLSConfig,
)
from compat.url import URL, parse_url, port_range

__all__ = ["apply_policies", "parse_service", "service_url"]

_CERT = ("tls.certFile", "certFile", "cert")
_KEY = ("tls.keyFile", "keyFile", "key")
_CA = ("tls.caFile", "caFile", "ca")
_PATH_LISTENERS = frozenset({"unix", "runix", "serial"})
_FORWARDERS = frozenset(
    ["tcp", "udp", "rtcp", "rudp", "tun", "tap", "dns", "unix", "serial", "runix"]
)


def service_url(text: str) -> URL:
    """Parse the value of -L. Raises ConfigError."""
    if text.startswith(":") or "://" not in text:
        text = "auto://" + text
    start = text.index(":") + 3
    ends = [at for at in (text.find("/", start), text.find("?", start)) if at >= 0]
    end = min(ends, default=len(text))
    start = max(start, text.rfind("@", start, end) + 1)
    url = parse_url(text[:start] + text[end:])
    url.host = text[start:end]
    if url.scheme == "https":
        url.scheme = "http+tls"
    return url


def parse_service(url: URL, *, strict: bool, prefix: str) -> list[ServiceConfig]:
    """The services of one -L, without names, chain and policies. Raises ConfigError.

    Args:
        prefix: put before target names.
    """
    handler, listener = _types(url.scheme)
    targets = url.escaped_path.strip("/")
    if not strict and not url.host and listener in _PATH_LISTENERS:
        url.host, targets = url.path, ""
    elif listener == "stdio" and not targets:
        url.host, targets = "", url.host
    services = [ServiceConfig(addr=addr) for addr in port_range(url.host, strict=strict)]
    nodes = _targets(targets, strict, prefix)
    if nodes and handler != "relay":
        handler = listener if listener in _FORWARDERS else "forward"

    live: dict[str, Any] = dict(url.query)
    params = Params(live)
    auth = user_info(url, handler, strict=strict)
    if encoded := params.text("auth"):
        auth = credentials(encoded, strict=strict)
    params.drop("auth")
    tls = _tls(params)
    _convert(params)
    chosen = selector(live)
    handler_md, listener_md, service_md = _distribute(live)
    on_listener = listener in ("ssh", "sshd")
    first = HandlerConfig(type=handler, auth=None if on_listener else auth, metadata=handler_md)
    second = ListenerConfig(
        type=listener, auth=auth if on_listener else None, tls=tls, metadata=listener_md
    )
    _forward(services, nodes, chosen)
    for service in services:
        service.handler, service.listener, service.metadata = first, second, service_md
    if not strict:
        for service in services[1:]:
            _own_copy(service)
    return services


def _own_copy(service: ServiceConfig) -> None:
    """Give a service of a range objects of its own; in 3.2.6 all of a range share one set."""
    handler, listener = copy(service.handler), copy(service.listener)
    assert handler is not None
    assert listener is not None
    handler.auth = copy(handler.auth)
    handler.metadata = dict(handler.metadata or {})
    listener.auth, listener.tls = copy(listener.auth), copy(listener.tls)
    listener.metadata = dict(listener.metadata or {})
    service.handler, service.listener = handler, listener
    service.metadata = dict(service.metadata or {})


def _types(scheme: str) -> tuple[str, str]:
    parts = scheme.split("+")
    handler, listener = ("", "") if len(parts) > 2 else (parts[0], parts[-1])
    if handler not in HANDLERS:
        handler = "auto"
    if listener not in LISTENERS:
        listener = "udp" if handler == "ssu" else "tcp"
    return handler, listener


def _targets(text: str, strict: bool, prefix: str) -> list[ForwardNodeConfig]:
    if not text:
        return []
    addresses = [a for item in text.split(",") for a in port_range(item, strict=strict)]
    return [
        ForwardNodeConfig(name=f"{prefix}target-{number}", addr=address)
        for number, address in enumerate(addresses)
    ]


def _forward(
    services: list[ServiceConfig],
    nodes: list[ForwardNodeConfig],
    chosen: SelectorConfig | None,
) -> None:
    """One service gets all targets, many services get one each; surplus targets are dropped."""
    if not nodes:
        return
    for number, service in enumerate(services):
        if len(services) == 1 or len(nodes) == 1:
            mine = nodes
        elif number < len(nodes):
            mine = nodes[number : number + 1]
        else:
            break
        service.forwarder = ForwarderConfig(selector=chosen, nodes=list(mine))


def _tls(params: Params) -> TLSConfig | None:
    """Server certificate; without one the other TLS parameters have no effect."""
    tls = TLSConfig(
        cert_file=params.text(*_CERT), key_file=params.text(*_KEY), ca_file=params.text(*_CA)
    )
    params.drop(*_CERT, *_KEY, *_CA)
    return tls if tls.cert_file else None


def _convert(params: Params) -> None:
    """Parameters that change type or belong to the service only."""
    if dns := params.text("dns"):
        params.live["dns"] = dns.split(",")
    for key in ("interface", "netns", "netns.out"):
        params.move(key, f"service.{key}", params.text(key))
    for key in ("so_mark", "proxyProtocol"):
        params.move(key, f"service.{key}", max(params.integer(key), 0))


def _distribute(live: dict[str, Any]) -> list[dict[str, Any]]:
    """Metadata of handler, listener and service: a prefix selects one place, others get all."""
    places = {"handler.": {}, "listener.": {}, "service.": {}}  # type: dict[str, dict[str, Any]]
    for key, value in live.items():
        if not key.startswith(tuple(places)):
            for place in places.values():
                place.setdefault(key, value)
            continue
        at = key.index(".") + 1
        places[key[:at]][key[at:]] = value
    return list(places.values())


def apply_policies(service: ServiceConfig, lists: Lists) -> None:
    """Turn handler parameters such as ``bypass=`` into named lists that the service refers to."""
    assert service.handler is not None
    params = Params(service.handler.metadata or {})
    if (retries := params.integer("retries")) > 0:
        service.handler.retries = retries
        params.drop("retries")
    if text := params.text("admission"):
        service.admission = lists.admission(text)
        params.drop("admission")
    if text := params.text("bypass"):
        service.bypass = lists.bypass(text)
        params.drop("bypass")
    if text := params.text("resolver"):
        service.resolver = lists.resolver(text, params.text("prefer"))
        params.drop("resolver")
    if text := params.text("hosts"):
        service.hosts = lists.hosts(text)
        params.drop("hosts")
    _apply_limits(service, params, lists)


def _apply_limits(service: ServiceConfig, params: Params, lists: Lists) -> None:
    keys = {"$": "limiter.", "$$": "limiter.conn."}
    lines = [
        (key, into, out)
        for key, name in keys.items()
        if any((into := params.text(name + "in"), out := params.text(name + "out")))
    ]
    if lines:
        service.limiter = lists.traffic(lines)
        params.drop(*(name + side for name in keys.values() for side in ("in", "out")))
    if (count := params.integer("climiter")) > 0:
        service.climiter = lists.connections(count)
        params.drop("climiter")
    if (rate := params.number("rlimiter")) > 0:
        service.rlimiter = lists.rate(rate)
        params.drop("rlimiter")
