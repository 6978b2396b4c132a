"""-F: one URL -> one hop of the chain, with a node per comma-separated host.

``SCHEME://[USER[:PASS]@]HOST:PORT[,HOST:PORT...][?QUERY]``.
"""

from __future__ import annotations

from typing import Any

from compat.cmd_params import Lists, Params, credentials, selector, user_info
from compat.names import CONNECTORS, DIALERS
from compat.schema import (
    ConnectorConfig,
    DialerConfig,
    HopConfig,
    NodeConfig,
    TLSConfig,
)
from compat.url import URL, parse_url
from gostpy.errors import ConfigError

__all__ = ["normal_url", "parse_node"]

_CERT = ("tls.certFile", "certFile", "cert")
_KEY = ("tls.keyFile", "keyFile", "key")
_CA = ("tls.caFile", "caFile", "ca")
_PATH_DIALERS = frozenset({"unix", "serial"})
_NODE_PREFIXES = ("node.", "connector.", "dialer.")


def normal_url(text: str) -> URL:
    """Parse the value of -F, -api or -metrics; a scheme may be missing. Raises ConfigError."""
    text = text.strip()
    if not text:
        raise ConfigError("the value is empty")
    if text.startswith(":") or "://" not in text:
        text = "auto://" + text
    url = parse_url(text)
    if url.scheme == "https":
        url.scheme = "http+tls"
    return url


def parse_node(url: URL, lists: Lists) -> HopConfig:
    """The hop of one -F, without its name. Raises ConfigError."""
    live: dict[str, Any] = dict(url.query)
    params = Params(live)
    hop = HopConfig(selector=selector(live))
    if text := params.text("bypass"):
        hop.bypass = lists.bypass(text)
        params.drop("bypass")
    if text := params.text("resolver"):
        hop.resolver = lists.resolver(text)
        params.drop("resolver")
    if text := params.text("hosts"):
        hop.hosts = lists.hosts(text)
        params.drop("hosts")
    params.move("interface", "hop.interface", params.text("interface"))
    for key in ("so_mark", "proxyProtocol"):
        params.move(key, f"hop.{key}", max(params.integer(key), 0))
    hop.metadata = _hop_metadata(live)
    hop.nodes = list(_nodes(url, live, strict=lists.strict)) or None
    return hop


def _hop_metadata(live: dict[str, Any]) -> dict[str, Any]:
    """Everything that is not for the node or its parts; ``hop.`` keys leave the live map."""
    own = {key[4:]: live.pop(key) for key in list(live) if key.startswith("hop.")}
    shared = {k: v for k, v in live.items() if not k.startswith(_NODE_PREFIXES)}
    return {**shared, **own}


def _nodes(url: URL, live: dict[str, Any], *, strict: bool) -> list[NodeConfig]:
    connector, dialer = _types(url.scheme)
    params = Params(live)
    auth = user_info(url, connector, strict=strict)
    if (encoded := params.text("auth")) and auth is None:
        auth = credentials(encoded, strict=strict)
    params.drop("auth")
    tls = _tls(params, url.hostname)
    node_md, connector_md, dialer_md = _distribute(live)
    on_dialer = dialer in ("ssh", "sshd")
    if not strict and not url.host and dialer in _PATH_DIALERS:
        hosts = [url.path] if url.path else []
    else:
        hosts = [host for host in url.host.split(",") if host]
    return [
        NodeConfig(
            name=f"node-{number}",
            addr=host,
            connector=ConnectorConfig(
                type=connector, auth=None if on_dialer else auth, metadata=connector_md
            ),
            dialer=DialerConfig(
                type=dialer, auth=auth if on_dialer else None, tls=tls, metadata=dialer_md
            ),
            metadata=node_md,
        )
        for number, host in enumerate(hosts)
    ]


def _types(scheme: str) -> tuple[str, str]:
    parts = scheme.split("+")
    connector, dialer = ("", "") if len(parts) > 2 else (parts[0], parts[-1])
    if connector not in CONNECTORS:
        connector = "http"
    if dialer not in DIALERS:
        dialer = "udp" if connector == "ssu" else "tcp"
    return connector, dialer


def _tls(params: Params, hostname: str) -> TLSConfig | None:
    """TLS towards the node; there whenever anything is set, also for plain dialers."""
    tls = TLSConfig(
        cert_file=params.text(*_CERT),
        key_file=params.text(*_KEY),
        ca_file=params.text(*_CA),
        secure=params.truth("tls.secure", "secure"),
        server_name=params.text("tls.servername", "servername") or hostname,
    )
    params.drop(*_CERT, *_KEY, *_CA, "tls.secure", "secure", "tls.servername", "serverName")
    used = tls.secure or tls.cert_file or tls.ca_file or tls.server_name
    return tls if used else None


def _distribute(live: dict[str, Any]) -> list[dict[str, Any]]:
    """Metadata of node, connector and dialer: a prefix selects one place, others get all."""
    places: dict[str, dict[str, Any]] = {prefix: {} for prefix in _NODE_PREFIXES}
    for key, value in live.items():
        if not key.startswith(_NODE_PREFIXES):
            for place in places.values():
                place.setdefault(key, value)
            continue
        at = key.index(".") + 1
        places[key[:at]][key[at:]] = value
    return list(places.values())
