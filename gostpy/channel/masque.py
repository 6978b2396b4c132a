"""h3-masque: the way to a masque proxy: a connection by HTTP/3, on which the masque connector asks.

Wire      HTTP/3 with HTTP datagrams; the proxy's side is the ``http3`` listener
Source    gost 3.3's dialer/http3/masque
Differs   nothing known
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.errors import HandshakeFailed
from gostpy.interfaces import Context
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.stream.http3 import Session
from gostpy.stream.quic import Quic
from gostpy.stream.tls import host_of
from gostpy.wire.http3 import CONNECT_PROTOCOL, H3_DATAGRAM

__all__ = ["DialOptions", "Mux"]

_SETTINGS_TIMEOUT = 15.0


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side; there is no other."""

    host: str = opt("", "host", since="3.3", doc="Host of requests for UDP; empty = the node's.")


class Mux:
    """Makes sessions whose streams have no request yet."""

    def __init__(self, options: DialOptions, context: Context) -> None:
        self._authority = host_of(options.host or context.address)

    def connect(self, quic: Quic) -> Session:
        """Raises HandshakeFailed, OSError."""
        session = Session(quic, True, more={H3_DATAGRAM: 1})
        session.authority = self._authority
        try:
            with timeout(_SETTINGS_TIMEOUT, "http3: no settings in time"):
                known = session.settled()
            if not known.get(CONNECT_PROTOCOL):
                raise HandshakeFailed("http3: the server knows no extended CONNECT")
        except BaseException:
            quic.close(True)
            raise
        return session
