"""Socks-style addresses: ATYP(1) | ADDR | PORT(2, big-endian).

ATYP 1 = IPv4 (4 bytes), 3 = name (LEN(1) | bytes), 4 = IPv6 (16 bytes). Used by SOCKS5, relay,
Shadowsocks and the UDP-over-TCP frames. Source: RFC 1928 section 5.
"""

from __future__ import annotations

import _socket
from typing import Protocol

from gostpy.errors import ProtocolError, Truncated

__all__ = [
    "IPV4",
    "IPV6",
    "NAME",
    "BytesReader",
    "Reader",
    "decode_address",
    "encode_address",
    "join_address",
    "read_address",
    "split_target",
]

IPV4, NAME, IPV6 = 1, 3, 4


class Reader(Protocol):
    """Where messages are read from: a conn in service, bytes in tests."""

    def read_exact(self, size: int) -> bytes: ...


class BytesReader:
    """A reader over bytes. Raises Truncated at their end."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def read_exact(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise Truncated(f"message ends {end - len(self.data)} bytes early")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    @property
    def rest(self) -> bytes:
        return self.data[self.position :]


def split_target(address: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` in two; no port is 0.

    Raises ProtocolError: the port is no number from 0 to 65535.
    """
    host, separator, port = address.rpartition(":")
    if not separator or (":" in host and not host.endswith("]")):
        host, port = address, ""
    host = host.removeprefix("[").removesuffix("]")
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ProtocolError(f"bad port in {address!r}")
    return host, int(port or 0)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def encode_address(address: str) -> bytes:
    """Wire form of ``host:port``; an empty host is a name of length 0.

    Raises ProtocolError: the name is longer than 255 bytes or cannot be encoded.
    """
    host, port = split_target(address)
    tail = port.to_bytes(2, "big")
    try:
        return b"\x01" + _socket.inet_pton(_socket.AF_INET, host) + tail
    except (OSError, ValueError):
        pass
    if ":" in host:
        try:
            return b"\x04" + _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0]) + tail
        except (OSError, ValueError):
            pass
    name = host.encode("utf-8", "surrogateescape")
    if len(name) > 255:
        raise ProtocolError(f"host name of {len(name)} bytes, at most 255 fit")
    return b"\x03" + bytes((len(name),)) + name + tail


def read_address(reader: Reader) -> str:
    """``host:port`` from a reader. Raises ProtocolError: unknown ATYP; Truncated."""
    kind = reader.read_exact(1)[0]
    if kind == IPV4:
        data = reader.read_exact(6)
        host = _socket.inet_ntop(_socket.AF_INET, data[:4])
    elif kind == NAME:
        size = reader.read_exact(1)[0]
        data = reader.read_exact(size + 2)
        host = data[:size].decode("utf-8", "surrogateescape")
    elif kind == IPV6:
        data = reader.read_exact(18)
        host = _socket.inet_ntop(_socket.AF_INET6, data[:16])
    else:
        raise ProtocolError(f"address type {kind}, expected 1, 3 or 4")
    return join_address(host, data[-2] << 8 | data[-1])


def decode_address(data: bytes) -> tuple[str, int]:
    """(``host:port``, bytes used) at the front of data. Raises ProtocolError, Truncated."""
    reader = BytesReader(data)
    return read_address(reader), reader.position
