"""kcp: smux over KCP, a reliable protocol over UDP that prefers speed to fairness.

Wire      UDP (or fake TCP) | encryption | forward error correction | KCP | snappy | smux
          see gostpy/wire/kcp
Differs   A listener makes a session only for the first packet of a conversation, and only for who
          has the key; gost does so for any packet. No more than 1024 peers may have a session that
          have not acknowledged anything yet.
"""

from __future__ import annotations

import _socket
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gostpy.channel.kcpprofile import CRYPTS, MODES, read_profile
from gostpy.errors import ProtocolError, Unsupported
from gostpy.interfaces import Context, Deliver, Open
from gostpy.net.conn import Conn
from gostpy.net.lasting import listen_or_take_over
from gostpy.net.packet import PacketConn, UDPSocket
from gostpy.net.sessions import Session as PacketSession
from gostpy.net.sessions import SessionLimits, Sessions
from gostpy.net.threaded import hubbed
from gostpy.net.udpburst import BurstSocket
from gostpy.options import no_effect, opt
from gostpy.stream.kcp import KCPEndpoint, SealedPackets, Session, may_begin, random_conv
from gostpy.wire.kcp.ciphers import MOST_DATAGRAM, packet_cipher
from gostpy.wire.kcp.snappy import SnappyCodec, check_snappy

__all__ = ["Carrier", "DialOptions", "ListenOptions", "Mux"]

MOST_UNPROVED = 1024
_LIMITS = SessionLimits(backlog=1024, queue_size=256, buffer_size=MOST_DATAGRAM, ttl=30.0)


@dataclass(frozen=True)
class _Options:
    """Options of both sides; zero and empty mean what the file or map says, else the usual."""

    config_file: str = opt(
        "", "kcp.configFile", "configFile", "c", doc="JSON file with KCP parameters."
    )
    config: dict[str, Any] = opt(
        {}, "kcp.config", "config", doc="KCP parameters, as in the file; instead of it."
    )
    tcp: bool = opt(
        False, "kcp.tcp", "tcp", doc="Datagrams in fake TCP segments; needs raw sockets."
    )
    key: str = opt("", "kcp.key", doc="Password of the encryption.")
    crypt: str = opt(
        "", "kcp.crypt", choices=("", *CRYPTS), doc="Cipher of the packets; empty = aes."
    )
    mode: str = opt(
        "",
        "kcp.mode",
        choices=("", *MODES, "manual"),
        doc="Preset of nodelay, interval, resend and nc: normal, fast, fast2 or fast3.",
    )
    keepalive: int = opt(0, "kcp.keepalive", unit="s", doc="Time between keep-alives; 0 = 10.")
    interval: int = opt(
        0, "kcp.interval", unit="ms", doc="Time between ticks without a mode; 0 = 10."
    )
    mtu: int = opt(0, "kcp.mtu", unit="bytes", doc="Largest datagram; 0 = 1400.")
    rcvwnd: int = opt(0, "kcp.rcvwnd", unit="packets", doc="Receive window; 0 = 32.")
    sndwnd: int = opt(0, "kcp.sndwnd", unit="packets", doc="Send window; 0 = 32.")
    smuxver: int = opt(0, "kcp.smuxver", doc="Version of smux, 1 or 2; 0 = 1.")
    smuxbuf: int = opt(
        0, "kcp.smuxbuf", unit="bytes", doc="Bytes that may wait in a session; 0 = 4194304."
    )
    streambuf: int = opt(
        0, "kcp.streambuf", unit="bytes", doc="Window of a stream (version 2); 0 = 2097152."
    )
    nocomp: bool = opt(False, "kcp.nocomp", doc="Do not compress.")


@dataclass(frozen=True)
class ListenOptions(_Options):
    """Options of the listening side."""

    backlog: int = opt(
        128,
        "backlog",
        unit="connections",
        positive=True,
        effect=False,
        doc="Streams that wait for the handler; here none has to wait.",
    )


@dataclass(frozen=True)
class DialOptions(_Options):
    """Options of the dialing side."""

    handshake: float = no_effect("handshakeTimeout", kind="duration", doc="There is no handshake.")


class Carrier:
    """Encrypted datagrams. Raises ConfigError, MissingExtra."""

    def __init__(self, options: Any, context: Context) -> None:
        self.context = context
        self.profile = profile = read_profile(options, context.strict)
        self.network = "ftcp" if profile.tcp else "udp"
        self._cipher = packet_cipher(profile.crypt, profile.password)

    def listen(self, accepted: Callable[[Any, Any], None]) -> Sessions:
        """Bind the service's address. Raises OSError."""
        address, sockets = self.context.address, self.context.sockets
        packets: Any
        if self.profile.tcp:
            from gostpy.net.faketcp import listen_fake_tcp

            packets = listen_fake_tcp(address, sockets)
        else:
            packets = self._tuned(listen_or_take_over(address, sockets))

        def born(session: PacketSession) -> None:
            session.held = True
            accepted(session, None)

        sessions = Sessions(
            SealedPackets(packets, self._cipher), born, _LIMITS, first=_first, lasting=True
        )
        if self.profile.tcp:
            packets.lost = sessions.end
        return sessions

    def open(self, open: Open) -> PacketConn:
        """Datagrams to the node. Raises DialFailed, Unsupported."""
        packets = open(self.network, self.context.address)
        if not isinstance(packets, PacketConn):
            packets.close(True)
            raise Unsupported("fake TCP begins here: the node must be the first one")
        if type(packets) is UDPSocket:
            packets = self._tuned(packets)
        return SealedPackets(hubbed(packets), self._cipher)

    def _tuned(self, packets: UDPSocket) -> BurstSocket:
        sock, profile = packets.sock, self.profile
        for option in (_socket.SO_RCVBUF, _socket.SO_SNDBUF):
            sock.setsockopt(_socket.SOL_SOCKET, option, profile.socket_buffer)
        if profile.dscp:
            mark = profile.dscp << 2
            if sock.family == _socket.AF_INET6:
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_TCLASS, mark)
            with contextlib.suppress(OSError):  # of a socket for IPv6 only
                sock.setsockopt(_socket.IPPROTO_IP, _socket.IP_TOS, mark)
        return BurstSocket(packets, not self._cipher.slow)


def _first(data: bytes, address: str) -> bytes:
    """What the session of an unknown peer gets of its packet."""
    return data if may_begin(data) else b""


@dataclass
class _Unproved:
    """Endpoints whose peers have not shown yet that they get what is sent to them."""

    endpoints: dict[KCPEndpoint, None] = field(default_factory=dict)

    def add(self, endpoint: KCPEndpoint) -> None:
        """Above the limit the oldest one ends."""
        endpoints = self.endpoints
        endpoints[endpoint] = None
        if len(endpoints) <= MOST_UNPROVED:
            return
        for known in list(endpoints):
            if known.proved or known.packets.closed:
                del endpoints[known]
        while len(endpoints) > MOST_UNPROVED:
            oldest = next(iter(endpoints))
            del endpoints[oldest]
            oldest.packets.close()


class Mux:
    """Makes sessions of packet conns. Raises ConfigError, MissingExtra."""

    def __init__(self, options: Any, context: Context) -> None:
        self.context = context
        self.profile = read_profile(options, context.strict)
        if self.profile.compress:
            check_snappy()
        self._unproved = _Unproved()

    def serve(self, conn: PacketSession, deliver: Deliver) -> Session:
        """Deliver each stream that the peer opens."""
        endpoint, session = self._session(conn, None, deliver)
        session.on_close = self._ended
        self._unproved.add(endpoint)
        session.start()
        endpoint.begin()
        return session

    def _ended(self, session: Any) -> None:
        error = session.error
        tell = self.context.log.warn if isinstance(error, ProtocolError) else self.context.log.debug
        tell(f"kcp: {error}", remote=session.conn.info.peer_address)

    def connect(self, conn: PacketConn) -> Session:
        """A session on which streams can be opened."""
        endpoint, session = self._session(conn, random_conv(), None)
        session.start()
        endpoint.begin()
        return session

    def _session(
        self, packets: PacketConn, conv: int | None, deliver: Deliver | None
    ) -> tuple[KCPEndpoint, Session]:
        profile = self.profile
        endpoint = KCPEndpoint(packets, profile.kcp, profile.shards, conv)
        conn = Conn(endpoint, packets.info)
        if profile.compress:
            conn.push(SnappyCodec())
        return endpoint, Session(conn, profile.smux, conv is not None, deliver)
