"""What every handler needs of its service: login, rules, the way out, the relay and its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gostpy.errors import AuthFailed, Denied, GostError, LimitExceeded
from gostpy.interfaces import Authenticate, Credentials, Hop, Log, Request, Router, TLSSettings
from gostpy.net import timers
from gostpy.net.conn import Conn, format_address
from gostpy.net.metered import join
from gostpy.net.pipe import Pipe, pipe
from gostpy.net.sockopt import DEFAULT, SocketOptions

__all__ = ["HandlerContext", "dial_node"]


def dial_node(dial: Callable[[Request], Any], request: Request, node: Any) -> Any:
    """A conn by ``dial(request)`` to a target of the forwarder, whose failures and successes count
    for its selection; ``node`` may be None. Raises what ``dial`` raises."""
    try:
        upstream = dial(request)
    except (GostError, OSError):
        if node is not None:
            node.marker.mark()
        raise
    if node is not None:
        node.marker.reset()
    return upstream


@dataclass(slots=True)
class HandlerContext:
    """Made by the builder of a service, shared by all its conns.

    Attributes:
        router: the way out.
        authenticate: (user, password, client address) -> client id or None; None lets everybody in.
        auth: credentials of the handler as given (Shadowsocks: cipher and password).
        bypassed: (network, address, client address, host, path) -> the rule that forbids it, or "".
        admit_request: client ip -> whether the request rate allows another.
        limit: (client id, client address) -> a meter for the conn, or None.
        hop: the forwarder's nodes.
        idle_timeout: seconds of silence that end a relay, 0 = never.
        sockets: how sockets are made that a handler listens on for its clients (BIND).
        cut: strict mode's limit for the other side after a half-close, 0 = none.
    """

    service: str
    log: Log
    router: Router
    authenticate: Authenticate | None = None
    auth: Credentials = field(default_factory=Credentials)
    tls: TLSSettings | None = None
    bypassed: Callable[[str, str, str, str, str], str] | None = None
    admit_request: Callable[[str], bool] | None = None
    limit: Callable[[str, str], Any] | None = None
    hop: Hop | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    record: Callable[[Any], None] | None = None
    sockets: SocketOptions = DEFAULT
    cut: float = 0.0
    strict: bool = False

    def request(self, conn: Any, network: str, address: str, **facts: Any) -> Request:
        """A request of this conn's client."""
        info = conn.info
        source = info.client_address
        request = Request(network, address, source=source, **facts)
        if info.destination is not None:
            request.destination = format_address(info.destination)
        elif info.local is not None:
            request.destination = format_address(info.local)
        if not request.hash_source:
            request.hash_source = source.rpartition(":")[0]
        return request

    def check_rate(self, conn: Any) -> None:
        """Raises LimitExceeded: this client makes too many requests."""
        admit = self.admit_request
        if admit is not None:
            address = conn.info.client_address.rpartition(":")[0].strip("[]")
            if not admit(address):
                raise LimitExceeded(f"request rate of {address}")

    def login(self, conn: Any, username: str, password: str) -> str:
        """The client id. Raises AuthFailed."""
        if self.authenticate is None:
            return ""
        client = self.authenticate(username, password, conn.info.client_address)
        if client is None:
            raise AuthFailed(f"wrong user name or password for {username!r}")
        return client

    def check_bypass(self, request: Request) -> None:
        """Raises Denied: a rule of the service forbids the target."""
        if self.bypassed is not None:
            rule = self.bypassed(
                request.network, request.address, request.source, request.host, request.path
            )
            if rule:
                raise Denied(f"{request.address} is bypassed by {rule}")

    def dial(self, request: Request) -> Any:
        """A conn to the target by way of the chain. Raises RouteError."""
        return self.router.dial(request)

    def relay(self, conn: Conn, upstream: Conn, request: Request, *, idle: float = 0.0) -> None:
        """Relay from now on, and log once when it is over. Returns at once."""
        if self.limit is not None:
            conn.meter = join(conn.meter, self.limit(request.client_id, request.source))
        started = timers.now()

        def over(done: Pipe) -> None:
            self.finished(request, started, done.forwarded, done.returned, done.error)

        pipe(conn, upstream, over, idle=idle, cut=self.cut)

    def finished(
        self,
        request: Request,
        started: float,
        received: int,
        returned: int,
        error: BaseException | None = None,
    ) -> None:
        """Log one relayed conn or session that is over; ``started`` is by ``timers.now``."""
        fields: dict[str, Any] = {
            "remote": request.source,
            "dst": request.address,
            "duration": int((timers.now() - started) * 1e9),
            "inputBytes": received,
            "outputBytes": returned,
        }
        if request.client_id:
            fields["client"] = request.client_id
        if request.route:
            fields["route"] = " > ".join(request.route)
        if error is not None:
            fields["error"] = str(error) or type(error).__name__
        self.log.info(f"{request.source} >-< {request.address}", **fields)
