"""MASQUE: what a CONNECT for UDP asks for, and its datagrams.

Path      /.well-known/masque/udp/HOST/PORT/ with HOST percent-encoded
Datagram  CONTEXT (an integer, 0 for payloads) | UDP payload, as HTTP datagrams, or in DATAGRAM
          capsules on the stream
Source    RFC 9298, 9297; gost 3.3's internal/util/masque
"""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from gostpy.errors import ProtocolError
from gostpy.wire.address import join_address, split_target
from gostpy.wire.http3 import read_integer

__all__ = ["payload_of", "target_of", "target_path"]

_PREFIX = "/.well-known/masque/udp/"


def target_path(address: str) -> str:
    """The path for ``host:port``. Raises ProtocolError: no such address."""
    host, port = split_target(address)
    return f"{_PREFIX}{quote(host, safe='')}/{port}/"


def target_of(path: str) -> str:
    """``host:port`` of a path. Raises ProtocolError."""
    parts = path.removeprefix(_PREFIX).removesuffix("/").split("/")
    if not path.startswith(_PREFIX) or len(parts) != 2:
        raise ProtocolError("not a path of MASQUE")
    try:
        host = unquote_to_bytes(parts[0]).decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("host that is no ASCII") from None
    port = parts[1]
    if not host or any(c <= " " or c == "\x7f" or c in "/[]@" for c in host):
        raise ProtocolError("bad host in a path of MASQUE")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ProtocolError("bad port in a path of MASQUE")
    return join_address(host, int(port))


def payload_of(datagram: bytes) -> bytes | None:
    """The UDP payload; None for other contexts."""
    context, end = read_integer(datagram)
    return datagram[end:] if end and not context else None
