"""The one exception tree: every error that gostpy raises on purpose is a GostError.

ConfigError     the user's configuration is wrong; names the place
ProtocolError   the peer's bytes are wrong; ends that connection
Rejected        we refuse (authentication, bypass, limits); ends that connection
RouteError      a node or target was not reached; ``__cause__`` holds the OSError
Unsupported     a component cannot do what was asked of it (bind, udp ...)
MissingExtra    an optional library is absent; names the extra to install
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AuthFailed",
    "BadVersion",
    "ConfigError",
    "ConnectFailed",
    "ConnectionClosed",
    "Denied",
    "DialFailed",
    "GostError",
    "HandshakeFailed",
    "LimitExceeded",
    "MissingExtra",
    "Position",
    "ProtocolError",
    "Rejected",
    "RouteError",
    "Truncated",
    "Unsupported",
]


class GostError(Exception):
    """Base of all errors of this package."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a configuration text. Lines and columns count from 1; 0 means unknown."""

    source: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [self.source] if self.source else []
        if self.line:
            parts += [str(self.line), str(self.column)]
        return ":".join(parts)


class ConfigError(GostError):
    """The configuration is wrong at ``where``.

    Args:
        message: what is wrong and what was expected.
        where: path inside the configuration, ``services[0].listener.tls.certFile``.
        position: file, line and column, when known.
    """

    def __init__(self, message: str, where: str = "", position: Position | None = None) -> None:
        self.message = message
        self.where = where
        self.position = position
        super().__init__(message)

    def __str__(self) -> str:
        prefix = ": ".join(str(part) for part in (self.position, self.where) if part and str(part))
        return f"{prefix}: {self.message}" if prefix else self.message


class Unsupported(GostError):
    """A component was asked for something that it cannot do."""


class MissingExtra(ConfigError):
    """An optional library is not installed.

    Args:
        extra: name of the extra, as in ``pip install gostpy[extra]``.
        feature: what needs it.
    """

    def __init__(self, extra: str, feature: str, where: str = "") -> None:
        self.extra = extra
        super().__init__(
            f"{feature} needs an optional library: pip install 'gostpy[{extra}]'", where
        )


class ProtocolError(GostError):
    """The peer's bytes are wrong."""


class Truncated(ProtocolError):
    """The peer's bytes ended inside a message."""


class BadVersion(ProtocolError):
    """The peer speaks another version of the protocol."""


class HandshakeFailed(ProtocolError):
    """A handshake (TLS, WebSocket ...) was refused or went wrong."""


class ConnectionClosed(GostError, ConnectionError):
    """The connection is gone: closed here, or reset while something was awaited from it."""


class Rejected(GostError):
    """We refuse to go on with this connection."""


class AuthFailed(Rejected):
    """Credentials are missing or wrong."""


class Denied(Rejected):
    """A rule (bypass, admission, a disabled command) forbids it."""


class LimitExceeded(Rejected):
    """A connection or rate limit is used up."""


class RouteError(GostError):
    """A node or target was not reached.

    Args:
        message: what failed.
        node: name of the node, empty for a direct dial.
        address: what was dialed or asked for.
    """

    def __init__(self, message: str, node: str = "", address: str = "") -> None:
        self.node = node
        self.address = address
        super().__init__(message)


class DialFailed(RouteError):
    """The address could not be resolved or connected to, or its handshake failed."""


class ConnectFailed(RouteError):
    """The node was reached, but it refused or failed to connect to the target."""
