"""What went wrong when a service was opened, and what can be done about it, in one line."""

from __future__ import annotations

import errno

from gostpy.errors import ConfigError, RouteError

__all__ = ["why_not_listening"]

_HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: "this user may not: ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.ENOENT: "the folder of the socket does not exist",
}
_PATH_HINTS = {
    errno.EADDRINUSE: "another program listens there, or the file is no socket",
    errno.EACCES: "this user may not write there",
}


def why_not_listening(error: Exception, address: str) -> str:
    """One line about a listener that could not be opened.

    Args:
        error: what ``listen`` raised.
        address: as configured; a path for Unix sockets.
    """
    if isinstance(error, ConfigError):
        return error.message
    if isinstance(error, RouteError) or not isinstance(error, OSError):
        return str(error)
    hints = {**_HINTS, **_PATH_HINTS} if "/" in address else _HINTS
    reason = (error.strerror or str(error)).removeprefix(f"listen {address}: ")
    hint = hints.get(error.errno or 0, "")
    told = f"cannot listen on {address or ':0'}: {reason[:1].lower()}{reason[1:]}"
    return f"{told} ({hint})" if hint else told
