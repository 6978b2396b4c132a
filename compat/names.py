"""Type names that the command line knows. Others become auto, tcp or http, as in gost."""

from __future__ import annotations

__all__ = ["CONNECTORS", "DIALERS", "HANDLERS", "LISTENERS"]

_PROXIES = "http http2 relay router serial sni socks socks4 socks4a socks5 ss ssu sshd tcp tunnel"
_BOTH_SIDES = (
    "dtls ftcp grpc h2 h2c h3 http2 http3 icmp icmp6 kcp mtcp mtls mws mwss ohttp otls pht phts "
    "quic serial ssh sshd tcp tls udp unix ws wss wt"
)

HANDLERS = frozenset(
    f"{_PROXIES} api auto dns file forward http3 metrics red redir redirect redu rtcp rudp tap "
    "tun tungo udp unix masque runix".split()
)
LISTENERS = frozenset(
    f"{_BOTH_SIDES} dns red redir redirect redu rtcp rudp tap tun tungo runix stdio".split()
)
CONNECTORS = frozenset(f"{_PROXIES} direct forward unix virtual masque".split())
DIALERS = frozenset(f"{_BOTH_SIDES} direct ohttps utls virtual wg h3-masque".split())
