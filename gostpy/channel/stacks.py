"""What gost's transport names stand for: per side a carrier, layers from the wire up, and a mux.

Names are data. A row says which parts make up a stack, where an option is spelled differently in it
(``keys``), and what differs by default. A part is a module of this folder with ``Options`` and a
class; a name that needs code of its own has a file of its own and is a carrier here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gostpy.errors import ConfigError
from gostpy.registry import unknown

__all__ = ["DIALERS", "LISTENERS", "Stack", "part", "stack"]


@dataclass(frozen=True, slots=True)
class Stack:
    """One name on one side.

    Attributes:
        carrier: part that makes or accepts the endpoints.
        layers: parts that shake hands on each conn, from the wire up.
        mux: part that carries many conns on one, empty for none.
        defaults: option field -> default that differs in this stack.
        keys: option field -> spellings that differ in this stack.
    """

    carrier: str
    layers: tuple[str, ...] = ()
    mux: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.carrier, *self.layers, *((self.mux,) if self.mux else ()))


# where ``keepalive`` means pings of WebSocket, SSH or gRPC
_WS_KEYS = {
    "keepalive": ("tcp.keepalive",),
    "keepalive_idle": ("tcp.keepalive.idle",),
    "keepalive_interval": ("tcp.keepalive.interval",),
    "keepalive_count": ("tcp.keepalive.count",),
}

_H3 = {"alpn": ("h3",), "max_streams": 128}  # a client's session needs one besides gost's 100
_H3_KEYS: dict[str, tuple[str, ...]] = {
    "keepalive": ("keepalive",),
    "cipher_key": (),
    "datagrams": (),
}

_BOTH = {
    "tcp": Stack("tcp"),
    "tls": Stack("tcp", ("tls",)),
    "ws": Stack("tcp", ("ws",)),
    "wss": Stack("tcp", ("tls", "ws")),
    "mtcp": Stack("tcp", (), "smux", defaults={"mux_version": 2}),
    "mtls": Stack("tcp", ("tls",), "smux"),
    "mws": Stack("tcp", ("ws",), "smux"),
    "mwss": Stack("tcp", ("tls", "ws"), "smux"),
    "ohttp": Stack("tcp", ("ohttp",)),
    "otls": Stack("tcp", ("otls",)),
    "pht": Stack("tcp", (), "pht"),
    "phts": Stack("tcp", ("tls",), "pht"),
    "udp": Stack("udp"),
    "quic": Stack("quic", (), "quicstreams"),
    "icmp": Stack("icmp", (), "quicstreams"),
    "icmp6": Stack("icmp", (), "quicstreams", defaults={"ipv6": True}),
    "dtls": Stack("dtlspackets", ("dtls",)),
    "h3": Stack("quic", (), "h3", defaults=_H3, keys=_H3_KEYS),
    "wt": Stack("quic", (), "wt", defaults={**_H3, "datagrams": True}, keys=_H3_KEYS),
    "ftcp": Stack("ftcp"),
    "h2": Stack("tcp", ("h2tls",), "h2s"),
    "h2c": Stack("tcp", (), "h2c"),
    "grpc": Stack("tcp", ("grpctls",), "grpc", keys=_WS_KEYS),
    "http2": Stack("tcp", ("h2tls",), "http2"),
    "kcp": Stack("sealed", (), "kcp"),
    "ssh": Stack("tcp", ("sshlogin",), "ssh"),
    "sshd": Stack("tcp", ("sshlogin",), "sshd"),
    "unix": Stack("unix"),
    "serial": Stack("serial"),
    "stdio": Stack("stdio"),
}

LISTENERS: dict[str, Stack] = {
    **_BOTH,
    "http3": Stack(
        "quic",
        (),
        "http3",
        defaults={"alpn": ("h3",), "datagrams": True},
        keys={"cipher_key": (), "datagrams": ("enableDatagrams",)},
    ),
    "rtcp": Stack("rtcp"),
    "rudp": Stack("rudp"),
    "runix": Stack("runix"),
    "red": Stack("redirect"),
    "redir": Stack("redirect"),
    "redirect": Stack("redirect"),
    "redu": Stack("redu"),
    "tun": Stack("tun"),
    "tap": Stack("tap"),
    "tungo": Stack("tungo"),
}

DIALERS: dict[str, Stack] = {
    **_BOTH,
    "ws": Stack("tcp", ("ws",), keys=_WS_KEYS),
    "wss": Stack("tcp", ("tls", "ws"), keys=_WS_KEYS),
    "mws": Stack("tcp", ("ws",), "smux", keys=_WS_KEYS),
    "mwss": Stack("tcp", ("tls", "ws"), "smux", keys=_WS_KEYS),
    "ssh": Stack("tcp", ("sshlogin",), "ssh", keys=_WS_KEYS),
    "sshd": Stack("tcp", ("sshlogin",), "sshd", keys=_WS_KEYS),
    "phts": Stack("tcp", ("phttls",), "pht"),
    "ohttps": Stack("tcp", ("ohttp",)),  # as in gost: no TLS, whatever the name says
    "utls": Stack("tcp", ("utls",)),
    "wg": Stack("wg"),
    "http3": Stack("quic", (), "h3", defaults=_H3, keys=_H3_KEYS),
    "h3-masque": Stack(
        "quic",
        (),
        "masque",
        defaults={"alpn": ("h3",), "datagrams": True},
        keys={"cipher_key": (), "datagrams": ()},
    ),
    "direct": Stack("direct"),
    "virtual": Stack("direct"),
}

_MODULES = {
    "tcp": "gostpy.channel.tcp:Carrier",
    "udp": "gostpy.channel.udp:Carrier",
    "ftcp": "gostpy.channel.ftcp:Carrier",
    "unix": "gostpy.channel.unix:Carrier",
    "serial": "gostpy.channel.serial:Carrier",
    "stdio": "gostpy.channel.stdio:Carrier",
    "direct": "gostpy.channel.direct:Carrier",
    "rtcp": "gostpy.channel.remote:StreamCarrier",
    "rudp": "gostpy.channel.rudp:Carrier",
    "runix": "gostpy.channel.remote:UnixCarrier",
    "redirect": "gostpy.channel.redirect:Carrier",
    "redu": "gostpy.channel.redu:Carrier",
    "tun": "gostpy.channel.tun:Carrier",
    "tap": "gostpy.channel.tap:Carrier",
    "tungo": "gostpy.channel.tungo:Carrier",
    "dtlspackets": "gostpy.channel.dtlspackets:Carrier",
    "tls": "gostpy.channel.tls:Layer",
    "utls": "gostpy.channel.utls:Layer",
    "wg": "gostpy.channel.wg:Carrier",
    "dtls": "gostpy.channel.dtls:Layer",
    "h2tls": "gostpy.channel.h2tls:Layer",
    "phttls": "gostpy.channel.phttls:Layer",
    "ws": "gostpy.channel.ws:Layer",
    "ohttp": "gostpy.channel.ohttp:Layer",
    "otls": "gostpy.channel.otls:Layer",
    "quic": "gostpy.channel.quic:Carrier",
    "icmp": "gostpy.channel.icmp:Carrier",
    "quicstreams": "gostpy.channel.quicstreams:Mux",
    "sealed": "gostpy.channel.kcp:Carrier",
    "kcp": "gostpy.channel.kcp:Mux",
    "sshlogin": "gostpy.channel.sshlogin:Layer",
    "smux": "gostpy.channel.mux:Mux",
    "pht": "gostpy.channel.pht:Mux",
    "h3": "gostpy.channel.h3:Mux",
    "http3": "gostpy.channel.http3:Mux",
    "masque": "gostpy.channel.masque:Mux",
    "wt": "gostpy.channel.wt:Mux",
    "grpctls": "gostpy.channel.grpctls:Layer",
    "grpc": "gostpy.channel.grpc:Mux",
    "ssh": "gostpy.channel.ssh:Mux",
    "sshd": "gostpy.channel.sshd:Mux",
    "h2c": "gostpy.channel.h2:Mux",
    "h2s": "gostpy.channel.h2:SecureMux",
    "http2": "gostpy.channel.http2:Mux",
}


def stack(kind: str, name: str, where: str = "") -> Stack:
    """The row of a listener or dialer. Raises ConfigError: unknown, or not built yet."""
    row = (LISTENERS if kind == "listener" else DIALERS).get(name)
    if row is None:
        raise unknown(kind, name, where)
    return row


def part(name: str) -> Any:
    """The class of a part; its module has ``Options`` (``ListenOptions``/``DialOptions`` where
    the sides differ)."""
    module, _, cls = _MODULES[name].partition(":")
    try:
        return getattr(importlib.import_module(module), cls)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gostpy"):
            raise ConfigError(f"data channel {name!r} does not exist yet") from error
        raise


def part_options(name: str, listening: bool) -> Any:
    """The options class of a part on one side."""
    module = importlib.import_module(_MODULES[name].partition(":")[0])
    side = "ListenOptions" if listening else "DialOptions"
    return getattr(module, side, None) or module.Options
