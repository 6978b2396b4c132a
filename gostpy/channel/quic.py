"""quic: QUIC connections over UDP, the carrier under streams, HTTP/3 and WebTransport.

Wire     QUIC 1 or 2, ALPN ``h3`` and ``quic/v1``, TLS 1.3; with ``cipherKey`` every datagram is
         sealed by AES-GCM once more
Source   gost's listener/quic and dialer/quic
Differs  nothing known
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.errors import MissingExtra, Unsupported
from gostpy.interfaces import Context, Open
from gostpy.net.lasting import listen_or_take_over
from gostpy.net.packet import PacketConn, UDPSocket
from gostpy.options import opt

try:
    from gostpy.net.coded import CodedPackets
    from gostpy.net.threaded import hubbed
    from gostpy.net.udpburst import BurstSocket
    from gostpy.stream.quic import Quic, QuicSettings, dial_quic
    from gostpy.stream.quicserver import QuicServer
    from gostpy.stream.quictls import DATAGRAM_SIZE, QuicTLS
    from gostpy.stream.tls import asked_name, host_of
    from gostpy.wire.quiccipher import OVERHEAD, DatagramCipher
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "aioquic":
        raise
    raise MissingExtra("quic", "quic") from error

__all__ = ["Carrier", "CommonOptions", "DialOptions", "ListenOptions"]

HANDSHAKE_TIMEOUT = 5.0
IDLE_TIMEOUT = 30.0
MAX_STREAMS = 100


@dataclass(frozen=True)
class CommonOptions:
    """Options of quic and icmp on both sides."""

    ttl: float = opt(
        10.0,
        "ttl",
        kind="duration",
        positive=True,
        doc="Silence of the peer after which keep-alive asks whether it is there.",
    )
    handshake_timeout: float = opt(
        0.0, "handshakeTimeout", kind="duration", doc="Deadline for the handshake; 0 = 5 s."
    )
    max_idle_timeout: float = opt(
        0.0,
        "maxIdleTimeout",
        kind="duration",
        doc="Silence of the peer that ends a connection; 0 = 30 s.",
    )
    alpn: tuple[str, ...] = opt(("h3", "quic/v1"), doc="Protocols that are offered.")


@dataclass(frozen=True)
class QuicOptions(CommonOptions):
    """Options of quic on both sides."""

    cipher_key: str = opt(
        "", "cipherKey", doc="Key of 16, 24 or 32 bytes that seals every datagram; as at the peer."
    )
    max_streams: int = opt(
        0, "maxStreams", unit="streams", doc="Streams that the peer may have open; 0 = 100."
    )
    datagrams: bool = opt(
        False, "quic.enableDatagram", "enableDatagram", doc="Accept DATAGRAM frames."
    )


@dataclass(frozen=True)
class ListenOptions(QuicOptions):
    """Options of the listening side."""

    keepalive: bool = opt(False, "keepAlive", doc="Ask a silent peer whether it is there.")


@dataclass(frozen=True)
class DialOptions(QuicOptions):
    """Options of the dialing side."""

    keepalive: bool = opt(True, "keepAlive", doc="Ask a silent peer whether it is there.")


class Carrier:
    """Makes and accepts QUIC connections; a mux makes something of their streams.

    Raises ConfigError: certificate files, settings or a key cannot be used.
    """

    network = "udp"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
        self._cipher: DatagramCipher | None = None
        key = getattr(options, "cipher_key", "")
        if key:
            self._cipher = DatagramCipher(key.encode())
        self.settings = QuicSettings(
            keepalive=options.ttl if options.keepalive else 0.0,
            handshake_timeout=_positive(options.handshake_timeout, HANDSHAKE_TIMEOUT),
            idle_timeout=_positive(options.max_idle_timeout, IDLE_TIMEOUT),
            max_streams=_streams(getattr(options, "max_streams", 0)),
        )
        self._tls = QuicTLS(
            context.tls,
            server=context.listening,
            alpn=options.alpn,
            idle_timeout=self.settings.idle_timeout,
            datagrams=65536 if getattr(options, "datagrams", False) else 0,
            datagram_size=self.datagram_size,
            log=context.log,
        )
        if context.listening:
            self._tls.current()  # a certificate is made now, not while the first client waits

    @property
    def datagram_size(self) -> int:
        return DATAGRAM_SIZE - (OVERHEAD if self._cipher is not None else 0)

    def listen(self, accepted: Callable[[Any, Any], None]) -> QuicServer:
        """Bind the service's address. Raises OSError."""
        packets = self._coded(self.bind())
        return QuicServer(
            packets,
            self._tls,
            self.settings,
            lambda quic: accepted(quic, None),
            self.context.log,
        )

    def bind(self) -> Any:
        """The listening side's packet conn. Raises OSError."""
        return BurstSocket(listen_or_take_over(self.context.address, self.context.sockets))

    def open(self, open: Open) -> Quic:
        """A connection to the node, in a green thread. Raises GostError, OSError."""
        address = self.context.address
        packets = open(self.network, address)
        if not isinstance(packets, PacketConn):
            packets.close(True)
            raise Unsupported(f"the node before has no datagrams of network {self.network!r}")
        packets = BurstSocket(packets) if type(packets) is UDPSocket else hubbed(packets)
        name = self._tls.settings.server_name or host_of(address)
        return dial_quic(self._coded(packets), address, self._tls, self.settings, asked_name(name))

    def _coded(self, packets: Any) -> Any:
        return packets if self._cipher is None else CodedPackets(packets, self._cipher)


def _positive(value: float, default: float) -> float:
    return value if value > 0.0 else default


def _streams(value: int) -> int:
    """As quic-go reads it: zero is its default, negative is none."""
    return MAX_STREAMS if value == 0 else max(min(value, 1 << 20), 0)
