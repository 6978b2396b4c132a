"""PROXY protocol v1 and v2 headers.

v1        ``PROXY TCP4 SRC DST SPORT DPORT\\r\\n``
v2        signature(12) | 0x21 | FAMILY | LEN(2) | addresses
Source    haproxy's proxy-protocol.txt; gost accepts a missing header, so do we.
"""

from __future__ import annotations

import _socket
from dataclasses import dataclass

from gostpy.errors import ProtocolError
from gostpy.wire.address import Reader, split_target

__all__ = ["SIGNATURE", "Header", "encode", "read"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_LIMIT = 107


@dataclass(frozen=True, slots=True)
class Header:
    """Source and destination as ``(ip, port)``; None for LOCAL and UNKNOWN."""

    source: tuple[str, int] | None
    destination: tuple[str, int] | None


def encode(version: int, source: str, destination: str, *, datagrams: bool = False) -> bytes:
    """A header for ``ip:port`` addresses; what is no IP becomes 0.0.0.0, as in gost.

    Before ``datagrams`` a version 1 header cannot tell addresses.
    """
    (src, sport), (dst, dport) = _ip(source), _ip(destination)
    v6 = ":" in src or ":" in dst
    if v6:
        src, dst = _to_v6(src), _to_v6(dst)
    if version == 1:
        if datagrams:
            return b"PROXY UNKNOWN\r\n"
        family = "TCP6" if v6 else "TCP4"
        return f"PROXY {family} {src} {dst} {sport} {dport}\r\n".encode()
    kind = _socket.AF_INET6 if v6 else _socket.AF_INET
    body = _socket.inet_pton(kind, src) + _socket.inet_pton(kind, dst)
    body += sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    transport = (0x20 if v6 else 0x10) | (2 if datagrams else 1)
    return SIGNATURE + bytes((0x21, transport)) + len(body).to_bytes(2, "big") + body


def _ip(address: str) -> tuple[str, int]:
    host, port = split_target(address)
    for kind in (_socket.AF_INET, _socket.AF_INET6):
        try:
            text = _socket.inet_ntop(kind, _socket.inet_pton(kind, host))
        except (OSError, ValueError):
            continue
        if text.startswith("::ffff:") and "." in text:
            text = text.removeprefix("::ffff:")
        return text, port
    return "0.0.0.0", port


def _to_v6(host: str) -> str:
    return host if ":" in host else f"::ffff:{host}"


def read(reader: Reader, first: bytes) -> Header:
    """Read a header of which ``first`` (the first 6 bytes or more) was only peeked at.

    Raises ProtocolError: malformed. Call it only when :func:`starts` says so.
    """
    if first.startswith(b"PROXY "):
        return _read_v1(reader)
    return _read_v2(reader)


def starts(first: bytes) -> bool:
    """Whether bytes at the start of a stream begin a header (``first`` may be short)."""
    return any(mark.startswith(first[: len(mark)]) for mark in (b"PROXY ", SIGNATURE))


def _read_v1(reader: Reader) -> Header:
    line = b""
    while not line.endswith(b"\r\n"):
        if len(line) >= _V1_LIMIT:
            raise ProtocolError("PROXY v1 header is longer than 107 bytes")
        line += reader.read_exact(1)
    words = line[:-2].split(b" ")
    if len(words) >= 2 and words[1] == b"UNKNOWN":
        return Header(None, None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProtocolError("malformed PROXY v1 header")
    family = _socket.AF_INET if words[1] == b"TCP4" else _socket.AF_INET6
    hosts, ports = [], []
    for word in words[2:4]:
        try:
            text = word.decode("ascii")
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            raise ProtocolError("bad address in PROXY v1 header") from None
        hosts.append(text)
    for word in words[4:]:
        if not word.isdigit() or int(word) > 65535:
            raise ProtocolError("bad port in PROXY v1 header")
        ports.append(int(word))
    return Header((hosts[0], ports[0]), (hosts[1], ports[1]))


def _read_v2(reader: Reader) -> Header:
    head = reader.read_exact(16)
    if head[:12] != SIGNATURE:
        raise ProtocolError("bad signature of PROXY v2 header")
    if head[12] >> 4 != 2:
        raise ProtocolError(f"PROXY version {head[12] >> 4}, expected 2")
    body = reader.read_exact(int.from_bytes(head[14:16], "big"))
    if head[12] & 15 == 0:  # LOCAL: a health check of the proxy itself
        return Header(None, None)
    family = head[13] >> 4
    size = {1: 4, 2: 16}.get(family)
    if size is None:
        return Header(None, None)
    if len(body) < 2 * size + 4:
        raise ProtocolError("PROXY v2 header is too short for its addresses")
    kind = _socket.AF_INET if family == 1 else _socket.AF_INET6
    source = _socket.inet_ntop(kind, body[:size])
    destination = _socket.inet_ntop(kind, body[size : 2 * size])
    ports = body[2 * size : 2 * size + 4]
    return Header((source, ports[0] << 8 | ports[1]), (destination, ports[2] << 8 | ports[3]))
