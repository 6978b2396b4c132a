"""Name servers asked in order: udp, tcp, tls, https; with a cache.

Messages are dnspython's. A server is asked through its own chain when it has one, so the exchange
runs over any conn. The first server with a non-empty answer wins; A comes before AAAA unless a
server prefers IPv6.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gevent import spawn

from gostpy.errors import ConfigError, GostError, ProtocolError, Truncated
from gostpy.net import timers
from gostpy.net.dial import is_ip

__all__ = ["Exchange", "NameServer", "Resolver"]

_MOST_NAMES = 10_000
_NO_TTL = 60.0

Exchange = Callable[[bytes, float], bytes]
"""Sends one DNS query and returns the answer, within a number of seconds. Raises OSError."""


@dataclass(frozen=True, slots=True)
class NameServer:
    """One server.

    Attributes:
        name: its address, for messages.
        exchange: asks it.
        families: record types in order of preference.
        ttl: seconds that answers are kept; 0 = as they say, negative = not at all.
        client_ip: sent as EDNS client subnet.
        refresh: give an expired answer and ask again in the background.
    """

    name: str
    exchange: Exchange
    families: tuple[str, ...] = ("A", "AAAA")
    ttl: float = 0.0
    timeout: float = 5.0
    client_ip: str = ""
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    ips: tuple[str, ...]
    until: float


class Resolver:
    """Looks names up at its servers, in order."""

    def __init__(self, servers: Sequence[NameServer], log: Any = None) -> None:
        self._servers = tuple(servers)
        self._log = log
        self._cache: dict[tuple[int, str], _Kept] = {}
        self._refreshing: set[tuple[int, str]] = set()

    def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of a name, () when no server knows one. IP literals return themselves."""
        if is_ip(host):
            return (host,)
        name = host.rstrip(".").lower()
        for index, server in enumerate(self._servers):
            try:
                ips = self._ask(index, server, name)
            except (GostError, OSError) as error:
                if self._log is not None:
                    self._log.warn(f"resolver {server.name}: {name}: {error}")
                continue
            if ips:
                return ips
        return ()

    def _ask(self, index: int, server: NameServer, name: str) -> tuple[str, ...]:
        key = (index, name)
        kept = self._cache.get(key) if server.ttl >= 0 else None
        if kept is not None:
            if kept.until > timers.now():
                return kept.ips
            if server.refresh and server.ttl >= 0:
                if key not in self._refreshing:
                    self._refreshing.add(key)
                    spawn(self._refresh, key, server, name)
                return kept.ips
        return self._fetch(key, server, name)

    def _refresh(self, key: tuple[int, str], server: NameServer, name: str) -> None:
        try:
            self._fetch(key, server, name)
        except (GostError, OSError) as error:
            if self._log is not None:
                self._log.warn(f"resolver {server.name}: {name}: {error}")
        finally:
            self._refreshing.discard(key)

    def _fetch(self, key: tuple[int, str], server: NameServer, name: str) -> tuple[str, ...]:
        for family in server.families:
            ips, ttl = self._query(server, name, family)
            if ips:
                if server.ttl >= 0:
                    if len(self._cache) >= _MOST_NAMES:
                        self._cache.clear()
                    until = timers.now() + (server.ttl or ttl)
                    self._cache[key] = _Kept(ips, until)
                return ips
        return ()

    def _query(self, server: NameServer, name: str, family: str) -> tuple[tuple[str, ...], float]:
        """(addresses, seconds they may be kept). Raises ProtocolError, OSError."""
        import dns.edns  # a tenth of a second that a start without resolvers does not need
        import dns.exception
        import dns.message
        import dns.rdatatype

        try:
            query = dns.message.make_query(name, family)
        except dns.exception.DNSException as error:
            raise ProtocolError(f"not a host name: {name!r}") from error
        query.id = secrets.randbelow(65536)
        if server.client_ip:
            bits = 128 if ":" in server.client_ip else 24
            option = dns.edns.ECSOption(server.client_ip, bits)
            query.use_edns(0, options=[option])
        wire = server.exchange(query.to_wire(), server.timeout)
        try:
            answer = dns.message.from_wire(wire)
        except dns.exception.DNSException as error:
            raise ProtocolError(f"malformed answer: {error}") from error
        if answer.id != query.id:
            raise ProtocolError("the answer has another id")
        wanted = dns.rdatatype.from_text(family)
        ips: list[str] = []
        ttls: list[float] = []
        for records in answer.answer:
            ttls.append(float(records.ttl))
            if records.rdtype == wanted:
                ips += [record.to_text() for record in records]
        return tuple(dict.fromkeys(ips)), min(ttls, default=_NO_TTL) or _NO_TTL


def stream_exchange(open_conn: Callable[[], Any]) -> Exchange:
    """DNS over a stream (tcp, tls): LEN(2) | message, one query per conn. RFC 1035 4.2.2."""

    def exchange(query: bytes, timeout: float) -> bytes:
        with timers.timeout(timeout, "no answer in time"):
            conn = open_conn()
            try:
                conn.sendall(len(query).to_bytes(2, "big") + query)
                size = int.from_bytes(conn.read_exact(2), "big")
                return bytes(conn.read_exact(size))
            finally:
                conn.close()

    return exchange


def packet_exchange(open_packets: Callable[[], Any]) -> Exchange:
    """DNS over datagrams; answers with another id are skipped."""

    def exchange(query: bytes, timeout: float) -> bytes:
        with timers.timeout(timeout, "no answer in time"):
            packets = open_packets()
            try:
                packets.send_to(query)
                while True:
                    answer, _ = packets.recv_from()
                    if answer[:2] == query[:2]:
                        return bytes(answer)
            finally:
                packets.close()

    return exchange


def https_exchange(open_conn: Callable[[], Any], host: str, path: str) -> Exchange:
    """DNS over HTTPS by POST over HTTP/1.1. RFC 8484."""

    def exchange(query: bytes, timeout: float) -> bytes:
        head = (
            f"POST {path or '/dns-query'} HTTP/1.1\r\nHost: {host}\r\n"
            "Content-Type: application/dns-message\r\nAccept: application/dns-message\r\n"
            f"Content-Length: {len(query)}\r\nConnection: close\r\n\r\n"
        )
        with timers.timeout(timeout, "no answer in time"):
            conn = open_conn()
            try:
                conn.sendall(head.encode() + query)
                return _http_body(conn)
            finally:
                conn.close()

    return exchange


def _http_body(conn: Any) -> bytes:
    """The body of a small response. Raises ProtocolError."""
    head = conn.read_until(b"\r\n\r\n", 16384)
    status, *fields = head.split(b"\r\n")
    if status.split(b" ")[1:2] != [b"200"]:
        raise ProtocolError(f"DNS over HTTPS: {status.decode('latin-1')}")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in fields)
    }
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        return _chunks(conn)
    if b"content-length" in headers:
        size = headers[b"content-length"]
        if not size.isdigit() or int(size) > 65535:
            raise ProtocolError("DNS over HTTPS: unusable length")
        return bytes(conn.read_exact(int(size)))
    body = b""
    while len(body) <= 65535 and (data := conn.recv()):
        body += data
    return body


def _chunks(conn: Any) -> bytes:
    body = b""
    while len(body) <= 65535:
        line = conn.read_until(b"\r\n", 100).split(b";")[0]
        try:
            size = int(line, 16)
        except ValueError:
            raise ProtocolError("DNS over HTTPS: bad chunk") from None
        if size == 0:
            return body
        if not 0 < size <= 65535:
            break
        body += conn.read_exact(size)
        if conn.read_exact(2) != b"\r\n":
            raise Truncated("DNS over HTTPS: bad end of chunk")
    raise ProtocolError("DNS over HTTPS: answer is too large")


def families(prefer: str, only: str) -> tuple[str, ...]:
    """Record types in order. Raises ConfigError: an unknown word."""
    words = {"ipv4": "A", "ip4": "A", "ipv6": "AAAA", "ip6": "AAAA", "": ""}
    for word in (prefer, only):
        if word.lower() not in words:
            raise ConfigError(f"{word!r} is not one of ipv4, ipv6")
    if only:
        return (words[only.lower()],)
    return ("AAAA", "A") if words[prefer.lower()] == "AAAA" else ("A", "AAAA")
