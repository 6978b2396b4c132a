"""wg: plain TCP. gost has a dialer of this name that was to become WireGuard and is TCP so far.

Differs   gost 3.2.6 does not link it: in a config file it is unknown there, on the command line an
          unknown name means tcp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.interfaces import Context

__all__ = ["Carrier", "Options"]


@dataclass(frozen=True)
class Options:
    """There are no options."""


class Carrier:
    """Dialing is the route's business."""

    network = "tcp"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
