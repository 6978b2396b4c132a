"""Names of components, as data: kind and gost's type name -> module and class.

A module is imported when its name is first used, so an absent optional library matters only to the
configs that need it.
"""

from __future__ import annotations

import importlib
from typing import Any

from gostpy.errors import ConfigError

__all__ = ["KNOWN", "component", "names", "register"]

_HANDLERS = {
    "auto": "gostpy.processing.auto",
    "forward": "gostpy.processing.forward",
    "http": "gostpy.processing.http",
    "http2": "gostpy.processing.http2",
    "http3": "gostpy.processing.http3",
    "masque": "gostpy.processing.masque",
    "red": "gostpy.processing.redirect",
    "redir": "gostpy.processing.redirect",
    "redirect": "gostpy.processing.redirect",
    "redu": "gostpy.processing.redu",
    "relay": "gostpy.processing.relay",
    "rtcp": "gostpy.processing.remote",
    "rudp": "gostpy.processing.remote",
    "runix": "gostpy.processing.remote",
    "serial": "gostpy.processing.serial",
    "sni": "gostpy.processing.sni",
    "socks": "gostpy.processing.socks5",
    "socks4": "gostpy.processing.socks4",
    "socks4a": "gostpy.processing.socks4",
    "socks5": "gostpy.processing.socks5",
    "ss": "gostpy.processing.shadowsocks",
    "sshd": "gostpy.processing.sshd",
    "ssu": "gostpy.processing.shadowsocks_udp",
    "tap": "gostpy.processing.tap",
    "tcp": "gostpy.processing.forward",
    "tun": "gostpy.processing.tun",
    "tungo": "gostpy.processing.tungo",
    "udp": "gostpy.processing.forward",
    "unix": "gostpy.processing.unix",
}

_CONNECTORS = {
    "direct": "gostpy.processing.direct",
    "forward": "gostpy.processing.forward",
    "http": "gostpy.processing.http",
    "http2": "gostpy.processing.http2",
    "masque": "gostpy.processing.masque",
    "relay": "gostpy.processing.relay",
    "serial": "gostpy.processing.serial",
    "sni": "gostpy.processing.sni",
    "socks": "gostpy.processing.socks5",
    "socks4": "gostpy.processing.socks4",
    "socks4a": "gostpy.processing.socks4",
    "socks5": "gostpy.processing.socks5",
    "ss": "gostpy.processing.shadowsocks",
    "sshd": "gostpy.processing.sshd",
    "ssu": "gostpy.processing.shadowsocks_udp",
    "tcp": "gostpy.processing.forward",
    "unix": "gostpy.processing.unix",
    "virtual": "gostpy.processing.direct",
}

_TABLES: dict[str, dict[str, str]] = {"handler": _HANDLERS, "connector": _CONNECTORS}
_CLASS = {"handler": "Handler", "connector": "Connector"}

KNOWN: dict[str, frozenset[str]] = {
    "handler": frozenset(
        [
            "api",
            "auto",
            "dns",
            "file",
            "forward",
            "http",
            "http2",
            "http3",
            "masque",
            "metrics",
            "red",
            "redir",
            "redirect",
            "redu",
            "relay",
            "router",
            "rtcp",
            "rudp",
            "runix",
            "serial",
            "sni",
            "socks",
            "socks4",
            "socks4a",
            "socks5",
            "ss",
            "sshd",
            "ssu",
            "stdio",
            "tap",
            "tcp",
            "tun",
            "tungo",
            "tunnel",
            "udp",
            "unix",
        ]
    ),
    "connector": frozenset(
        [
            "direct",
            "forward",
            "http",
            "http2",
            "masque",
            "relay",
            "router",
            "serial",
            "sni",
            "socks",
            "socks4",
            "socks4a",
            "socks5",
            "ss",
            "sshd",
            "ssu",
            "tcp",
            "tunnel",
            "unix",
            "virtual",
        ]
    ),
    "listener": frozenset(
        [
            "dns",
            "dtls",
            "ftcp",
            "grpc",
            "h2",
            "h2c",
            "h3",
            "h3-masque",
            "http2",
            "http3",
            "icmp",
            "icmp6",
            "kcp",
            "mtcp",
            "mtls",
            "mws",
            "mwss",
            "ohttp",
            "otls",
            "pht",
            "phts",
            "quic",
            "red",
            "redir",
            "redirect",
            "redu",
            "rtcp",
            "rudp",
            "runix",
            "serial",
            "ssh",
            "sshd",
            "stdio",
            "tap",
            "tcp",
            "tls",
            "tun",
            "tungo",
            "udp",
            "unix",
            "ws",
            "wss",
            "wt",
        ]
    ),
    "dialer": frozenset(
        [
            "direct",
            "dtls",
            "ftcp",
            "grpc",
            "h2",
            "h2c",
            "h3",
            "h3-masque",
            "http2",
            "http3",
            "icmp",
            "icmp6",
            "kcp",
            "mtcp",
            "mtls",
            "mws",
            "mwss",
            "ohttp",
            "ohttps",
            "otls",
            "pht",
            "phts",
            "quic",
            "serial",
            "ssh",
            "sshd",
            "stdio",
            "tcp",
            "tls",
            "udp",
            "unix",
            "utls",
            "virtual",
            "wg",
            "ws",
            "wss",
            "wt",
        ]
    ),
}
"""Every type name that gost 3.2.6 or 3.3 registers, whether built here yet or not."""


def register(kind: str, name: str, target: str) -> None:
    """Add a handler or connector: ``target`` is ``module`` or ``module:Class``."""
    _TABLES[kind][name] = target


def names(kind: str) -> list[str]:
    """The handlers or connectors that exist here."""
    return sorted(_TABLES[kind])


def component(kind: str, name: str, where: str = "") -> Any:
    """The class of a handler or connector.

    Raises ConfigError: the name is unknown, or known to gost and not built yet.
    """
    target = _TABLES[kind].get(name)
    if target is None:
        raise unknown(kind, name, where)
    module, _, cls = target.partition(":")
    return getattr(importlib.import_module(module), cls or _CLASS[kind])


def unknown(kind: str, name: str, where: str) -> ConfigError:
    """The error for a name that cannot be used, by whether gost knows it."""
    if name in KNOWN[kind]:
        return ConfigError(f"{kind} {name!r} is a gost {kind} that gostpy does not have yet", where)
    from difflib import get_close_matches

    likely = get_close_matches(name.lower(), KNOWN[kind], 1)
    guess = f", did you mean {likely[0]!r}?" if likely else ""
    return ConfigError(f"unknown {kind} {name!r}{guess}", where)
