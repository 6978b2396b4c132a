"""The sniffing service of a handler.

``relay`` is for proxies, whose upstream conn is open before the client has said anything;
``route`` for port forwarding, where the host that the client names decides about the node.

Differs   A later request on a connection that the chosen node does not serve by its own rules, or
          that a bypass forbids, is routed anew (gost sends it to the first one's node; strict mode
          as well). While a proxy's client is waited for, the upstream may speak: then the stream
          is opaque, and nobody hangs (gost waits for the client). HTTP/2 without TLS is relayed as
          it is; a port forwarding takes the node by protocol ``tls`` alone for it, where gost looks
          at the host of every stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import getcurrent

from gostpy.errors import Denied, DialFailed, GostError
from gostpy.interfaces import Request
from gostpy.net.conn import Conn
from gostpy.net.timers import timeout
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.sniffing.detect import detect
from gostpy.processing.sniffing.exchanges import Exchanges, refuse
from gostpy.processing.sniffing.nodes import decoded_path, rules_of
from gostpy.processing.sniffing.options import InspectionOptions, SniffingOptions, refuse_unbuilt
from gostpy.processing.sniffing.relay import relay_for
from gostpy.stream.http1 import read_request
from gostpy.stream.tls import connect_tls
from gostpy.stream.tlscontext import ClientContext
from gostpy.wire.codec import Buffer
from gostpy.wire.http1 import RequestHead, with_port
from gostpy.wire.tlshello import read_client_hello

__all__ = ["Sniffer", "relay_for"]

Dial = Callable[[Request], Any]


class Sniffer:
    """Sniffing as one handler wants it.

    Args:
        read_timeout: seconds for a request and a response's head; 0 or less counts as 30.
        keepalive: forward handlers tell clients that they may keep the connection.
        quiet: an HTTP client that is refused is not told why.
        transparent: a client that names no host goes to its original destination.

    Raises ConfigError: an option asks for what gostpy does not have yet, or a node's expression
    is wrong.
    """

    def __init__(
        self,
        options: InspectionOptions,
        context: HandlerContext,
        *,
        read_timeout: float,
        keepalive: bool = False,
        quiet: bool = False,
        transparent: bool = False,
    ) -> None:
        refuse_unbuilt(options)
        wait = options.sniffing_timeout if isinstance(options, SniffingOptions) else 0.0
        self._wait = max(wait, 0.0)
        self._context = context
        self._read_timeout = read_timeout if read_timeout > 0 else 30.0
        self._keepalive = keepalive
        self._quiet = quiet
        self._transparent = transparent
        for node in getattr(context.hop, "nodes", ()):
            rules_of(node)
        self._tls: dict[int, tuple[Any, ClientContext]] = {}

    # -- proxies -----------------------------------------------------------------------------------

    def relay(self, conn: Conn, upstream: Conn, request: Request, *, idle: float = 0.0) -> None:
        """Relay between two open conns, HTTP request by request. Raises GostError, OSError."""
        request.protocol = self._listen(conn, upstream)
        if request.protocol == "http" and not conn.peek(3).startswith(b"PRI"):
            try:
                with timeout(self._read_timeout, "no HTTP request in time"):
                    head = read_request(conn)
            except BaseException:
                upstream.close(True)
                raise
            Exchanges(self._context, self._read_timeout).serve(conn, upstream, head, request)
        else:
            self._context.relay(conn, upstream, request, idle=idle)

    def _listen(self, conn: Conn, upstream: Conn) -> str:
        """The client's protocol, unless the other side speaks first or time is over."""
        if upstream.buffered:
            return ""
        if not conn.buffered:  # both sides must have what they wait for, or neither will speak
            conn.flush()
            upstream.flush()
        watch = _Watch(upstream)
        try:
            watch.start()
            if watch.spoke:
                return ""
            with timeout(self._wait):
                return detect(conn)
        except (_SpokeFirst, TimeoutError):
            return ""
        finally:
            watch.stop()

    # -- port forwarding ---------------------------------------------------------------------------

    def route(
        self, conn: Conn, dial: Dial | None = None, *, wait: float | None = None
    ) -> str | None:
        """Serve a client whose first bytes tell what it wants.

        Args:
            dial: reaches ``request.address``; the context's router by default.
            wait: seconds for the first bytes, 0 for ever; ``sniffing.timeout`` by default.
        Returns: None when the client was served or refused; otherwise its protocol (``ssh`` or
            empty): the caller goes on, nothing was consumed.
        """
        protocol = self._detect(conn, self._wait if wait is None else wait)
        if protocol == "http" and not conn.peek(3).startswith(b"PRI"):
            self._route_http(conn, dial or self._context.dial)
            return None
        if protocol == "tls":
            self._route_tls(conn, dial or self._context.dial)
            return None
        return "tls" if protocol == "http" else protocol

    def _detect(self, conn: Conn, wait: float) -> str:
        try:
            with timeout(wait):
                return detect(conn)
        except TimeoutError:
            return ""

    def _refuse(self, conn: Conn, head: RequestHead, status: int) -> None:
        if not self._quiet:
            refuse(conn, head, status)

    def _route_http(self, conn: Conn, dial: Dial) -> None:
        """Raises GostError, OSError: refused or failed; the client was told."""
        with timeout(self._read_timeout, "no HTTP request in time"):
            head = read_request(conn)
        while head is not None:
            head = self._route_from(conn, head, dial)

    def _route_from(self, conn: Conn, head: RequestHead, dial: Dial) -> RequestHead | None:
        """Serve this request and those behind it that go the same way; returns the first other."""
        request = self._http_request(conn, head)
        try:
            self._check_bypass(request, head)
        except Denied:
            self._refuse(conn, head, 403)
            raise
        try:
            node = self._choose(request, request.host, 80)
        except GostError:
            self._refuse(conn, head, 502)
            raise
        try:
            upstream = self._reach(node, request, dial)
        except (GostError, OSError):
            self._refuse(conn, head, 503)
            raise
        return Exchanges(
            self._context,
            self._read_timeout,
            rules=rules_of(node),
            answers=not self._quiet,
            stays=lambda later: self._stays(conn, later, node, request.host),
            say_close=not (self._keepalive or self._quiet),
        ).serve(conn, upstream, head, request)

    def _check_bypass(self, request: Request, head: RequestHead) -> None:
        """Rules see the path with its query, as in gost. Raises Denied."""
        request.path, path = head.target, request.path
        self._context.check_bypass(request)
        request.path = path

    def _stays(self, conn: Conn, head: RequestHead, node: Any, host: str) -> bool:
        """Whether a later request may go where the first went; in gost all do."""
        if self._context.strict:
            return True
        request = self._http_request(conn, head)
        matches = node.matches if node is not None else None
        if self._context.bypassed is not None:
            try:
                self._check_bypass(request, head)
            except Denied:
                return False
        if node is None or not node.address:
            return request.host == host
        return matches is None or bool(matches(request))

    def _http_request(self, conn: Conn, head: RequestHead) -> Request:
        host = with_port(head.authority, 80) if head.authority else ""
        request = self._context.request(
            conn,
            "tcp",
            host,
            protocol="http",
            host=host,
            method=head.method,
            path=decoded_path(head.path.partition("?")[0]),
            headers=head.mapping(),
            query=head.path.partition("?")[2],
        )
        client = head.client_ip
        if client:
            request.source = f"[{client}]:0" if ":" in client else f"{client}:0"
        return request

    def _route_tls(self, conn: Conn, dial: Dial) -> None:
        """Raises GostError, OSError: refused or failed."""
        with timeout(self._read_timeout, "no TLS hello in time"):
            hello, raw = read_client_hello(conn)
        conn.unread(raw)
        host = with_port(hello.server_name, 443) if hello.server_name else ""
        request = self._context.request(conn, "tcp", host, protocol="tls", host=host)
        if host:
            self._context.check_bypass(request)
        node = self._choose(request, host, 443)
        self._context.relay(conn, self._reach(node, request, dial), request)

    def _choose(self, request: Request, host: str, port: int) -> Any:
        """The node for a request, whose address and network are set to it; None without a hop.

        Raises DialFailed: there is none, or nothing says where to go.
        """
        hop = self._context.hop
        node = hop.select(request) if hop is not None else None
        if node is None and hop is not None:
            raise DialFailed(f"no node for {host or 'a client that names no host'}")
        address = node.address if node is not None else ""
        if node is not None and node.network == "unix":
            request.network = "unix"
        elif address:
            address = with_port(address, port)
        request.address = address or host
        if not request.address and self._transparent:
            request.address = request.destination
        if not request.address:
            raise DialFailed("the client names no host")
        return node

    def _reach(self, node: Any, request: Request, dial: Dial) -> Conn:
        """A conn to the node; failures and successes count for its selection."""
        upstream: Conn = dial_node(dial, request, node)
        if node is not None and node.tls is not None:
            try:
                with timeout(self._read_timeout, "TLS handshake timed out"):
                    connect_tls(upstream, self._tls_context(node.tls), node.tls.server_name)
            except BaseException:
                upstream.close(True)
                raise
        return upstream

    def _tls_context(self, settings: Any) -> ClientContext:
        known = self._tls.get(id(settings))
        if known is None or known[0] is not settings:
            if len(self._tls) >= 1024:
                self._tls.clear()
            context = ClientContext(settings, alpn=settings.alpn)
            known = self._tls[id(settings)] = (settings, context)
        return known[1]


class _SpokeFirst(Exception):
    """The upstream has sent something, or ended, before the client's protocol was known."""


class _Watch:
    """Sink of an upstream conn while its client is waited for in the running green thread."""

    def __init__(self, upstream: Conn) -> None:
        self._upstream = upstream
        self._waiter: Any = getcurrent()
        self.spoke = False

    def start(self) -> None:
        self._upstream.sink = self
        self._upstream.endpoint.start()

    def stop(self) -> None:
        if self._upstream.sink is self:
            self._upstream.sink = None
            self._upstream.endpoint.pause()

    def data(self, data: Buffer) -> None:
        self._upstream.unread(self._upstream.take_buffer() + bytes(data))
        self._report()

    def eof(self) -> None:
        self._report()

    def fail(self, error: BaseException) -> None:
        self._report()

    def _report(self) -> None:
        self.spoke = True
        self.stop()
        if getcurrent() is not self._waiter:
            self._waiter.throw(_SpokeFirst())
