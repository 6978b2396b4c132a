"""What scripts/record_wire.py records: nodes, and the traffic through them or said to them.

``script`` of a case without a client node is what the recorder says to the server itself:
``> BYTES`` sends, ``<`` notes what comes until nothing more does, ``<end`` until the server closes,
``>udp BYTES`` and ``<udp`` are a datagram to what was bound, ``!DRIVE`` runs a drive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.wire_replay.exchange import Exchange

__all__ = ["CASES", "Case"]

AUTH = "user:pass-word@"
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
CHANNELS = {
    "tcp": (),
    "tls": ("tls",),
    "ws": ("ws",),
    "wss": ("tls", "ws"),
    "mtcp": (),
    "mtls": ("tls",),
    "mws": ("ws",),
    "mwss": ("tls", "ws"),
}


@dataclass(frozen=True)
class Case:
    """An exchange without its steps, and how to get them."""

    exchange: Exchange
    script: tuple[str, ...] = ()
    muxed: bool = False
    bound: bool = field(default=False)  # a datagram socket's port is told in a reply


def _through(name: str, server: str, client: str, drive: str = "hello", **given: Any) -> Case:
    """A client node that forwards its entry through a server node."""
    own = {key: given.pop(key) for key in ("muxed", "bound") if key in given}
    listened, target = given.pop("entry", ("tcp", "echo"))
    where = f"{listened}://{{entry}}" + (f"/{{{target}}}" if target else "?udp=true")
    where += "?keepalive=true" if listened == "udp" else ""
    arguments = ("-L", where, "-F", client)
    node = ("-L", server) if server else ()
    return Case(Exchange(name, (), node, arguments, drive, **given), **own)


def _both(name: str, node: str, drive: str = "hello", **given: Any) -> Case:
    """As _through, with one text for both nodes."""
    return _through(name, node, node, drive, **given)


def _said(name: str, server: Any, *script: str, **given: Any) -> Case:
    """A server node that the recorder itself speaks to."""
    given.setdefault("roles", ("server",))
    own = {key: given.pop(key) for key in ("muxed", "bound") if key in given}
    if isinstance(server, str):
        server = ("-L", server)
    return Case(Exchange(name, (), server, **given), script, **own)


def _with_bypass(handler: str) -> dict[str, str]:
    text = (
        "services:\n- name: s\n  addr: '{server}'\n  bypass: b\n"
        f"  handler: {{type: {handler}}}\n  listener: {{type: tcp}}\n"
        "bypasses:\n- name: b\n  matchers: ['{denied}']\n"
    )
    return {"config": text}


CHANNEL_CASES = [
    _both(
        f"relay+{channel}",
        f"relay+{channel}://{AUTH}{{server}}",
        layers=layers,
        muxed=channel[0] == "m",
    )
    for channel, layers in CHANNELS.items()
] + [
    _through(
        f"forward+{channel}",
        f"forward+{channel}://{{server}}/{{echo}}",
        f"forward+{channel}://{{server}}",
        layers=CHANNELS[channel],
        entry=("tcp", ""),
    )
    for channel in ("tcp", "ws")
]

HTTP2_CASES = [
    _both("relay+h2c", f"relay+h2c://{AUTH}{{server}}", layers=("http2",)),
    _both("relay+h2c path", f"relay+h2c://{AUTH}{{server}}?path=/t", layers=("http2",)),
    _both("relay+h2", f"relay+h2://{AUTH}{{server}}", layers=("tls h2", "http2")),
    _both("http2", f"http2://{AUTH}{{server}}", layers=("tls h2", "http2")),
]

GRPC_CASES = [
    _both("relay+grpc", f"relay+grpc://{AUTH}{{server}}", layers=("tls h2", "http2", "grpc")),
    _both(
        "relay+grpc in clear",
        f"relay+grpc://{AUTH}{{server}}?insecure=true&path=/svc/run",
        layers=("http2", "grpc"),
    ),
]

OBFS_CASES = [
    _both("relay+ohttp", f"relay+ohttp://{AUTH}{{server}}", layers=("ohttp",)),
    _both("relay+otls", f"relay+otls://{AUTH}{{server}}", layers=("otls",)),
]

RELAY_CASES = [
    _both("relay nodelay", f"relay://{AUTH}{{server}}?nodelay=true", "twice"),
    _both("relay refused", "relay://{server}", "refused", entry=("tcp", "refused")),
    _both("relay udp", f"relay://{AUTH}{{server}}", "datagram", entry=("udp", "udp")),
    _both(
        "relay udp association",
        f"relay://{AUTH}{{server}}?bind=true",
        "associate",
        entry=("socks5", ""),
        bound=True,
    ),
    _both(
        "rtcp over relay",
        f"relay://{AUTH}{{server}}?bind=true",
        "hello",
        entry=("rtcp", "echo"),
        drives="server",
        muxed=True,
    ),
    _both(
        "rudp over relay",
        f"relay://{AUTH}{{server}}?bind=true",
        "visiting_datagram",
        entry=("rudp", "udp"),
        drives="server",
    ),
    _said(
        "relay wrong password",
        f"relay://{AUTH}{{server}}",
        '> 01 01 000d 01 000a 04 "user" 04 "nope"',
        "<end",
    ),
    _said(
        "relay without login",
        f"relay://{AUTH}{{server}}",
        "> 01 01 000a 02 0007 01 7f000001 {echo}",
        "<end",
    ),
    _said("relay without address", "relay://{server}", "> 01 01 0000", "<end"),
    _said("relay unknown command", "relay://{server}", "> 01 03 0000", "<end"),
    _said("relay wrong version", "relay://{server}", "> 02 01 0000", "<end"),
    _said(
        "relay bind not allowed",
        "relay://{server}",
        "> 01 02 000a 02 0007 01 7f000001 {entry}",
        "<end",
    ),
    _said(
        "relay bypass", _with_bypass("relay"), "> 01 01 000a 02 0007 01 7f000001 {denied}", "<end"
    ),
    _said(
        "relay domain name",
        "relay://{server}?nodelay=true",
        '> 01 01 0010 02 000d 03 09 "localhost" {echo}',
        "<",
        '> "hello"',
        "<",
    ),
    _said(
        "relay command zero",
        "relay://{server}",
        '> 01 00 000a 02 0007 01 7f000001 {echo} "hello"',
        "<",
    ),
    _said(
        "relay unknown network",
        "relay://{server}",
        '> 01 01 000f 04 0002 0099 02 0007 01 7f000001 {echo} "hello"',
        "<",
    ),
    _said("relay unknown feature", "relay://{server}", "> 01 01 0004 09 0001 00", "<end"),
    _said(
        "relay bind address in use",
        "relay://{server}?bind=true",
        "> 01 02 000a 02 0007 01 7f000001 {echo}",
        "<end",
    ),
    _said("relay forward mode", "relay://{server}/{echo}", '> 01 01 0000 "hello"', "<"),
    _said("relay forward mode, dead target", "relay://{server}/{refused}", "> 01 01 0000", "<end"),
    Case(
        Exchange(
            "relay to a unix socket",
            (),
            ("-L", "relay://{server}"),
            {
                "config": "services:\n- name: s\n  addr: '{entry}'\n"
                "  handler: {type: tcp, chain: c}\n  listener: {type: tcp}\n"
                "  forwarder: {nodes: [{name: t, addr: /nowhere/x.sock, network: unix}]}\n"
                "chains:\n- name: c\n  hops:\n  - name: h\n    nodes:\n"
                "    - {name: n, addr: '{server}', connector: {type: relay}, dialer: {type: tcp}}\n"
            },
            "refused",
        )
    ),
]

HTTP_CASES = [
    _both("http", f"http://{AUTH}{{server}}"),
    _both("http+tls", "http+tls://{server}", layers=("tls",)),
    _both("http refused", "http://{server}", "refused", entry=("tcp", "refused")),
    _through(
        "http wrong password", f"http://{AUTH}{{server}}", "http://user:nope@{server}", "refused"
    ),
    _both("http udp", f"http://{AUTH}{{server}}?udp=true", "datagram", entry=("udp", "udp")),
    _said(
        "http login missing",
        f"http://{AUTH}{{server}}",
        '> "CONNECT 127.0.0.1:" {echo text} " HTTP/1.1\\r\\n"'
        ' "Proxy-Connection: keep-alive\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http bypass",
        _with_bypass("http"),
        '> "CONNECT 127.0.0.1:" {denied text} " HTTP/1.1\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http origin form",
        "http://{server}",
        '> "GET / HTTP/1.1\\r\\nHost: 127.0.0.1:" {web text} "\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http preface of HTTP/2",
        "http://{server}",
        '> "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http 1.0",
        "http://{server}",
        '> "CONNECT 127.0.0.1:" {echo text} " HTTP/1.0\\r\\n\\r\\n"',
        "<",
        '> "hello"',
        "<",
    ),
    _said(
        "http early data",
        "http://{server}",
        '> "CONNECT 127.0.0.1:" {echo text} " HTTP/1.1\\r\\n\\r\\nhello"',
        "<",
    ),
    _said(
        "http udp not allowed",
        "http://{server}",
        '> "CONNECT 127.0.0.1:" {udp text} " HTTP/1.1\\r\\nX-Gost-Protocol: udp\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http realm and agent",
        f"http://{AUTH}{{server}}?authBasicRealm=here&proxyAgent=me",
        '> "CONNECT 127.0.0.1:" {echo text} " HTTP/1.1\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http page",
        "http://{server}?keepalive=true",
        '> "GET http://127.0.0.1:" {web text} "/a HTTP/1.1\\r\\nHost: 127.0.0.1:" {web text}'
        ' "\\r\\n\\r\\n"',
        "<",
    ),
    _said(
        "http page of a dead origin",
        "http://{server}",
        '> "GET http://127.0.0.1:" {refused text} "/a HTTP/1.1\\r\\nHost: 127.0.0.1:" '
        '{refused text} "\\r\\n\\r\\n"',
        "<end",
    ),
    _said(
        "http probe resistance",
        f"http://{AUTH}{{server}}?probeResist=code:404",
        '> "CONNECT 127.0.0.1:" {echo text} " HTTP/1.1\\r\\n\\r\\n"',
        "<end",
    ),
]

SOCKS_CASES = [
    _both("socks5", f"socks5://{AUTH}{{server}}?notls=true"),
    _both("socks5 without login", "socks5://{server}?notls=true"),
    _both("socks5 in TLS", "socks5://{server}", layers=("socks5tls",)),
    _both("socks5 in TLS with login", f"socks5://{AUTH}{{server}}", layers=("socks5tls",)),
    _both("socks5 refused", "socks5://{server}?notls=true", "refused", entry=("tcp", "refused")),
    _through(
        "socks5 wrong password",
        f"socks5://{AUTH}{{server}}?notls=true",
        "socks5://user:nope@{server}?notls=true",
        "refused",
    ),
    _both(
        "socks5 udp",
        f"socks5://{AUTH}{{server}}?notls=true&udp=true",
        "datagram",
        entry=("udp", "udp"),
        bound=True,
    ),
    _both(
        "socks5 udp associate",
        f"socks5://{AUTH}{{server}}?notls=true&udp=true&relay=udp",
        "datagram",
        entry=("udp", "udp"),
        bound=True,
    ),
    _both(
        "rtcp over socks5",
        f"socks5://{AUTH}{{server}}?notls=true&bind=true",
        "hello",
        entry=("rtcp", "echo"),
        drives="server",
        muxed=True,
    ),
    _both(
        "rudp over socks5",
        f"socks5://{AUTH}{{server}}?notls=true&bind=true&udp=true",
        "visiting_datagram",
        entry=("rudp", "udp"),
        drives="server",
    ),
    _said("socks5 login although none is needed", "socks5://{server}", "> 05 01 02", "<"),
    _said("socks5 login although not offered", f"socks5://{AUTH}{{server}}", "> 05 01 00", "<"),
    _said("socks5 no methods", "socks5://{server}", "> 05 00", "<end"),
    _said("socks5 wrong version", "socks5://{server}", "> 06 01 00", "<end"),
    _said(
        "socks5 login refused",
        f"socks5://{AUTH}{{server}}",
        "> 05 01 02",
        "<",
        '> 01 04 "user" 04 "nope"',
        "<end",
    ),
    _said(
        "socks5 unknown command",
        "socks5://{server}",
        "> 05 01 00",
        "<",
        "> 05 09 00 01 7f000001 {echo}",
        "<end",
    ),
    _said(
        "socks5 bind not allowed",
        "socks5://{server}",
        "> 05 01 00",
        "<",
        "> 05 02 00 01 7f000001 {entry}",
        "<end",
    ),
    _said(
        "socks5 udp not allowed",
        "socks5://{server}",
        "> 05 01 00",
        "<",
        "> 05 03 00 01 00000000 0000",
        "<end",
    ),
    _said(
        "socks5 bypass",
        _with_bypass("socks5"),
        "> 05 01 00",
        "<",
        "> 05 01 00 01 7f000001 {denied}",
        "<end",
    ),
    _said(
        "socks5 bad address type",
        "socks5://{server}",
        "> 05 01 00",
        "<",
        "> 05 01 00 09 7f000001 {echo}",
        "<end",
    ),
    _said(
        "socks5 domain name",
        "socks5://{server}",
        "> 05 01 00",
        "<",
        '> 05 01 00 03 09 "localhost" {echo}',
        "<",
        '> "hello"',
        "<",
    ),
    _said(
        "socks5 bind",
        "socks5://{server}?bind=true",
        "> 05 01 00",
        "<",
        "> 05 02 00 01 7f000001 {entry}",
        "<",
        "!hello",
        "<",
        '> "hello"',
        drive="hello",
        drives="server",
    ),
    _said(
        "socks5 bind, address in use",
        "socks5://{server}?bind=true",
        "> 05 01 00",
        "<",
        "> 05 02 00 01 7f000001 {echo}",
        "<end",
    ),
    _said(
        "socks5 association",
        "socks5://{server}?udp=true",
        "> 05 01 00",
        "<",
        "> 05 03 00 01 00000000 0000",
        "<",
        '>udp 0000 00 01 7f000001 {udp} "ping"',
        "<udp",
        bound=True,
    ),
    _both("socks4", "socks4://user@{server}"),
    _both("socks4a", "socks4a://{server}"),
    _both("socks4 refused", "socks4://{server}", "refused", entry=("tcp", "refused")),
    _both("socks4 without names", "socks4://{server}?disable4a=true"),
    _said("socks4 bypass", _with_bypass("socks4"), "> 04 01 {denied} 7f000001 00", "<end"),
    _said(
        "socks4 wrong user", "socks4://user@{server}", '> 04 01 {echo} 7f000001 "else" 00', "<end"
    ),
    _said("socks4 bind", "socks4://{server}", "> 04 02 {echo} 7f000001 00", "<end"),
]

SHADOWSOCKS_CASES = [
    _both(f"ss {method}", f"ss://{method}:pass-word@{{server}}", layers=(f"ss {method}:pass-word",))
    for method in ("aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305")
] + [
    _both(
        "ss 2022-blake3-aes-128-gcm",
        f"ss://2022-blake3-aes-128-gcm:{KEY.replace('=', '%3D')}@{{server}}",
        layers=(f"ss2022 2022-blake3-aes-128-gcm:{KEY}",),
    ),
    _both(
        "ssu aes-128-gcm",
        "ssu+udp://aes-128-gcm:pass-word@{server}",
        "one_datagram",
        entry=("udp", "udp"),
        layers=("ssu aes-128-gcm:pass-word",),
        roles=("client",),
        note="gost's server answers without an address; gostpy's with it, as the standard says",
    ),
    _through(
        "ssu 2022-blake3-aes-128-gcm",
        f"ssu+udp://2022-blake3-aes-128-gcm:{KEY.replace('=', '%3D')}@{{server}}",
        f"ssu+udp://2022-blake3-aes-128-gcm:{KEY.replace('=', '%3D')}@{{server}}?ss.compat=gost",
        "one_datagram",
        entry=("udp", "udp"),
        layers=(f"ssu 2022-blake3-aes-128-gcm:{KEY}",),
        note="ss.compat is gostpy's: without it the first datagram has the form of the standard",
    ),
]

OTHER_CASES = (
    [
        _through("auto asked in http", f"auto://{AUTH}{{server}}", f"http://{AUTH}{{server}}"),
        _through(
            "auto asked in socks5",
            f"auto://{AUTH}{{server}}",
            f"socks5://{AUTH}{{server}}?notls=true",
        ),
        _through("auto asked in socks4", "auto://{server}", "socks4://{server}"),
        _through("sni", "sni://{server}", "sni://{server}", "page", entry=("tcp", "web")),
        _through(
            "sni with another host",
            "",
            "sni://{server}?host=shown.test",
            "named_page",
            entry=("tcp", "web"),
            roles=("client",),
            target="web",
        ),
        _said("sni of something else", "sni://{server}", '> "hello, nothing known"', "<end"),
        _said(
            "http behind PROXY 1",
            {
                "config": "services:\n- name: s\n  addr: '{server}'\n"
                "  metadata: {proxyProtocol: 1}\n  handler: {type: http}\n  listener: {type: tcp}\n"
            },
            '> "PROXY TCP4 192.0.2.7 127.0.0.1 4321 80\\r\\nCONNECT 127.0.0.1:" {echo text}'
            ' " HTTP/1.1\\r\\n\\r\\n"',
            "<",
        ),
        Case(Exchange("tcp", (), (), ("-L", "tcp://{entry}/{server}"), "hello", roles=("client",))),
        Case(
            Exchange(
                "udp",
                (),
                (),
                ("-L", "udp://{entry}/{server}?keepalive=true"),
                "datagram",
                roles=("client",),
                target="udp",
            )
        ),
    ]
    + [
        Case(
            Exchange(
                f"PROXY {version} to a target",
                (),
                (),
                {
                    "config": "services:\n- name: s\n  addr: '{entry}'\n  listener: {type: tcp}\n"
                    f"  handler: {{type: tcp, metadata: {{proxyProtocol: {version}}}}}\n"
                    "  forwarder: {nodes: [{name: t, addr: '{server}'}]}\n"
                },
                "line",
                roles=("client",),
                target="source",
            )
        )
        for version in (1, 2)
    ]
    + [
        Case(
            Exchange(
                f"PROXY {version} to a node",
                (),
                {
                    "config": "services:\n- name: s\n  addr: '{server}'\n"
                    "  metadata: {proxyProtocol: 1}\n  handler: {type: socks4}\n"
                    "  listener: {type: tcp}\n"
                },
                {
                    "config": "services:\n- name: s\n  addr: '{entry}'\n"
                    "  handler: {type: tcp, chain: c}\n  listener: {type: tcp}\n"
                    "  forwarder: {nodes: [{name: t, addr: '{echo}'}]}\n"
                    "chains:\n- name: c\n  hops:\n  - name: h\n    nodes:\n"
                    "    - name: n\n      addr: '{server}'\n      connector: {type: socks4}\n"
                    f"      dialer: {{type: tcp}}\n      metadata: {{proxyProtocol: {version}}}\n"
                },
                "hello",
            )
        )
        for version in (1, 2)
    ]
)

CASES = [
    *CHANNEL_CASES,
    *HTTP2_CASES,
    *GRPC_CASES,
    *OBFS_CASES,
    *RELAY_CASES,
    *HTTP_CASES,
    *SOCKS_CASES,
    *SHADOWSOCKS_CASES,
    *OTHER_CASES,
]
