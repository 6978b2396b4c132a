"""The serving side of QUIC: datagrams of one packet conn, sorted by connection id.

New connections are told once their handshake is complete, so that an address that was forged never
reaches guards or limits.

Routing  by the connection id in each datagram, over any packet conn; addresses may change
Bounds   connections whose handshake is not complete: above RETRY_ABOVE, or in a flood of senseless
         datagrams, a client has to show that it is where it says (Retry); above MOST_HALF_OPEN
         nobody new is let in; nothing is sent to an address that was not shown to be right beyond
         three times what came from there
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aioquic.buffer import Buffer
from aioquic.quic.packet import (
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)

from gostpy.errors import GostError
from gostpy.interfaces import Log
from gostpy.net import lasting
from gostpy.net.conn import ConnInfo
from gostpy.net.dial import split_address
from gostpy.net.packet import PacketConn
from gostpy.net.udpburst import send_all
from gostpy.stream.quic import Quic, QuicSettings, clock
from gostpy.stream.quicretry import RetryTokens
from gostpy.stream.quictls import QuicTLS

__all__ = ["MOST_HALF_OPEN", "RETRY_ABOVE", "QuicServer"]

RETRY_ABOVE = 64
"""Connections whose handshake is not complete, above which clients have to show their address."""

MOST_HALF_OPEN = 512

MOST_SENSELESS = 64
"""First datagrams in a second that cannot be opened, above which clients have to show theirs."""

_FIRST_SIZE = 1200
_ID_SIZE = 8
_LONG = 0x80


class QuicServer:
    """All connections of one packet conn, which belongs to them from now on.

    Args:
        packets: unconnected, on the hub.
        accepted: gets each connection after its handshake, on the hub. It closes what it refuses.
    """

    def __init__(
        self,
        packets: PacketConn,
        tls: QuicTLS,
        settings: QuicSettings,
        accepted: Callable[[Quic], None],
        log: Log,
    ) -> None:
        self.packets = packets
        self.address = packets.info.local
        self._tls = tls
        self._settings = settings
        self._accepted = accepted
        self._log = log
        self._routes: dict[bytes, Quic] = {}
        self._ids: dict[Quic, set[bytes]] = {}
        self._half_open: set[Quic] = set()
        self._tokens = RetryTokens()
        self._senseless = 0  # first datagrams of this second that could not be opened
        self._second = 0
        self._closing = False

    def __len__(self) -> int:
        return len(self._ids)

    def start(self) -> None:
        """Take datagrams from now on."""
        self.packets.start(self)

    @property
    def port(self) -> int:
        return int(self.address[1])

    def close(self) -> None:
        """Let nobody new in; the packet conn is closed after the last connection."""
        if self._closing:
            return
        self._closing = True
        for quic in list(self._half_open):
            quic.close(True)
        if not self._ids:
            self.packets.close()
        else:
            lasting.outlast(self)

    def end_all(self) -> None:
        """Close every connection, and the packet conn."""
        self._closing = True
        for quic in list(self._ids):
            quic.close(True)
        lasting.forget(self)
        self.packets.close()

    # -- sink of the packet conn -----------------------------------------------------------------

    def datagram(self, data: bytes, address: str) -> None:
        if len(data) < 2 + _ID_SIZE:
            return
        key = data[6 : 6 + data[5]] if data[0] & _LONG else data[1 : 1 + _ID_SIZE]
        quic = self._routes.get(key)
        if quic is not None:
            quic.datagram(data, address)
        elif data[0] & _LONG and len(data) >= _FIRST_SIZE and not self._closing:
            self._first(data, address)

    def ended(self, error: BaseException | None) -> None:
        for quic in list(self._ids):
            quic.ended(error)

    # -- new connections -------------------------------------------------------------------------

    def _first(self, data: bytes, address: str) -> None:
        """A datagram of a connection that is not known."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=_ID_SIZE)
        except ValueError:  # BufferReadError is one
            return
        configuration = self._tls.current()
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return
        if header.version not in configuration.supported_versions:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=configuration.supported_versions,
            )
            self._send([answer], address)
            return
        if header.packet_type != QuicPacketType.INITIAL or len(header.destination_cid) < _ID_SIZE:
            return
        original, retried = header.destination_cid, None
        wary = self._wary()
        if header.token or wary:
            shown = self._shown(header, address)
            if shown is not None:
                original, retried = shown, header.destination_cid
            elif wary:
                if not header.token:
                    self._retry(header, address)
                return
        if len(self._half_open) < MOST_HALF_OPEN:
            quic = self._begin(header.destination_cid, original, retried, address)
            quic.datagram(data, address)
            if not quic.core.begun:  # no packet in it could be opened
                self._senseless += 1
                quic.ended(None)

    def _wary(self) -> bool:
        """Clients have to show where they are: too many are half open, or send senseless data,
        which costs a fifth of a millisecond each to find out."""
        second = int(clock())
        if second != self._second:
            self._second = second
            self._senseless = 0
        return len(self._half_open) >= RETRY_ABOVE or self._senseless >= MOST_SENSELESS

    def _shown(self, header: Any, address: str) -> bytes | None:
        """The id of the first attempt, if the client returns a token that was sent to it."""
        return self._tokens.first_id(address, header.destination_cid, header.token, clock())

    def _retry(self, header: Any, address: str) -> None:
        source = Quic.new_id()
        token = self._tokens.create(address, header.destination_cid, source, clock())
        answer = encode_quic_retry(
            version=header.version,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._send([answer], address)

    def _begin(self, asked: bytes, original: bytes, retried: bytes | None, address: str) -> Quic:
        quic = Quic(
            self._tls,
            self._settings,
            self._send,
            ConnInfo(peer=split_address(address), local=self.address),
            reading=getattr(self.packets, "read_now", None),
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        quic.on_established = self._established
        quic.on_id = self._issued
        quic.on_gone = self._gone
        self._ids[quic] = set()
        for key in (asked, quic.core.host_cid):
            self._issued(quic, key, True)
        self._half_open.add(quic)
        return quic

    def _established(self, quic: Quic) -> None:
        self._half_open.discard(quic)
        self._accepted(quic)

    def _issued(self, quic: Quic, key: bytes, valid: bool) -> None:
        """A connection id is valid from now on, or not any more."""
        keys = self._ids.get(quic)
        if keys is None:
            return
        if valid:
            keys.add(key)
            self._routes[key] = quic
        else:
            keys.discard(key)
            self._routes.pop(key, None)

    def _gone(self, quic: Quic) -> None:
        for key in self._ids.pop(quic, ()):
            self._routes.pop(key, None)
        self._half_open.discard(quic)
        if not quic.established:
            self._log.debug(f"handshake: {quic.error}", remote=quic.info.peer_address)
        if self._closing and not self._ids:
            lasting.forget(self)
            self.packets.close()

    def _send(self, datagrams: Sequence[bytes], address: str) -> None:
        try:
            send_all(self.packets, datagrams, address)
        except (GostError, OSError) as error:
            self._log.debug(f"quic: send to {address}: {error}")
