"""unix: stream sockets of the Unix domain. The address is a path, or ``@name`` in the abstract
namespace. A socket file that nobody listens on is replaced, and removed at the end.

Differs   gost fails to listen when a file is left over from an earlier run.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ConfigError
from gostpy.interfaces import Context
from gostpy.net.listen import Acceptor, listen_unix
from gostpy.options import opt

__all__ = ["Carrier", "DialOptions", "ListenOptions", "file_mode"]


@dataclass(frozen=True)
class DialOptions:
    """The dialing side has no options."""


@dataclass(frozen=True)
class ListenOptions:
    """Options of the listening side."""

    mode: str = opt(
        "",
        "mode",
        since="3.3",
        doc="Permission bits of the socket file: 0660, 0o660, 0x1b0 or decimal; empty = as umask.",
    )


def file_mode(text: str) -> int:
    """Permission bits of a number as Go writes it (a leading 0 is octal); 0 for an empty text.

    Raises ConfigError: it is no such number.
    """
    digits = text.strip().replace("_", "")
    if not digits:
        return 0
    base = 8 if digits.startswith("0") and digits.isdigit() else 0
    try:
        mode = int(digits, base)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ConfigError(f"expected a file mode such as 0660, not {text!r}", "mode")
    return mode


class Carrier:
    """Accepts connections on a Unix socket; dialing them is the route's business."""

    network = "unix"

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context
        self._mode = file_mode(options.mode) if isinstance(options, ListenOptions) else 0

    def listen(self, accepted: Callable[[_socket.socket, Any], None]) -> Acceptor:
        """Bind the service's address. Raises OSError."""
        path = self.context.address
        acceptor = listen_unix(path, accepted, self.context.sockets)
        if self._mode and not path.startswith("@"):
            try:
                os.chmod(path, self._mode)
            except OSError:
                acceptor.close()
                raise
        return acceptor
