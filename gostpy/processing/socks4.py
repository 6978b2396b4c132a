"""SOCKS 4 and 4A, both sides; the names ``socks4`` and ``socks4a`` mean the same.

Differs   BIND and unknown commands end the connection without a reply, as in gost.
          A user id is checked with an empty password, as in gost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from gostpy.errors import AuthFailed, Denied, RouteError, Unsupported
from gostpy.interfaces import Context, Request
from gostpy.net.conn import Conn, format_address
from gostpy.net.dial import resolve, split_address
from gostpy.net.packet import PacketConn
from gostpy.net.timers import timeout
from gostpy.options import opt
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import SniffingOptions, relay_for
from gostpy.wire import socks4
from gostpy.wire.socks4 import Code

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]

_GRANTED = socks4.Reply(Code.GRANTED).encode()


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions, AccountingOptions):
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
        0.0, "timeout", kind="duration", doc="Time for the node to answer; 0 = no limit."
    )
    disable4a: bool = opt(
        False, "disable4a", doc="Resolve names here and send IPv4 addresses only."
    )


class Handler:
    """Server side."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._relay = relay_for(options, context, options.read_timeout)

    def handle(self, conn: Any) -> None:
        """Serve one request. Raises Rejected, ProtocolError, RouteError, OSError."""
        context = self.context
        context.check_rate(conn)
        with timeout(self.options.read_timeout, "no socks4 request in time"):
            message = socks4.Request.read(conn)
        try:
            client = context.login(conn, message.user, "")
        except AuthFailed as error:
            _refuse(conn, Code.REJECTED_USER, error)
        if message.command != socks4.CONNECT:
            raise Unsupported(f"socks4 command {message.command}")
        request = context.request(conn, "tcp", message.address, client_id=client)
        if self.options.hash == "host":
            request.hash_source = message.address
        try:
            context.check_bypass(request)
            upstream = context.dial(request)
        except Denied as error:
            _refuse(conn, Code.REJECTED, error)
        except (RouteError, Unsupported, OSError) as error:
            _refuse(conn, Code.FAILED, error)
        try:
            conn.sendall(_GRANTED)
        except BaseException:
            upstream.close(True)
            raise
        self._relay(conn, upstream, request)


def _refuse(conn: Conn, code: int, error: BaseException) -> NoReturn:
    """Answer with a code and end the connection with ``error``."""
    conn.sendall(socks4.Reply(code).encode())
    raise error


class Connector:
    """Client side; TCP only."""

    def __init__(self, options: ConnectorOptions, context: Context) -> None:
        self.options = options
        self.context = context

    def handshake(self, conn: Any) -> Any:
        return conn

    def connect(self, conn: Any, request: Request) -> Conn:
        """Raises ProtocolError, DialFailed, TimeoutError; Unsupported: not tcp."""
        if isinstance(conn, PacketConn) or not request.network.startswith("tcp"):
            raise Unsupported(f"socks4 cannot carry network {request.network!r}")
        address = request.address
        if self.options.disable4a:
            address = _ipv4(address)
        message = socks4.Request(
            socks4.CONNECT, address, self.context.auth.username, not self.options.disable4a
        )
        with timeout(self.options.timeout, "no answer from the socks4 node in time"):
            conn.sendall(message.encode())
            socks4.Reply.read(conn).check()
        stream: Conn = conn
        return stream


def _ipv4(address: str) -> str:
    """The IPv4 address of the target. Raises DialFailed, Unsupported."""
    host, port = split_address(address)
    if not host:
        return f"0.0.0.0:{port}"
    for _, found in resolve(host, port):
        text = format_address(found)
        if not text.startswith("["):
            return text
    raise Unsupported(f"socks4 needs an IPv4 address, {host!r} has none")
