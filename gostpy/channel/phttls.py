"""phttls: TLS of a dialer of phts: as ``tls``, offering ``h2`` and ``http/1.1`` by ALPN.

The listening side is plain ``tls``: it takes HTTP/2 if the ``alpn`` of its TLS options has h2.
"""

from __future__ import annotations

from gostpy.channel import tls
from gostpy.channel.tls import DialOptions, ListenOptions

__all__ = ["DialOptions", "Layer", "ListenOptions"]


class Layer(tls.Layer):
    """The handshake of ``tls``, with its options."""

    alpn = ("h2", "http/1.1")
