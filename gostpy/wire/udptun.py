"""Datagrams on a byte stream: gost's UDP-over-TCP frames and the relay protocol's shorter ones.

Tunnel frame  RSV(2, big-endian) = payload length | FRAG(1) = 0xFF | ATYP ADDR PORT | payload
Short frame   LEN(2, big-endian) | payload             (one target, named in the request before)
Source        go-gost/gosocks5 socks5.go, go-gost/x internal/util/socks, handler/relay/conn.go
Differs       gost reads a frame of length 0 as "all that comes until the end of the stream"; since
              it sends that for an empty datagram too, it is an empty datagram here. None is sent.

Tunnel frames are used by SOCKS5 (command 0xF3), relay associations, HTTP with
``X-Gost-Protocol: udp`` and Shadowsocks UDP over TCP. FRAG is not looked at.
"""

from __future__ import annotations

from gostpy.errors import ProtocolError
from gostpy.wire.address import IPV4, IPV6, NAME, decode_address, encode_address
from gostpy.wire.codec import Buffer

__all__ = ["ShortFrames", "TunnelFrames", "short_frame", "tunnel_frame"]

_LARGEST = 65535
_MARK = b"\xff"

Datagram = tuple[bytes, str]


def tunnel_frame(data: bytes, address: str) -> bytes:
    """One tunnel frame. Raises ProtocolError: the datagram or the address does not fit."""
    if len(data) > _LARGEST:
        raise ProtocolError(f"datagram of {len(data)} bytes, at most {_LARGEST} fit")
    return len(data).to_bytes(2, "big") + _MARK + encode_address(address) + data


def short_frame(data: bytes) -> bytes:
    """One short frame. Raises ProtocolError: the datagram does not fit."""
    if len(data) > _LARGEST:
        raise ProtocolError(f"datagram of {len(data)} bytes, at most {_LARGEST} fit")
    return len(data).to_bytes(2, "big") + data


class TunnelFrames:
    """Takes a stream apart into (datagram, address); keeps a partial frame itself.

    Args:
        peer: reported in place of the addresses in the frames.
    """

    __slots__ = ("_peer", "_rest")

    def __init__(self, peer: str = "") -> None:
        self._peer = peer
        self._rest = b""

    @property
    def partial(self) -> bool:
        """The stream ended inside a frame, if it ended now."""
        return bool(self._rest)

    def receive(self, data: Buffer) -> list[Datagram]:
        """The datagrams complete by now. Raises ProtocolError: the stream cannot be followed."""
        stream = self._rest + bytes(data)
        found: list[Datagram] = []
        start, end = 0, len(stream)
        while end - start >= 5:
            size = stream[start] << 8 | stream[start + 1]
            head = 3 + _address_size(stream, start + 3)
            stop = start + head + size
            if stop > end:
                break
            address = self._peer or decode_address(stream[start + 3 : start + head])[0]
            found.append((stream[start + head : stop], address))
            start = stop
        self._rest = stream[start:]
        return found


def _address_size(stream: bytes, position: int) -> int:
    """Bytes of the address whose ATYP is at ``position``; the byte after it must be there too."""
    kind = stream[position]
    if kind == IPV4:
        return 7
    if kind == IPV6:
        return 19
    if kind == NAME:
        return 4 + stream[position + 1]
    raise ProtocolError(f"address type {kind} in a datagram frame, expected 1, 3 or 4")


class ShortFrames:
    """Takes a stream apart into datagrams of one peer; keeps a partial frame itself."""

    __slots__ = ("_peer", "_rest")

    def __init__(self, peer: str = "") -> None:
        self._peer = peer
        self._rest = b""

    @property
    def partial(self) -> bool:
        """The stream ended inside a frame, if it ended now."""
        return bool(self._rest)

    def receive(self, data: Buffer) -> list[Datagram]:
        """The datagrams complete by now, each with the peer's address."""
        stream = self._rest + bytes(data)
        found: list[Datagram] = []
        start, end = 0, len(stream)
        while end - start >= 2:
            stop = start + 2 + (stream[start] << 8 | stream[start + 1])
            if stop > end:
                break
            found.append((stream[start + 2 : stop], self._peer))
            start = stop
        self._rest = stream[start:]
        return found
