"""Shadowsocks for datagrams, both sides; the type name is ``ssu``.

Over a datagram transport each datagram is a packet of its own; over a stream they are frames
(gostpy/wire/udptun.py) inside a Shadowsocks stream, whose target the server ignores.

Differs   gost keeps the first target of a client for all its packets, answers without an address
          (classic methods), and crashes when used over a stream; a session of its ``udp`` listener
          ends with every reply. Here an association lasts until 60 s without a datagram.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gevent import spawn_raw

from gostpy.errors import ConnectionClosed, GostError, LimitExceeded, ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import PacketConn
from gostpy.net.queued import QueuedPackets
from gostpy.net.sessions import Session
from gostpy.net.timers import timeout
from gostpy.net.wrapped import WrappedPackets
from gostpy.options import no_effect, opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.shadowsocks import (
    AUTO,
    COMPAT,
    GOST,
    STANDARD,
    Server,
    ServerOptions,
    replayed_salts,
    secret_of,
)
from gostpy.processing.udprelay import relay_packets
from gostpy.wire.address import encode_address
from gostpy.wire.shadowsocks import (
    ClientPackets,
    ClientPackets2022,
    PacketSession,
    ServerPackets,
    ServerPackets2022,
    client_stream,
    unlike_target,
)

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]

IDLE = 60.0
"""Seconds without a datagram that end an association."""

READ_TIMEOUT = 15.0
"""Seconds for the request of a stream; gost's ``readTimeout`` of this handler has no effect."""

PROBE = 0.25
"""Seconds without a reply after which a node is tried in the other form of the 2022 edition."""

_ANYWHERE = "0.0.0.0:0"

_BUFFER_SIZE: int = opt(
    4096,
    "udpBufferSize",
    "udp.bufferSize",
    unit="bytes",
    effect=False,
    doc="Read and ignored: datagrams pass whole, whatever their size.",
)


@dataclass(frozen=True)
class HandlerOptions(ServerOptions):
    """Options of the handler."""

    read_timeout: float = no_effect(
        "readTimeout", kind="duration", doc="Read and ignored, as in gost."
    )
    udp_buffer_size: int = _BUFFER_SIZE


@dataclass(frozen=True)
class ConnectorOptions:
    """Options of the connector."""

    timeout: float = opt(
        0.0,
        "timeout",
        "connectTimeout",
        kind="duration",
        doc="Time for the request to leave, over a stream; 0 = no limit.",
    )
    udp_buffer_size: int = _BUFFER_SIZE
    compat: str = opt(
        AUTO,
        "ss.compat",
        choices=COMPAT,
        doc="Form of the packets: as the standards say, as gost has it, or found out by trying.",
    )
    key: str = no_effect("key", doc="Read and ignored, as in gost.")


class _Opener(Protocol):
    def open(self, packet: bytes) -> tuple[PacketSession, bytes, str]: ...


class _Association(QueuedPackets):
    """One client's datagrams, decrypted, as a packet conn to relay from."""

    def __init__(self, handler: Handler, session: PacketSession, client: _Client) -> None:
        super().__init__(copy.copy(client.conn.info))
        self.on_hub = client.conn.on_hub
        self.client = client  # who sent the last datagram: addresses may change
        self.session = session
        self._handler = handler

    def send_to(self, data: bytes, address: str = "") -> None:
        if self.closed:
            raise ConnectionClosed("association is closed")
        self.client.conn.send_to(self.session.seal(data, address))

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("association is closed")
        return self.client.conn.send_now(self.session.seal(data, address))

    def _close(self) -> None:
        self._handler.forget(self)
        super()._close()


class _Client:
    """The sink of one client address: opens packets and passes them to their associations.

    Its conn stays open while there are associations; without any, until the listener drops it.
    """

    def __init__(self, handler: Handler, conn: PacketConn, packets: _Opener) -> None:
        self.conn = conn
        self._handler = handler
        self._packets = packets
        self._associations: set[_Association] = set()

    def datagram(self, data: bytes, address: str) -> None:
        try:
            session, payload, target = self._packets.open(data)
        except (ProtocolError, LimitExceeded) as error:
            self._handler.context.log.debug(f"packet: {error}", remote=self.conn.info.peer_address)
            return
        association = self._handler.association(session, self)
        if association.client is not self:
            association.client.leave(association)
            association.client = self
        self._associations.add(association)
        association.deliver(payload, target)

    def ended(self, error: BaseException | None) -> None:
        for association in list(self._associations):
            association.close()

    def leave(self, association: _Association) -> None:
        """The association has ended, or its client has another address now."""
        self._associations.discard(association)
        if not self._associations:
            self.conn.close()

    def run(self) -> None:
        """Serve a conn that does not work on the hub."""
        try:
            while True:
                self.datagram(*self.conn.recv_from())
        except ConnectionClosed as closed:
            self.ended(closed)


class Handler:
    """Server side."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._server = server = Server(context.auth, options, READ_TIMEOUT, not context.strict)
        self._associations: dict[PacketSession, _Association] = {}
        self._packets: ServerPackets2022 | None = None  # one for all: clients may change address
        if server.secret.method.edition == "2022":
            self._packets = ServerPackets2022(server.secret, server.users)

    def handle(self, conn: Any) -> None:
        """Serve one client or stream. Raises Rejected, ProtocolError, RouteError, OSError."""
        self.context.check_rate(conn)
        if isinstance(conn, Conn):
            self._serve_stream(conn)
            return
        server = self._server
        packets = self._packets or ServerPackets(server.secret, server.salts)
        client = _Client(self, conn, packets)
        if conn.on_hub:
            conn.start(client)
        else:
            client.run()

    def _serve_stream(self, conn: Conn) -> None:
        context = self.context
        _, user = self._server.accept(conn)
        request = context.request(conn, "udp", "", client_id=user)
        upstream = context.dial(request)
        relay_packets(context, TunnelConn(conn), upstream, request)

    def association(self, session: PacketSession, client: _Client) -> _Association:
        """The association of a session; a new one if it has none."""
        association = self._associations.get(session)
        if association is None:
            association = self._associations[session] = _Association(self, session, client)
            if isinstance(client.conn, Session):
                client.conn.held = True
            spawn_raw(self._relay, association)
        return association

    def forget(self, association: _Association) -> None:
        """The association was closed."""
        if self._associations.get(association.session) is association:
            del self._associations[association.session]
        association.client.leave(association)

    def _relay(self, association: _Association) -> None:
        """In a green thread of its own: reach the way out, and relay."""
        context = self.context
        user = association.session.user
        try:
            name = user.name if user is not None else ""
            request = context.request(association, "udp", "", client_id=name)
            relay_packets(context, association, context.dial(request), request, idle=IDLE)
        except (GostError, OSError) as error:
            context.log.error(str(error), remote=association.info.peer_address)
            association.close()
        except Exception as error:
            context.log.error(f"internal error: {error!r}", remote=association.info.peer_address)
            association.close()


class _NodeForm:
    """Which form of the 2022 edition a node understands, once it has answered; for all conns."""

    __slots__ = ("legacy",)

    def __init__(self, legacy: bool | None) -> None:
        self.legacy = legacy


class _NodeConn(WrappedPackets):
    """Datagrams through a node.

    Args:
        packets: to the node.
        peer: the one target of a connected conn; empty for any.
    """

    def __init__(self, packets: PacketConn, codec: ClientPackets, peer: str) -> None:
        super().__init__(packets, copy.copy(packets.info))
        self._codec = codec
        self._peer = peer

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        try:
            payload, sender = self._codec.open(data)
        except ProtocolError:
            return None  # not from the node, or not meant for this conn
        return payload, self._peer or sender

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        return self._codec.seal(data, self._peer or address), ""


class _NodeConn2022(WrappedPackets):
    """Datagrams through a node whose form is found out by trying.

    No server but ours understands both forms, so the standard one is tried first and, when nothing
    was answered for a moment, the same datagram goes out in gost's.
    """

    def __init__(
        self,
        packets: PacketConn,
        make: Callable[[bool], ClientPackets2022],
        form: _NodeForm,
        peer: str,
    ) -> None:
        super().__init__(packets, copy.copy(packets.info))
        self._peer = peer
        self._form = form
        self._make = make
        self._codecs: dict[bool, ClientPackets2022] = {}

    def _in_form(self, legacy: bool) -> ClientPackets2022:
        codec = self._codecs.get(legacy)
        if codec is None:
            codec = self._codecs[legacy] = self._make(legacy)
        return codec

    def sealed(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        target = self._peer or address
        legacy = self._form.legacy
        if legacy is None:
            timers.after(PROBE, lambda: self._unanswered(data, target))
        return self._in_form(bool(legacy)).seal(data, target), ""

    def _unanswered(self, data: bytes, target: str) -> None:
        """On the hub."""
        if self._form.legacy is None and not self.closed:
            spawn_raw(self._send, self._in_form(True).seal(data, target))

    def _send(self, wire: bytes) -> None:
        try:
            self.inner.send_to(wire)
        except (GostError, OSError):
            return  # lost, as the first one was

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        for legacy in (False, True) if self._form.legacy is None else (self._form.legacy,):
            try:
                payload, sender = self._in_form(legacy).open(data)
            except ProtocolError:
                continue  # not from the node, or not meant for this conn
            self._form.legacy = legacy
            return payload, self._peer or sender
        return None


class Connector:
    """Client side; UDP only."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._secret = shared = secret_of(context.auth)
        self._salts = replayed_salts(shared)
        known = {STANDARD: False, GOST: True}.get(options.compat)
        if shared.method.name.endswith("chacha20-poly1305"):  # gost does not know it
            known = False
        self._form = _NodeForm(known)

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> PacketConn:
        """Raises ProtocolError: the target does not fit; Unsupported: not udp."""
        if not request.network.startswith("udp"):
            raise Unsupported(f"ssu cannot carry network {request.network!r}; ss carries tcp")
        peer = request.address
        if isinstance(conn, Conn):
            return self._over_stream(conn, peer)
        if self._secret.method.edition == "2022":
            return _NodeConn2022(conn, self._make2022, self._form, peer)
        codec = ClientPackets(
            self._secret,
            self._salts,
            unlike_target if self._secret.method.edition == "none" else os.urandom,
            reply_addressed={STANDARD: True, GOST: False}.get(self.options.compat),
            framed=self.options.compat == GOST,
        )
        return _NodeConn(conn, codec, peer)

    def _make2022(self, legacy: bool) -> ClientPackets2022:
        return ClientPackets2022(self._secret, legacy)

    def _over_stream(self, conn: Conn, peer: str) -> PacketConn:
        lead = encode_address(peer or _ANYWHERE)
        framed = self.options.compat == GOST
        conn.push(client_stream(self._secret, lead, self._salts, framed))
        with timeout(self.options.timeout, "the node did not take the request in time"):
            return TunnelConn(conn, peer)
