"""Relay datagrams between a client and the way out, until one side ends.

Used by every handler that carries UDP: SOCKS5, relay, HTTP, forward, Shadowsocks. It runs by
callbacks on the hub (``gostpy.net.packetpipe``); what handlers add to that is here: rules and names
of the targets that a client puts on its datagrams, its limits, and the log.

Differs   in gost a malformed datagram or a name that cannot be resolved ends the direction (or the
          association); here it costs that datagram. gost 3.2.6 resolves all names here; now a
          node further on does, unless rules have to see the address too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import spawn_raw

from gostpy.errors import GostError
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.conn import format_address
from gostpy.net.dial import is_ip
from gostpy.net.dial import resolve as resolve_name
from gostpy.net.metered import PacketMeter, rounded
from gostpy.net.packet import PacketConn, UDPSocket
from gostpy.net.packetpipe import PacketPipe, pipe_packets
from gostpy.net.threaded import hubbed
from gostpy.net.wrapped import WrappedPackets
from gostpy.processing.context import HandlerContext
from gostpy.wire.address import split_target

__all__ = ["hubbed", "relay_packets"]

_MOST_NAMES = 1024
_MOST_UNDECIDED = 16
_MOST_TOLD = 64
_MOST_WAITING = 128
_VERDICT_AGE = 1.0
_GOST_SIZE = 4096


def relay_packets(
    context: HandlerContext,
    client: PacketConn,
    upstream: PacketConn,
    request: Request,
    *,
    idle: float = 0.0,
    size: int = 0,
    resolve: bool = False,
) -> None:
    """Relay from now on, and log once when it is over. Returns at once; both are closed then.

    Args:
        client: yields (datagram, target) and takes (datagram, sender).
        request: whose address is empty when each datagram names its own target.
        idle: seconds without a datagram either way that end it, 0 = never.
        size: bytes of a datagram that are kept, 0 = all (4096 in strict mode, as in gost).
        resolve: resolve names of targets here, even if a node further on could.
    """
    started = timers.now()
    if context.strict and size <= 0:
        size = _GOST_SIZE
    outer = _Client(context, hubbed(client), upstream, request, size, resolve)

    def over(done: PacketPipe) -> None:
        context.finished(request, started, done.forwarded, done.returned, done.error)

    pipe_packets(outer, hubbed(upstream), over, idle=idle)


class _Client(WrappedPackets):
    """The client's side with rules, names and limits applied."""

    def __init__(
        self,
        context: HandlerContext,
        client: PacketConn,
        upstream: PacketConn,
        request: Request,
        size: int,
        resolve: bool,
    ) -> None:
        super().__init__(client, client.info)
        self._size = size
        limit = context.limit
        self._limit: PacketMeter | None = (
            limit(request.client_id, request.source) if limit is not None else None
        )
        direct = isinstance(upstream, UDPSocket)
        checks = context.bypassed is not None or resolve or direct
        self._targets = (
            _Targets(context, request.source) if checks and not request.address else None
        )

    def opened(self, data: bytes, address: str) -> tuple[bytes, str] | None:
        """From the client to ``address``."""
        if self._size:
            data = data[: self._size]
        if self._limit is not None and not self._admitted(self._limit, data):
            return None
        if self._targets is not None:
            address = self._targets.find(address, lambda found: self._forward(data, found))
            if not address:
                return None
        return data, address

    def _forward(self, data: bytes, address: str) -> None:
        if self.sink is not None:
            self.sink.datagram(data, address)

    def _admitted(self, limit: PacketMeter, data: bytes) -> bool:
        if not limit.admits(len(data), False):
            return False
        delay = limit.received(len(data))
        if delay > 0.0:
            self.inner.pause()
            timers.after(rounded(delay), lambda: None if self.closed else self.inner.resume())
        return True

    def send_now(self, data: bytes, address: str = "") -> float:
        """To the client, from ``address``."""
        if self._size:
            data = data[: self._size]
        targets = self._targets
        if targets is not None and not targets.find(address, lambda _: self._back(data, address)):
            return 0.0
        return self._back(data, address)

    def _back(self, data: bytes, address: str) -> float:
        limit = self._limit
        if limit is None:
            return self.inner.send_now(data, address)
        if self.closed or not limit.admits(len(data), True):
            return 0.0
        return max(self.inner.send_now(data, address), limit.sent(len(data)))


class _Targets:
    """Rules and names of the addresses on a client's datagrams.

    Rules may ask a plugin and names a server, so a green thread decides about each new address
    while its first datagrams wait. A decision holds for a second, a name as long as the relay.
    """

    __slots__ = ("_context", "_names", "_source", "_stale", "_told", "_verdicts", "_waiting")

    def __init__(self, context: HandlerContext, source: str) -> None:
        self._context = context
        self._source = source
        self._names: dict[str, str] = {}
        self._verdicts: dict[str, str] = {}
        self._waiting: dict[str, list[Callable[[str], Any]]] = {}
        self._stale = 0.0
        self._told: set[str] = set()

    def find(self, address: str, later: Callable[[str], Any]) -> str:
        """The address with an IP; "" when it is forbidden, unknown, or decided ``later``."""
        verdicts = self._verdicts
        now = timers.now()
        if now >= self._stale or len(verdicts) > _MOST_NAMES:
            verdicts.clear()
            self._stale = now + _VERDICT_AGE
        known = verdicts.get(address)
        if known is not None:
            return known
        if self._context.bypassed is None and is_ip(split_target(address)[0]):
            verdicts[address] = address
            return address
        waiting = self._waiting.get(address)
        if waiting is None:
            if len(self._waiting) >= _MOST_UNDECIDED:
                return ""
            waiting = self._waiting[address] = []
            spawn_raw(self._decide, address)
        if len(waiting) < _MOST_WAITING:
            waiting.append(later)
        return ""

    def _decide(self, address: str) -> None:
        found = ""
        try:
            found = self._judged(address)
        except (GostError, OSError) as error:
            self._tell(address, str(error))
        except Exception as error:  # a rule's plugin went wrong: its datagrams do not pass
            self._tell(address, repr(error))
        self._verdicts[address] = found
        for later in self._waiting.pop(address):
            if not found:
                break
            try:
                later(found)
            except (GostError, OSError):
                break  # the relay is over

    def _judged(self, address: str) -> str:
        """Raises DialFailed: there is no such name."""
        if self._forbidden(address):
            return ""
        host, port = split_target(address)
        if is_ip(host):
            return address
        found = self._names.get(address)
        if found is None:
            found = format_address(resolve_name(host, port)[0][1])
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[address] = found
        return "" if self._forbidden(found) else found

    def _forbidden(self, address: str) -> bool:
        """Whether the rules of the service keep datagrams to or from ``address`` back."""
        if self._context.bypassed is None:
            return False
        rule = self._context.bypassed("udp", address, self._source, "", "")
        if rule:
            self._tell(address, f"bypassed by {rule}")
        return bool(rule)

    def _tell(self, address: str, reason: str) -> None:
        """Say once per address why its datagrams are dropped."""
        if address not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(address)
            self._context.log.warn(f"datagrams dropped: {address}: {reason}", dst=address)
