"""The guard points of a service, in one place; no transport mentions them.

carrier   a TCP conn was accepted: admission on the peer, connection limit, byte metering and the
          service-scope traffic rate; then, in the conn's green thread, PROXY protocol
session   the same for a session that is born of datagrams
logical   after layers and mux: admission again when PROXY or X-Forwarded-For told another source,
          connection-scope traffic rate, counts
"""

from __future__ import annotations

import _socket
from collections.abc import Callable, Sequence
from typing import Any

from gostpy.errors import Denied, LimitExceeded, ProtocolError
from gostpy.guard.meter import Meter
from gostpy.net.conn import Conn, ConnInfo, format_address
from gostpy.net.endpoint import SocketEndpoint
from gostpy.net.metered import MeteredSocketEndpoint, join
from gostpy.net.timers import timeout
from gostpy.wire import proxyprotocol

__all__ = ["GuardPoints"]

PROXY_TIMEOUT = 10.0

Release = Callable[[], None]


class GuardPoints:
    """Guards of one service; each part may be absent and then costs nothing.

    Args:
        admit: client address -> why it is refused, "" admits.
        acquire: client ip -> something to call when the conn ends, None when the limit is used up.
        carrier_meter: client ip -> meter of service scope, or None.
        conn_meter: client address -> meter of connection scope, or None.
        proxy_protocol: accept PROXY protocol headers.
        accepted: told the client ip of every conn (recorders).
    """

    def __init__(
        self,
        *,
        admit: Callable[[str], str] | None = None,
        acquire: Sequence[Callable[[str], Release | None]] = (),
        carrier_meter: Callable[[str], Meter | None] | None = None,
        conn_meter: Callable[[str], Meter | None] | None = None,
        proxy_protocol: bool = False,
        accepted: Callable[[str], None] | None = None,
    ) -> None:
        self._admit = admit
        self._acquire = tuple(acquire)
        self._carrier_meter = carrier_meter
        self._conn_meter = conn_meter
        self._proxy_protocol = proxy_protocol
        self._accepted = accepted
        self.has_opening = proxy_protocol
        self._has_logical = conn_meter is not None or accepted is not None or admit is not None
        self.refused = 0

    def carrier(self, sock: _socket.socket, peer: Any, counted: bool = True) -> Conn | None:
        info = ConnInfo(peer=_plain(peer), local=_plain(sock.getsockname()))
        release: Release | None = None
        meter: Meter | None = None
        try:
            if self._carrier_meter is not None:
                meter = self._carrier_meter(_ip(info.peer))
            if self._admit is not None or self._acquire:
                release = self._enter(info, counted)
        except (Denied, LimitExceeded):
            self.refused += 1
            sock.close()
            return None
        endpoint = SocketEndpoint(sock) if meter is None else MeteredSocketEndpoint(sock, meter)
        conn = Conn(endpoint, info)
        if release is not None:
            freed = release
            conn.on_close = lambda _: freed()
        return conn

    def _enter(self, info: ConnInfo, counted: bool = True) -> Release | None:
        """Admission and connection limits. Raises Denied, LimitExceeded."""
        address = info.peer_address
        if self._admit is not None and (reason := self._admit(address)):
            raise Denied(f"{address}: {reason}")
        if not counted:
            return None
        taken: list[Release] = []
        ip = _ip(info.peer)
        for acquire in self._acquire:
            release = acquire(ip)
            if release is None:
                for done in taken:
                    done()
                raise LimitExceeded(f"connections of {ip}")
            taken.append(release)
        if not taken:
            return None
        if len(taken) == 1:
            return taken[0]

        def release_all() -> None:
            for done in taken:
                done()

        return release_all

    def session(self, conn: Any) -> bool:
        """A session was born of datagrams: whether it may live. On the hub."""
        try:
            if self._carrier_meter is not None:
                conn.meter = self._carrier_meter(_ip(conn.info.peer))
        except (Denied, LimitExceeded):
            self.refused += 1
            return False
        return getattr(conn, "network", "") == "ip" or self.stream(conn)

    def stream(self, conn: Any) -> bool:
        try:
            release = self._enter(conn.info)
        except (Denied, LimitExceeded):
            self.refused += 1
            return False
        if release is not None:
            freed = release
            conn.on_close = lambda _: freed()
        return True

    def admits(self, address: str) -> bool:
        if self._admit is None or not self._admit(address):
            return True
        self.refused += 1
        return False

    def opened(self, conn: Conn) -> None:
        if not self._proxy_protocol:
            return
        try:
            with timeout(PROXY_TIMEOUT):
                first = _begin(conn)
        except TimeoutError:  # a client that waits for the server to speak: no header, as in gost
            return
        if not first:
            return
        try:
            with timeout(PROXY_TIMEOUT):
                header = proxyprotocol.read(conn, first)
        except TimeoutError:
            raise ProtocolError("the PROXY header did not end in time") from None
        if header.source is not None:
            conn.info.source = header.source
            conn.info.destination = header.destination

    def logical(self, conn: Any) -> None:
        if not self._has_logical:
            return
        info = conn.info
        if self._accepted is not None:
            self._accepted(_ip(info.source or info.peer))
        if self._admit is not None and info.source is not None and info.source != info.peer:
            reason = self._admit(format_address(info.source))
            if reason:
                raise Denied(f"{format_address(info.source)}: {reason}")
        if self._conn_meter is not None:
            conn.meter = join(conn.meter, self._conn_meter(info.client_address))


def _begin(conn: Conn) -> bytes:
    """The first bytes if they begin a PROXY header, else nothing. They stay in the conn."""
    size = 1
    while True:
        first = conn.peek(size)
        if len(first) < size or not proxyprotocol.starts(first):
            return b""
        if first.startswith(b"PROXY ") or len(first) >= len(proxyprotocol.SIGNATURE):
            return first
        size = len(first) + 1


def _plain(address: Any) -> Any:
    """A socket address without flow labels; IPv4 in IPv6 as IPv4, as gost shows it."""
    if isinstance(address, tuple):
        host = address[0]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return host, address[1]
    return address


def _ip(address: Any) -> str:
    return str(address[0]) if isinstance(address, tuple) else ""
