"""The nouns of the engine: what parts expect of each other.

A *service* is a listener (data channel) and a handler (data processing). A *router* answers a
handler's request by way of a chain of hops; a hop picks a *node*; a node is a dialer (data channel)
and a connector (data processing). Folders of the engine do not import each other: they meet here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gostpy.net.sockopt import DEFAULT, SocketOptions

if TYPE_CHECKING:
    import _socket

    from gostpy.net.conn import Conn, ConnInfo
    from gostpy.net.packet import PacketConn

__all__ = [
    "AnyConn",
    "Authenticate",
    "Binding",
    "Connector",
    "Context",
    "Credentials",
    "Deliver",
    "Dialer",
    "Exchange",
    "ExchangeRequest",
    "Guards",
    "Handler",
    "Hop",
    "Layer",
    "Listener",
    "Log",
    "Mux",
    "Node",
    "Open",
    "Request",
    "Router",
    "Session",
    "TLSSettings",
]

AnyConn: TypeAlias = "Conn | PacketConn"
"""A byte stream, or datagrams (``network`` begins with ``udp``)."""

Deliver: TypeAlias = "Callable[[Any], None]"
"""Takes over a conn in a green thread of its own."""

Open: TypeAlias = "Callable[[str, str], Any]"
"""Opens a connection to (network, address), directly or through the nodes before."""

Authenticate: TypeAlias = "Callable[[str, str, str], str | None]"
"""(user, password, client address) -> client id, or None when refused."""


class Log(Protocol):
    """A logger with bound fields."""

    debug_on: bool

    def bind(self, **fields: Any) -> Log: ...
    def trace(self, message: str, **fields: Any) -> None: ...
    def debug(self, message: str, **fields: Any) -> None: ...
    def info(self, message: str, **fields: Any) -> None: ...
    def warn(self, message: str, **fields: Any) -> None: ...
    def error(self, message: str, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of a client side, or a cipher and its password."""

    username: str = ""
    password: str = ""

    def __repr__(self) -> str:  # passwords stay out of logs and tracebacks
        return f"Credentials({self.username!r}, ...)"

    def __bool__(self) -> bool:
        return bool(self.username or self.password)


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """A ``tls`` block of a listener, handler, dialer, connector or node; see docs/config.md."""

    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    secure: bool = False
    server_name: str = ""
    min_version: str = ""
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    reject_unknown_names: bool = False
    server_names: tuple[str, ...] = ()
    validity: float = 0.0
    common_name: str = ""
    organization: str = ""


@dataclass(slots=True)
class Request:
    """What a handler asks of a router, with the facts that rules may look at.

    Attributes:
        network: ``tcp``, ``udp``, ``unix``, ``serial`` or ``ip``.
        address: ``host:port``; empty with udp means an unconnected packet conn.
        source: the client's ``ip:port``.
        destination: the local address that the client reached.
        client_id: who authenticated.
        hash_source: what the ``hash`` selector looks at.
        protocol, host, method, path, headers, query: of a sniffed or proxied request.
        route: names of the nodes passed, filled in by the router.
    """

    network: str
    address: str
    source: str = ""
    destination: str = ""
    client_id: str = ""
    hash_source: str = ""
    protocol: str = ""
    host: str = ""
    method: str = ""
    path: str = ""
    headers: Mapping[str, list[str]] = field(default_factory=dict)
    query: str = ""
    route: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Context:
    """What a part (carrier, layer, mux, connector) gets to know besides its options.

    Attributes:
        address: the service's listen address or the node's ``host:port``.
        listening: this is the listener's side.
        tls: TLS settings of this part.
        auth: credentials of a client side.
        authenticate: checks a client of this side; None lets everybody in.
        router: for carriers that listen or dial through a chain (rtcp, rudp).
        sockets: interface, mark, namespace, MPTCP.
        node: name of the node, for messages.
        service: name of the service, for messages.
        strict: gost's own behaviour where a working config could depend on it.
        find: (kind, name) -> a named object such as a ``router``, or None; asked at each use.
    """

    address: str
    log: Log
    listening: bool = False
    tls: TLSSettings | None = None
    auth: Credentials = field(default_factory=Credentials)
    authenticate: Authenticate | None = None
    router: Router | None = None
    sockets: SocketOptions = DEFAULT
    node: str = ""
    service: str = ""
    guards: Guards | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    find: Callable[[str, str], Any] | None = None
    strict: bool = False


class Router(Protocol):
    """The way out of a service."""

    def dial(self, request: Request) -> Any:
        """A Conn, or a PacketConn for udp. Raises RouteError, Rejected."""
        ...

    def bind(self, request: Request, **options: Any) -> Binding:
        """Listen at the end of the chain, or here without one. Raises RouteError, Unsupported."""
        ...


class Binding(Protocol):
    """A listening point, local or remote: where conns come from."""

    address: Any

    def accept(self) -> Any:
        """Wait for the next conn. Raises ConnectionClosed when the binding is gone."""
        ...

    def close(self) -> None: ...


class Guards(Protocol):
    """The guard points of a service; see docs/architecture.md.

    Attributes:
        has_opening: ``opened`` has something to do, so it needs a deadline.
    """

    has_opening: bool

    def carrier(self, sock: _socket.socket, peer: Any, counted: bool = True) -> Conn | None:
        """A socket was accepted: a conn, or None when it was refused (and closed). On the hub.

        Args:
            counted: it takes part in connection limits.
        """
        ...

    def session(self, conn: Any) -> bool:
        """A conn was born without a socket of its own (a UDP session, a stream of a remote
        binding): False when it is refused; the caller closes it. On the hub. A device has no peer:
        its handler asks ``admits`` about those that it talks to."""
        ...

    def stream(self, conn: Any) -> bool:
        """A stream of a mux whose carriers are not counted: False when it is refused; the caller
        closes it. On the hub."""
        ...

    def admits(self, address: str) -> bool:
        """Whether admission lets the peer ``ip:port`` in. On the hub."""
        ...

    def opened(self, conn: Conn) -> None:
        """First thing in the conn's green thread: PROXY protocol. Raises Rejected."""
        ...

    def logical(self, conn: Any) -> None:
        """The conn is about to reach the handler. Raises Rejected."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """The head of a request that came as an exchange.

    Attributes:
        authority: ``host:port`` or host; all that a CONNECT has.
        protocol: what an extended CONNECT asks for (``connect-udp``, ``websocket``), else empty.
        headers: names in lower case, in order, without those that the other fields hold.
    """

    method: str
    path: str = ""
    authority: str = ""
    scheme: str = ""
    protocol: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Exchange(Protocol):
    """A request that its handler answers after it has dialed: HTTP/2, HTTP/3, DNS over HTTPS ...

    A channel delivers it in place of a conn. Guards, limits and the service treat it like one.

    Attributes:
        info: facts, as of a conn.
        meter: as of a conn; goes over to what ``respond`` returns.
        sink: that of the conn that ``respond`` returned; None while nothing relays it.
    """

    info: ConnInfo
    meter: Any

    @property
    def sink(self) -> Any: ...

    @property
    def request(self) -> ExchangeRequest: ...

    def respond(
        self, status: int, headers: Sequence[tuple[str, str]] = (), *, end: bool = False
    ) -> Conn:
        """Send the head of the answer, once; the conn reads the request's body and writes that of
        the answer.

        Args:
            end: there is no body; the returned conn is at its end.
        """
        ...

    def close(self, now: bool = False) -> None:
        """End it; without an answer the peer is told that it was refused."""
        ...


class Listener(Protocol):
    """Binds and delivers logical conns."""

    @property
    def address(self) -> Any: ...

    def listen(self) -> None:
        """Bind. Raises OSError."""
        ...

    def start(self, deliver: Deliver) -> None:
        """Accept from now on; each conn is delivered in a green thread of its own."""
        ...

    def adopt(self, made: Any) -> None:
        """A reload keeps this listener: take over what is not part of the bound socket from
        ``made``, which has equal options and was never bound."""
        ...

    def close(self) -> None: ...


class Handler(Protocol):
    """Data processing of one service."""

    def handle(self, conn: Any) -> None:
        """Serve one conn, in its green thread. The caller closes it, unless a pipe took it over."""
        ...


class Layer(Protocol):
    """A handshake on one conn that leaves a codec on it.

    One that makes something else of it (dtls: a stream of datagrams) returns the new conn, which
    owns the one beneath; None: it is still the same conn.
    """

    def accept(self, conn: Any) -> Any: ...
    def connect(self, conn: Any) -> Any: ...


class Session(Protocol):
    """One mux connection.

    Attributes:
        alive: streams can be opened on it.
        error: why it is not alive any more.
        on_close: called with the session, on the hub, once it is not alive any more.
    """

    alive: bool
    error: BaseException | None
    on_close: Callable[[Any], None] | None

    @property
    def busy(self) -> bool:
        """The next stream had better go to another session."""
        ...

    @property
    def stream_count(self) -> int: ...

    def open(self) -> Conn:
        """A new stream. Raises OSError when the session is gone or full."""
        ...

    def close(self) -> None: ...


class Mux(Protocol):
    """Many streams on one conn.

    A mux whose session needs several conns, or new ones later (pht), has ``gather(establish)`` in
    place of ``connect``: ``establish`` makes one conn after its handshakes, in a green thread. With
    ``counts_streams = True`` connection limits count its streams in place of the carriers.
    """

    def serve(self, conn: Any, deliver: Deliver) -> Any:
        """Listener side: deliver each stream that the peer opens."""
        ...

    def connect(self, conn: Any) -> Session:
        """Dialer side."""
        ...


class Dialer(Protocol):
    """The data channel of a node, on the dialing side."""

    network: str
    multiplex: bool

    def retire(self) -> None:
        """The node was replaced: mux sessions end with the conns that use them."""
        ...

    def dial(self, open: Open, beneath: tuple[Any, ...]) -> Any:
        """A conn to the node.

        Args:
            open: makes a carrier connection; called when one is needed.
            beneath: the nodes before this one; a mux session belongs to the node and these.
        """
        ...

    def close(self) -> None: ...


class Connector(Protocol):
    """Data processing of a node: asks it for a target."""

    def handshake(self, conn: Any) -> Any:
        """Once per conn, before connect or bind. Returns the conn to use."""
        ...

    def connect(self, conn: Any, request: Request) -> Any:
        """Ask for ``request.network`` and ``request.address``; returns what carries its bytes."""
        ...

    def bind(self, conn: Any, request: Request, **options: Any) -> Binding: ...


class Node(Protocol):
    """A proxy node of a hop, or a target of a forwarder."""

    name: str
    address: str
    network: str


class Hop(Protocol):
    """A set of nodes from which one is chosen per request."""

    name: str

    def select(self, request: Request) -> Any:
        """A node, or None when none may be used for this request."""
        ...
