"""The handler of tungo: what becomes of the conns that its stack takes from a device."""

from __future__ import annotations

import _socket
import traceback
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from gostpy.addresses import ip_bytes
from gostpy.errors import ConfigError, Denied, GostError, LimitExceeded, ProtocolError, Rejected
from gostpy.interfaces import Request
from gostpy.net import timers
from gostpy.net.conn import Conn, format_address
from gostpy.net.device import DeviceConn
from gostpy.net.metered import join
from gostpy.net.packet import StreamPackets
from gostpy.net.packetpipe import PacketPipe, pipe_packets
from gostpy.net.tasks import start_task
from gostpy.processing.context import HandlerContext
from gostpy.processing.tungo.options import HandlerOptions
from gostpy.processing.tungo.stack import Stack
from gostpy.processing.tungo.udp import UDPFlow
from gostpy.processing.udprelay import hubbed

__all__ = ["Handler"]

MOST_DIALING = 256
"""Dials to one target that have not come to an end: a node that is routed to the device it serves
would make more and more of them."""


class Handler:
    """Serves a device until it is gone.

    Raises ConfigError: an address of ``multicastGroups`` is none.
    """

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        self._groups = _groups(options.multicast_groups)
        self._own: set[tuple[str, int]] = set()
        self._dialing: dict[str, int] = {}
        self._sniffer: Any = None
        if options.sniffing:
            from gostpy.processing.tungo.sniffing import make_sniffer

            self._sniffer = make_sniffer(options, context)

    def handle(self, conn: DeviceConn) -> None:
        """Raises ProtocolError: the conn is no TUN device. Ends with the device."""
        if not isinstance(conn, DeviceConn) or conn.settings.tap:
            raise ProtocolError("the tungo handler needs the tungo listener")
        over = Event()
        errors: list[BaseException] = []

        def ended(error: BaseException | None) -> None:
            if error is not None:
                errors.append(error)
            over.set()

        stack = Stack(
            conn,
            self._groups,
            lambda client: start_task(self._guarded, self._serve_tcp, client),
            lambda flow: start_task(self._guarded, self._serve_udp, flow),
            ended,
            self.context.log.warn,
        )
        try:
            stack.start(self._tune)
            over.wait()
        finally:
            stack.close()
        if errors:
            self.context.log.error(f"device {conn.name}: {errors[0]}")

    def _tune(self, sock: _socket.socket) -> None:
        """Options of the sockets to clients."""
        options = self.options
        if options.tcp_send_buffer_size > 0:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, options.tcp_send_buffer_size)
        if options.tcp_receive_buffer_size > 0 and not options.tcp_moderate_receive_buffer:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, options.tcp_receive_buffer_size)

    def _guarded(self, serve: Callable[[Any], None], conn: Any) -> None:
        """The green thread of one client's conn. Nothing that it does escapes."""
        log, remote = self.context.log, conn.info.peer_address
        try:
            serve(conn)
        except Rejected as error:
            log.info(f"refused: {error}", remote=remote)
        except (GostError, OSError) as error:
            log.error(str(error) or type(error).__name__, remote=remote)
        except Exception as error:
            trace = traceback.format_exc(limit=-6)
            log.error(f"internal error: {error!r}", remote=remote, trace=trace)
        if conn.sink is None:  # nothing took it over
            conn.close()

    def _dial(self, request: Request) -> Any:
        """A conn to the target; its own address is kept, to know it when it comes back."""
        address = request.address
        dialing = self._dialing.get(address, 0)
        if dialing >= MOST_DIALING:
            raise LimitExceeded(f"{dialing} dials to {address} wait; is it routed to the device?")
        self._dialing[address] = dialing + 1
        try:
            upstream = self.context.dial(request)
        finally:
            self._dialing[address] -= 1
            if not self._dialing[address]:
                del self._dialing[address]
        name = _local_name(upstream)
        if name is not None:
            self._own.add(name)
            before = upstream.on_close

            def closed(conn: Any) -> None:
                self._own.discard(name)
                if before is not None:
                    before(conn)

            upstream.on_close = closed
        return upstream

    def _check_loop(self, conn: Any) -> None:
        """Raises Denied: the client is this handler, whose target is routed to the device."""
        if conn.info.peer in self._own:
            target = format_address(conn.info.destination)
            raise Denied(f"{target} leads back to the device; interface or so_mark would help")

    # -- TCP -------------------------------------------------------------------------------------

    def _serve_tcp(self, conn: Conn) -> None:
        context = self.context
        self._check_loop(conn)
        context.check_rate(conn)
        network = "tcp6" if self.options.ipv6 and ":" in str(conn.info.peer[0]) else "tcp"
        request = context.request(conn, network, format_address(conn.info.destination))
        if self._sniffer is not None:
            protocol = self._sniffer.route(conn, self._dialer(request))
            if protocol is None:  # served
                return
            request.protocol = protocol
        context.check_bypass(request)
        context.relay(conn, self._dial(request), request)

    def _dialer(self, original: Request) -> Callable[[Request], Any]:
        """Reaches a sniffed host at the port that the client asked for."""

        def dial(request: Request) -> Any:
            request.network = original.network
            try:
                return self._dial(request)
            except Rejected:
                raise
            except (GostError, OSError):
                if not self.options.sniffing_fallback or request.address == original.address:
                    raise
                request.address = original.address
                return self._dial(request)

        return dial

    # -- UDP -------------------------------------------------------------------------------------

    def _serve_udp(self, flow: UDPFlow) -> None:
        context = self.context
        self._check_loop(flow)
        context.check_rate(flow)
        request = context.request(flow, "udp", format_address(flow.info.destination))
        context.check_bypass(request)
        upstream = self._dial(request)
        right = hubbed(StreamPackets(upstream) if isinstance(upstream, Conn) else upstream)
        if context.limit is not None:
            flow.meter = join(flow.meter, context.limit(request.client_id, request.source))
        started = timers.now()

        def over(done: PacketPipe) -> None:
            error = None if isinstance(done.error, TimeoutError) else done.error
            context.finished(request, started, done.forwarded, done.returned, error)

        pipe_packets(flow, right, over, idle=self.options.udp_timeout)


def _local_name(conn: Any) -> tuple[str, int] | None:
    """The address that a socket of ours sends from; None for what is no socket."""
    sock = getattr(conn, "sock", None) or getattr(getattr(conn, "endpoint", None), "sock", None)
    if sock is None or sock.family not in (_socket.AF_INET, _socket.AF_INET6):
        return None
    name: tuple[Any, ...] = sock.getsockname()
    return str(name[0]), int(name[1])


def _groups(text: str) -> frozenset[bytes]:
    """Packed multicast addresses. Raises ConfigError."""
    found = set()
    for word in (part.strip() for part in text.split(",")):
        if not word:
            continue
        packed = ip_bytes(word)
        first = packed[0] if packed else 0
        if packed is None or not (first >> 4 == 14 if len(packed) == 4 else first == 0xFF):
            raise ConfigError(f"multicastGroups: {word!r} is no multicast address")
        found.add(packed)
    return frozenset(found)
