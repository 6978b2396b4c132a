"""Shadowsocks over streams, both sides; the type name is ``ss``.

The credentials are the method and its password. See gostpy/wire/shadowsocks for the bytes and
docs/shadowsocks.md for how the forms of the 2022 edition are told apart.

Differs   gost reads the request without a deadline, and resets a connection whose request does not
          authenticate; here such a connection is read until ``readTimeout`` and told nothing, so
          that probing does not find out where it failed. Strict mode closes it at once.
          gost crashes at the first connection when the credentials are missing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from gostpy.errors import ProtocolError, Unsupported
from gostpy.interfaces import Context, Credentials, Request
from gostpy.net import timers
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.options import no_effect, opt
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import SniffingOptions, relay_for
from gostpy.wire.address import encode_address, read_address
from gostpy.wire.shadowsocks import (
    SaltFilter,
    Secret,
    ServerStream,
    client_stream,
    secret,
    server_stream,
    users_of,
)
from gostpy.wire.shadowsocks.salts import CAPACITY

__all__ = [
    "AUTO",
    "COMPAT",
    "GOST",
    "STANDARD",
    "Connector",
    "ConnectorOptions",
    "Handler",
    "HandlerOptions",
    "Server",
    "replayed_salts",
    "secret_of",
]

AUTO, STANDARD, GOST = COMPAT = ("auto", "standard", "gost")

FORM_WAIT = 0.05
"""Seconds to wait for what follows a request's header, to see which form the client speaks."""

_DRAINED = 1 << 20
"""Bytes read at most from a peer that does not know the key."""


@dataclass(frozen=True)
class ServerOptions:
    """Options of both handlers."""

    users: dict[str, Any] = opt(
        {}, "users", doc="Users by name, with base64 keys; methods of the 2022 edition only."
    )
    compat: str = opt(
        AUTO,
        "ss.compat",
        choices=COMPAT,
        doc="Form of the 2022 edition where the peer's bytes do not tell: as SIP022 says, or as "
        "gost 3.2.6 has it.",
    )
    key: str = no_effect("key", doc="Read and ignored, as in gost.")


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions, ServerOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0, "readTimeout", kind="duration", positive=True, doc="Time for the request to arrive."
    )
    hash: str = opt(
        "",
        "hash",
        choices=("", "host"),
        doc="What the hash selector looks at; host: the target, else the client's IP.",
    )


@dataclass(frozen=True)
class ConnectorOptions:
    """Options of the connector."""

    timeout: float = opt(
        0.0, "timeout", kind="duration", doc="Time for the request to leave; 0 = no limit."
    )
    nodelay: bool = opt(
        False, "nodelay", doc="Send the request at once instead of with the first data."
    )
    compat: str = opt(
        AUTO,
        "ss.compat",
        choices=COMPAT,
        doc="Form of method none where the node's bytes do not tell; auto = standard.",
    )
    key: str = no_effect("key", doc="Read and ignored, as in gost.")


def secret_of(auth: Credentials) -> Secret:
    """The secret that credentials mean. Raises ConfigError, MissingExtra."""
    return secret(auth.username, auth.password, "auth")


def replayed_salts(shared: Secret) -> SaltFilter:
    """The memory for salts of one side of a service.

    ``SHADOWSOCKS_SF_CAPACITY`` sets its size, as in gost; not for the 2022 edition, whose salts
    are kept for 60 s: as long as a request's timestamp is good.
    """
    if shared.method.edition == "2022":
        return SaltFilter(period=60.0)
    try:
        return SaltFilter(int(os.environ.get("SHADOWSOCKS_SF_CAPACITY", CAPACITY)))
    except ValueError:
        return SaltFilter()


class Server:
    """The serving end of streams, for both handlers.

    Args:
        read_timeout: seconds for the request.
        drain: read on from peers that do not know the key.
    """

    def __init__(
        self, auth: Credentials, options: ServerOptions, read_timeout: float, drain: bool
    ) -> None:
        self.secret = secret_of(auth)
        two_thousand = self.secret.method.edition == "2022"
        users = {str(name): str(key) for name, key in options.users.items()}
        self.users = users_of(self.secret, users, "users") if two_thousand else {}
        self.salts = replayed_salts(self.secret)
        self._compat = options.compat
        self._timeout = read_timeout
        self._drain = drain

    def accept(self, conn: Conn) -> tuple[str, str]:
        """Read the request: (target, name of the user). Raises ProtocolError, TimeoutError."""
        deadline = timers.now() + self._timeout
        codec = server_stream(self.secret, self.users, self.salts)
        try:
            with timeout(self._timeout, "no shadowsocks request in time"):
                conn.push(codec)
                address = read_address(conn)
        except ProtocolError:
            if self._drain:
                _drain(conn, deadline)
            raise
        if not isinstance(codec, ServerStream):
            return address, ""
        self._choose_form(conn, codec)
        return address, codec.user.name if codec.user is not None else ""

    def _choose_form(self, conn: Conn, codec: ServerStream) -> None:
        """Which response this client understands.

        gost 3.2.6 never puts payload into the header and sends it right behind instead; others put
        it there if they have any.
        """
        if codec.had_payload:
            return
        if self._compat == AUTO and not codec.followed:
            try:
                with timeout(FORM_WAIT):
                    conn.peek(1)
            except TimeoutError:
                pass  # a client that waits for the server
        codec.legacy = self._compat == GOST or (self._compat == AUTO and codec.followed)


def _drain(conn: Conn, deadline: float) -> None:
    """Read and forget, until the peer ends, too much came, or the time is over."""
    left = _DRAINED
    try:
        with timeout(max(deadline - timers.now(), 0.001)):
            while left > 0:
                size = len(conn.endpoint.recv())
                if not size:
                    return
                left -= size
    except OSError:  # TimeoutError too: the connection ends either way
        return


class Handler:
    """Server side."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._server = Server(context.auth, options, options.read_timeout, not context.strict)
        self._relay = relay_for(options, context, options.read_timeout)

    def handle(self, conn: Any) -> None:
        """Serve one request. Raises Rejected, ProtocolError, RouteError, OSError."""
        context = self.context
        if not isinstance(conn, Conn):
            raise Unsupported("ss serves streams; datagrams are for ssu")
        context.check_rate(conn)
        address, user = self._server.accept(conn)
        request = context.request(conn, "tcp", address, client_id=user)
        if self.options.hash == "host":
            request.hash_source = address
        context.check_bypass(request)
        self._relay(conn, context.dial(request), request)


class Connector:
    """Client side; TCP only."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._secret = secret_of(context.auth)
        self._salts = replayed_salts(self._secret)

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Conn:
        """Raises ProtocolError: the target does not fit; Unsupported: not tcp."""
        if not isinstance(conn, Conn) or not request.network.startswith("tcp"):
            raise Unsupported(f"ss cannot carry network {request.network!r}; ssu carries udp")
        lead = encode_address(request.address)
        framed = self.options.compat == GOST
        conn.push(client_stream(self._secret, lead, self._salts, framed))
        if self.options.nodelay:
            with timeout(self.options.timeout, "the node did not take the request in time"):
                conn.flush()
        return conn
