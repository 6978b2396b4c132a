"""The SOCKS 5 handler: login, then one of CONNECT, BIND, MUX BIND and the two kinds of UDP.

Differs   gost drops bytes that follow the request in the same packet; they are relayed here.
          The method is chosen as gost chooses it: without an auther 00 is answered even if it
          was not offered, with one 02 is.
"""

from __future__ import annotations

from typing import Any

from gostpy.errors import AuthFailed, Denied, ProtocolError, RouteError, Unsupported
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import relay_for
from gostpy.processing.socks5.bind import serve_bind, serve_mux_bind
from gostpy.processing.socks5.options import HandlerOptions
from gostpy.processing.socks5.replies import refuse
from gostpy.processing.socks5.udp import serve_association, serve_tunnel
from gostpy.stream.mux import check_mux
from gostpy.stream.tls import ServerContext, accept_tls
from gostpy.wire import socks5
from gostpy.wire.socks5 import Command, Method, Rep

__all__ = ["Handler"]

_OK = socks5.Reply().encode()
_USER_ACCEPTED = socks5.user_status(0)
_USER_REFUSED = socks5.user_status(1)


class Handler:
    """Server side."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        check_mux(options)
        self.options = options
        self.context = context
        self._relay_stream = relay_for(options, context, options.read_timeout)
        self._tls = None if options.notls else ServerContext(context.tls, log=context.log)

    def handle(self, conn: Any) -> None:
        """Serve one client. Raises Rejected, ProtocolError, RouteError, OSError."""
        self.context.check_rate(conn)
        with timeout(self.options.read_timeout, "no socks5 request in time"):
            client = self._login(conn)
            message = socks5.Request.read(conn)
        command = message.command
        if command == Command.CONNECT:
            self._connect(conn, message.address, client)
        elif command in (Command.BIND, Command.MUX_BIND):
            self._bind(conn, message, client)
        elif command == Command.ASSOCIATE:
            serve_association(self.context, self.options, conn, client)
        elif command == Command.UDP_TUNNEL:
            serve_tunnel(self.context, self.options, conn, message.address, client)
        elif command in (Command.RESOLVE, Command.RESOLVE_PTR) and self.options.tor:
            self._resolve(conn, message, client)
        else:
            refuse(conn, Rep.COMMAND_UNSUPPORTED, ProtocolError(f"socks5 command {command:#x}"))

    def _login(self, conn: Conn) -> str:
        """Method, TLS and user; the client id. Raises AuthFailed, ProtocolError."""
        offered = socks5.Greeting.read(conn).methods
        guarded = self.context.authenticate is not None
        if self._tls is not None and Method.TLS in offered:
            conn.sendall(socks5.choice(Method.TLS_USER if guarded else Method.TLS))
            accept_tls(conn, self._tls)
        else:
            conn.sendall(socks5.choice(Method.USER if guarded else Method.NONE))
        if not guarded:
            return ""
        user = socks5.UserPass.read(conn)
        try:
            client = self.context.login(conn, user.username, user.password)
        except AuthFailed:
            conn.sendall(_USER_REFUSED)
            raise
        conn.sendall(_USER_ACCEPTED)
        return client

    def _connect(self, conn: Conn, address: str, client: str) -> None:
        context = self.context
        request = context.request(conn, "tcp", address, client_id=client)
        if self.options.hash == "host":
            request.hash_source = address
        try:
            context.check_bypass(request)
            upstream = context.dial(request)
        except Denied as error:
            refuse(conn, Rep.NOT_ALLOWED, error)
        except (RouteError, Unsupported, OSError) as error:
            refuse(conn, Rep.NETWORK_UNREACHABLE, error)
        try:
            conn.sendall(_OK)
        except BaseException:
            upstream.close(True)
            raise
        self._relay_stream(conn, upstream, request)

    def _bind(self, conn: Conn, message: socks5.Request, client: str) -> None:
        if not self.options.bind:
            refuse(conn, Rep.NOT_ALLOWED, Denied("BIND is not enabled"))
        serve = serve_bind if message.command == Command.BIND else serve_mux_bind
        serve(self.context, self.options, conn, message.address, client)

    def _resolve(self, conn: Conn, message: socks5.Request, client: str) -> None:
        """Ask the next SOCKS 5 node, whose connector leaves the answer among the conn's facts."""
        resolving = "tor-resolve" if message.command == Command.RESOLVE else "tor-resolve-ptr"
        request = self.context.request(
            conn, "tcp", message.address, client_id=client, protocol=resolving
        )
        try:
            self.context.check_bypass(request)
            upstream = self.context.dial(request)
        except Denied as error:
            refuse(conn, Rep.NOT_ALLOWED, error)
        except (RouteError, Unsupported, OSError) as error:
            refuse(conn, Rep.FAILURE, error)
        upstream.close()
        answer = upstream.info.facts.get("resolved")
        if not answer:
            refuse(conn, Rep.FAILURE, ProtocolError("the next node cannot resolve names for Tor"))
        conn.sendall(socks5.Reply(Rep.OK, answer).encode())
