"""Shadowsocks for datagrams, both sides; the type name is ``ssu``.

Over a datagram transport each datagram is a packet of its own; over a stream they are frames
(gostpy/wire/udptun.py) inside a Shadowsocks stream, whose target the server ignores.

Differs   gost keeps the first target of a client for all its packets, answers without an address
          (classic methods), and crashes when used over a stream; a session of its ``udp`` listener
          ends with every reply. Here an association lasts until 60 s without a datagram.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import get_hub, getcurrent, spawn_raw

from gostpy.errors import ConnectionClosed, GostError, LimitExceeded, ProtocolError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.framed import TunnelConn
from gostpy.net.packet import PacketConn
from gostpy.net.sessions import Session
from gostpy.net.timers import timeout
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
)

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]

IDLE = 60.0
"""Seconds without a datagram that end an association."""

READ_TIMEOUT = 15.0
"""Seconds for the request of a stream; gost's ``readTimeout`` of this handler has no effect."""

PROBE = 0.25
"""Seconds without a reply after which a node is tried in the other form of the 2022 edition."""

_MOST_WAITING = 256
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


class _Association(PacketConn):
    """One client's datagrams, decrypted by the handler, as a packet conn to relay from."""

    __slots__ = ("_queue", "_session", "_waiting", "client")

    def __init__(self, session: PacketSession, client: PacketConn) -> None:
        super().__init__(copy.copy(client.info))
        self.client = client  # where the last datagram came from: addresses may change
        self._session = session
        self._queue: deque[tuple[bytes, str]] = deque()
        self._waiting: Any = None

    def arrived(self, payload: bytes, target: str) -> None:
        """A datagram of the client; lost when too many wait."""
        if len(self._queue) < _MOST_WAITING:
            self._queue.append((payload, target))
            if self._waiting is not None:
                get_hub().loop.run_callback(self._wake)

    def recv_from(self) -> tuple[bytes, str]:
        while not self._queue:
            if self.closed:
                raise ConnectionClosed("association is closed")
            self._waiting = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._waiting = None
        return self._queue.popleft()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.switch()

    def send_to(self, data: bytes, address: str = "") -> None:
        if self.closed:
            raise ConnectionClosed("association is closed")
        self.client.send_to(self._session.seal(data, address))

    def _close(self) -> None:
        if self._waiting is not None:
            get_hub().loop.run_callback(self._wake)


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
        else:
            self._serve_packets(conn)

    def _serve_stream(self, conn: Conn) -> None:
        context = self.context
        _, user = self._server.accept(conn)
        request = context.request(conn, "udp", "", client_id=user)
        relay_packets(context, TunnelConn(conn), context.dial(request), request)

    def _serve_packets(self, conn: PacketConn) -> None:
        """Decrypt a client's packets and pass them to their associations, until it falls silent."""
        if isinstance(conn, Session):
            conn.held = True
        server = self._server
        packets = self._packets or ServerPackets(server.secret, server.salts)
        conn.settimeout(IDLE)
        mine: set[_Association] = set()
        try:
            while True:
                try:
                    wire, _ = conn.recv_from()
                except TimeoutError:
                    mine = {one for one in mine if not one.closed and one.client is conn}
                    if mine:  # there are still replies
                        continue
                    return
                try:
                    session, payload, target = packets.open(wire)
                except (ProtocolError, LimitExceeded) as error:
                    self.context.log.debug(f"packet: {error}", remote=conn.info.peer_address)
                    continue
                association = self._associations.get(session)
                if association is None or association.closed:
                    association = self._associate(session, conn)
                mine.add(association)
                association.client = conn
                association.arrived(payload, target)
        except ConnectionClosed:
            return
        finally:
            for association in mine:
                if association.client is conn:
                    association.close()

    def _associate(self, session: PacketSession, conn: PacketConn) -> _Association:
        association = self._associations[session] = _Association(session, conn)
        spawn_raw(self._relay, session, association)
        return association

    def _relay(self, session: PacketSession, association: _Association) -> None:
        """The green thread of an association."""
        context = self.context
        user = session.user.name if session.user is not None else ""
        try:
            request = context.request(association, "udp", "", client_id=user)
            relay_packets(context, association, context.dial(request), request, idle=IDLE)
        except (GostError, OSError) as error:
            context.log.error(str(error), remote=association.info.peer_address)
        except Exception as error:
            context.log.error(f"internal error: {error!r}", remote=association.info.peer_address)
        finally:
            association.close()
            if self._associations.get(session) is association:
                del self._associations[session]


class _NodeForm:
    """Which form of the 2022 edition a node understands, once it has answered; for all conns."""

    __slots__ = ("legacy",)

    def __init__(self, legacy: bool | None) -> None:
        self.legacy = legacy


class _ClientConn(PacketConn):
    """Datagrams through a node.

    Args:
        packets: to the node.
        peer: the one target of a connected conn; empty for any.
    """

    def __init__(self, packets: PacketConn, codec: ClientPackets, peer: str) -> None:
        super().__init__(copy.copy(packets.info))
        self._packets = packets
        self._codec: Any = codec
        self._peer = peer

    def settimeout(self, seconds: float | None) -> None:
        super().settimeout(seconds)
        self._packets.settimeout(seconds)

    def recv_from(self) -> tuple[bytes, str]:
        while True:
            wire, _ = self._packets.recv_from()
            try:
                data, sender = self._opened(wire)
            except ProtocolError:
                continue  # not from the node, or not meant for this conn: lost
            return data, self._peer or sender

    def _opened(self, wire: bytes) -> tuple[bytes, str]:
        payload: tuple[bytes, str] = self._codec.open(wire)
        return payload

    def send_to(self, data: bytes, address: str = "") -> None:
        self._packets.send_to(self._codec.seal(data, self._peer or address))

    def _close(self) -> None:
        self._packets.close()


class _Client2022Conn(_ClientConn):
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
        PacketConn.__init__(self, copy.copy(packets.info))
        self._packets = packets
        self._peer = peer
        self._form = form
        self._make = make
        self._codecs: dict[bool, ClientPackets2022] = {}

    def _in_form(self, legacy: bool) -> ClientPackets2022:
        codec = self._codecs.get(legacy)
        if codec is None:
            codec = self._codecs[legacy] = self._make(legacy)
        return codec

    def send_to(self, data: bytes, address: str = "") -> None:
        target = self._peer or address
        legacy = self._form.legacy
        self._packets.send_to(self._in_form(bool(legacy)).seal(data, target))
        if legacy is None:
            timers.after(PROBE, lambda: self._unanswered(data, target))

    def _unanswered(self, data: bytes, target: str) -> None:
        """On the hub."""
        if self._form.legacy is None and not self.closed:
            spawn_raw(self._send_legacy, self._in_form(True).seal(data, target))

    def _send_legacy(self, wire: bytes) -> None:
        try:
            self._packets.send_to(wire)
        except (GostError, OSError):
            return  # lost, as the first one was

    def _opened(self, wire: bytes) -> tuple[bytes, str]:
        if self._form.legacy is not None:
            return self._in_form(self._form.legacy).open(wire)
        for legacy, codec in self._codecs.items():
            try:
                opened = codec.open(wire)
            except ProtocolError:
                continue
            self._form.legacy = legacy
            return opened
        raise ProtocolError("packet does not authenticate")


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
            return _Client2022Conn(conn, self._make2022, self._form, peer)
        gost = self.options.compat == GOST
        addressed = {STANDARD: True, GOST: False}.get(self.options.compat)
        framed = gost or self._secret.method.framed
        codec = ClientPackets(self._secret, self._salts, reply_addressed=addressed, framed=framed)
        return _ClientConn(conn, codec, peer)

    def _make2022(self, legacy: bool) -> ClientPackets2022:
        return ClientPackets2022(self._secret, legacy)

    def _over_stream(self, conn: Conn, peer: str) -> PacketConn:
        lead = encode_address(peer or _ANYWHERE)
        framed = self.options.compat == GOST
        conn.push(client_stream(self._secret, lead, self._salts, framed))
        with timeout(self.options.timeout, "the node did not take the request in time"):
            return TunnelConn(conn, peer)
