"""dtls: DTLS 1.2 as a byte stream over UDP, one conn per peer.

The listener sends a cookie before it keeps anything of a client. Certificates are those of a
``tls`` block; its versions and suites mean nothing here.

Differs   with PROXY protocol the header travels inside DTLS, where gost's listener looks for it;
          gost's dialer sends it in front, as a datagram that no listener understands
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gostpy.interfaces import Context
from gostpy.net.conn import Conn
from gostpy.options import opt

__all__ = ["Layer", "Options"]

_MTU = 1200


@dataclass(frozen=True)
class Options:
    """Options of both sides."""

    handshake_timeout: ClassVar[float] = 30.0

    mtu: int = opt(
        _MTU,
        "dtls.mtu",
        "mtu",
        unit="bytes",
        positive=True,
        doc="Largest datagram of the handshake; at least 256.",
    )
    buffer_size: int = opt(
        1200,
        "dtls.bufferSize",
        "bufferSize",
        unit="bytes",
        positive=True,
        doc="Data in one datagram; at most 16384.",
    )
    flight_interval: float = opt(
        1.0,
        "dtls.flightInterval",
        "flightInterval",
        kind="duration",
        positive=True,
        doc="Time after which messages of the handshake are sent again.",
    )


class Layer:
    """One DTLS handshake: datagrams become a stream.

    Raises ConfigError: certificate files cannot be used. MissingExtra: pyOpenSSL is absent.
    """

    def __init__(self, options: Options, context: Context) -> None:
        from gostpy.stream import dtls, dtlscontext
        from gostpy.stream.tls import host_of

        self._accept, self._connect = dtls.accept_dtls, dtls.connect_dtls
        self._name = host_of(context.address)
        self._context = dtlscontext.DTLSContext(context.tls, context.listening, context.log)
        self._settings: dict[str, Any] = {
            "size": min(options.buffer_size, 16384),
            "mtu": max(options.mtu, 256),
            "interval": options.flight_interval,
        }

    def accept(self, packets: Any) -> Conn:
        return self._accept(packets, self._context, **self._settings)

    def connect(self, packets: Any) -> Conn:
        conn = self._connect(packets, self._context, self._name, **self._settings)
        header = conn.info.facts.pop("proxy header", b"")
        if header:
            conn.sendall(header)
        return conn
