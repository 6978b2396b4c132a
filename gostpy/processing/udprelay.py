"""Relay datagrams between a client and the way out, until one side ends.

Used by every handler that carries UDP: SOCKS5, relay, HTTP, forward, Shadowsocks. One green thread
per direction. Rules are looked at for each datagram when the client may name any target.

Differs   in gost a malformed datagram or a name that cannot be resolved ends the direction (or the
          association); here it costs that datagram.
"""

from __future__ import annotations

from typing import Any

from gevent import sleep, spawn_raw
from gevent.event import Event

from gostpy.errors import ConnectionClosed, GostError
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.packet import PacketConn
from gostpy.processing.context import HandlerContext

__all__ = ["relay_packets"]


def relay_packets(
    context: HandlerContext,
    client: PacketConn,
    upstream: PacketConn,
    request: Request,
    *,
    idle: float = 0.0,
    size: int = 0,
) -> None:
    """Relay until either side ends; then both are closed and one line is logged.

    Args:
        client: yields (datagram, target) and takes (datagram, sender).
        request: whose address is empty when each datagram names its own target.
        idle: seconds without a datagram either way that end it, 0 = never.
        size: bytes of a datagram that are kept, 0 = all.
    """
    relay = _Relay(context, client, upstream, request, size)
    started = timers.now()
    try:
        relay.run(idle)
    finally:
        client.close()
        upstream.close()
    fields: dict[str, Any] = {
        "remote": request.source,
        "dst": request.address,
        "duration": round(timers.now() - started, 6),
        "inputBytes": relay.received,
        "outputBytes": relay.returned,
    }
    if request.client_id:
        fields["client"] = request.client_id
    if request.route:
        fields["route"] = " > ".join(request.route)
    if relay.error is not None:
        fields["error"] = str(relay.error) or type(relay.error).__name__
    context.log.info(f"{request.source} >-< {request.address or 'udp'}", **fields)


class _Relay:
    """One running relay."""

    def __init__(
        self,
        context: HandlerContext,
        client: PacketConn,
        upstream: PacketConn,
        request: Request,
        size: int,
    ) -> None:
        self.context = context
        self.client = client
        self.upstream = upstream
        self.request = request
        self.received = 0
        self.returned = 0
        self.error: BaseException | None = None
        self._size = size or None
        self._last = timers.now()
        self._over = Event()
        self._told: set[str] = set()
        limit = context.limit
        self._meter = limit(request.client_id, request.source) if limit is not None else None

    def run(self, idle: float) -> None:
        """Blocks until it is over."""
        spawn_raw(self._loop, self._forward)
        spawn_raw(self._loop, self._backward)
        while not self._over.wait(idle or None):
            if timers.now() - self._last >= idle:
                self.error = TimeoutError(f"idle for {idle:g} s")
                return

    def _loop(self, step: Any) -> None:
        try:
            while not self._over.is_set():
                step()
        except ConnectionClosed as error:
            if error.__cause__ is not None:
                self._end(error)
        except Exception as error:
            self._end(error)
        finally:
            self._over.set()

    def _end(self, error: BaseException) -> None:
        if self.error is None and not self._over.is_set():
            self.error = error

    def _forward(self) -> None:
        """One datagram from the client to its target."""
        data, target = self.client.recv_from()
        data = data[: self._size]
        self.received += len(data)
        if self._passes(target):
            self._meter_and_send(self.upstream, data, target, True)

    def _backward(self) -> None:
        """One datagram from somewhere to the client."""
        data, sender = self.upstream.recv_from()
        data = data[: self._size]
        if self._passes(sender):
            self.returned += len(data)
            self._meter_and_send(self.client, data, sender, False)

    def _passes(self, address: str) -> bool:
        """Whether the rules of the service let a datagram to or from ``address`` through."""
        request = self.request
        if self.context.bypassed is None or request.address:
            return True
        rule = self.context.bypassed("udp", address, request.source, "", "")
        if rule:
            self._tell(address, f"bypassed by {rule}")
        return not rule

    def _meter_and_send(self, conn: PacketConn, data: bytes, address: str, inwards: bool) -> None:
        self._last = timers.now()
        if self._meter is not None:
            count = self._meter.received if inwards else self._meter.sent
            delay = count(len(data))
            if delay > 0.0:
                sleep(delay)
        try:
            conn.send_to(data, address)
        except ConnectionClosed:
            raise
        except (GostError, OSError) as error:
            # this datagram cannot leave: a name without address, a target out of reach, too large
            self._tell(address, str(error))

    def _tell(self, address: str, reason: str) -> None:
        """Say once per address why its datagrams are dropped."""
        if address not in self._told and len(self._told) < 64:
            self._told.add(address)
            self.context.log.warn(f"datagrams dropped: {address}: {reason}", dst=address)
