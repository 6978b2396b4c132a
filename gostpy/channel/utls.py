"""utls (gost 3.3): TLS whose first message looks like a browser's; dialing only, needs utls.

Without a fingerprint, and with ``golang``, it is the tls dialer.

Differs   a fingerprint that cannot be produced is refused with what is possible (gost sends its
          own hello for one that it does not know). Those of Chrome can be produced.
"""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.channel import tls
from gostpy.interfaces import Context
from gostpy.options import opt
from gostpy.stream.fingerprint import STANDARD, FingerprintContext

__all__ = ["DialOptions", "Layer"]


@dataclass(frozen=True)
class DialOptions:
    """Options of the dialing side."""

    handshake_timeout: float = opt(
        0.0,
        "handshakeTimeout",
        kind="duration",
        since="3.3",
        doc="Deadline for the TLS handshake; 0 = none.",
    )
    fingerprint: str = opt(
        "",
        "fingerprint",
        since="3.3",
        doc="Browser to look like: chrome or chrome:VERSION; empty or golang: none.",
    )


class Layer(tls.Layer):
    """One TLS handshake of the dialing side. Raises ConfigError, MissingExtra."""

    def __init__(self, options: DialOptions, context: Context) -> None:
        super().__init__(tls.DialOptions(handshake_timeout=options.handshake_timeout), context)
        if options.fingerprint not in STANDARD:
            self._client = FingerprintContext(context.tls, options.fingerprint, context.log)
