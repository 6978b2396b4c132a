"""Datagrams in TCP segments on raw sockets: firewalls see a TCP connection, losses stay losses.

The system makes a real connection (its handshake gives the numbers to go on with) and is then kept
from seeing any data: a socket filter on the connection drops segments with PSH before the system
acknowledges them. A raw socket beside it gets the same segments and sends ours.

Needs     CAP_NET_RAW.
Differs   gost lets the system answer, and hides the answers with TTL 1 and an iptables rule; here
          no rule is made and none is needed. An idle flow ends, here, after one to two periods.
"""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import errno
import struct
from collections.abc import Callable
from typing import Any

from gevent import get_hub

from gostpy.errors import ConnectionClosed, DialFailed, ProtocolError
from gostpy.net import timers
from gostpy.net.binding import Arrivals
from gostpy.net.conn import ConnInfo, format_address
from gostpy.net.dial import finish_connect, local_addresses, resolve, split_address
from gostpy.net.endpoint import READ
from gostpy.net.listen import listen_tcp
from gostpy.net.packet import PacketConn, PacketSink, UDPSocket
from gostpy.net.socketfilter import attach, refuse_flags, select_segments
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.net.timers import timeout
from gostpy.wire.rawtcp import ACK, FIN, PSH, RST, SYN, Flow, Segment

__all__ = ["FakeTCPListener", "FakeTCPSocket", "dial_fake_tcp", "listen_fake_tcp"]

_BUFFER = bytearray(65536)
_VIEW = memoryview(_BUFFER)
_IP_PKTINFO = 8
_IPV6_PKTINFO = 50
_QUEUE = 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST and keeps nothing


def dial_fake_tcp(
    address: str, options: SocketOptions = DEFAULT, *, timeout: float = 10.0
) -> FakeTCPSocket:
    """A packet conn with one peer. Raises DialFailed."""
    options = dataclasses.replace(options, mptcp=False).usual()
    last: OSError | None = None
    try:
        for family, target in resolve(*split_address(address)):
            for local in local_addresses(options, family):
                try:
                    return _connect(family, target, options, local, timeout)
                except OSError as error:
                    last = error
    except OSError as error:
        last = error
    raise DialFailed(f"dial ftcp {address}: {_reason(last)}", address=address) from last


def _connect(
    family: int, target: Any, options: SocketOptions, local: Any, wait: float
) -> FakeTCPSocket:
    """Raises OSError."""
    sock = open_socket(family, _socket.SOCK_STREAM, options)
    raw: _socket.socket | None = None
    try:
        raw = open_socket(family, _socket.SOCK_RAW, options, _socket.IPPROTO_TCP)
        if local is not None:
            local.apply(sock)
            local.apply(raw)
        if not sock.getsockname()[1]:
            sock.bind(("", 0))
        port = sock.getsockname()[1]
        attach(sock, refuse_flags(PSH))
        _select(raw, select_segments(family, port, PSH | SYN | FIN | RST, target[1]))
        raw.connect((target[0], 0, *target[2:]))
        finish_connect(sock, target, wait)
        return FakeTCPSocket(sock, raw, target)
    except BaseException:
        sock.close()
        if raw is not None:
            raw.close()
        raise


def _select(raw: _socket.socket, program: bytes) -> None:
    """Let a new raw socket see only some segments; what it got before is thrown away."""
    attach(raw, program)
    with contextlib.suppress(BlockingIOError):
        while True:
            raw.recv_into(_BUFFER)


class FakeTCPSocket(UDPSocket):
    """The dialing side; it owns both sockets."""

    __slots__ = ("_flow", "_ipv4", "_system")

    def __init__(self, sock: _socket.socket, raw: _socket.socket, target: Any) -> None:
        local = sock.getsockname()
        self._flow = _flow(sock.family, local, target)
        self._ipv4 = sock.family == _socket.AF_INET
        super().__init__(raw, target[:2])
        self.info.local = local[:2]
        self._system = _System(sock, self._over)
        with contextlib.suppress(BlockingIOError):
            while not self._flow.known:  # the answer of the handshake came to the raw socket, too
                self._next()
        if not self._flow.known:
            self.close()
            raise OSError(errno.EPROTO, "the raw socket did not see the handshake")

    def _next(self) -> bytes | None:
        size = self.sock.recv_into(_BUFFER)
        start = (_BUFFER[0] & 15) * 4 if self._ipv4 else 0
        return self._flow.arrived(Segment.read(_VIEW[start:size]))

    def _receive(self) -> tuple[bytes, str]:
        try:
            data = self._next()
        except ProtocolError as error:
            raise ConnectionClosed(str(error)) from error
        if data is None:
            raise _nothing()
        return data, self._peer

    def _send(self, data: bytes, address: str) -> None:
        self.sock.send(self._flow.datagram(data))

    def _over(self) -> None:
        """The system's connection is gone."""
        sink, self.sink = self.sink, None
        self.close()
        if sink is not None:
            sink.ended(ConnectionClosed("the peer closed the flow"))

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.send(self._flow.datagram(b"", FIN | ACK))
        self._system.close()
        super()._close()


class _System:
    """The system's own connection beside a flow: watched for its end, closed without a trace."""

    __slots__ = ("_ended", "_io", "_sock")

    def __init__(self, sock: _socket.socket, ended: Callable[[], None]) -> None:
        self._sock = sock
        self._ended = ended
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._io.start(self._readable)

    def _readable(self) -> None:
        try:
            if self._sock.recv(65536):  # arrived before the filter was there
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset, which is an end as well
        self._ended()

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._io.stop()
        self._io.close()
        # the system and the peer may disagree about numbers: nothing must be sent again and again
        self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        self._sock.close()


def listen_fake_tcp(
    address: str, options: SocketOptions = DEFAULT, *, idle: float = 60.0
) -> FakeTCPListener:
    """An unconnected packet conn whose peers are those that connected to ``host:port``.

    Args:
        idle: seconds; a flow that is unused for a whole period of this length ends.

    Raises OSError.
    """
    return FakeTCPListener(address, dataclasses.replace(options, mptcp=False).usual(), idle)


class FakeTCPListener(PacketConn):
    """The listening side. Datagrams can be sent to peers from whom some have come.

    Attributes:
        lost: told the address of each peer whose flow has ended.
    """

    on_hub = True

    def __init__(self, address: str, options: SocketOptions, idle: float) -> None:
        self._peers: dict[str, _Peer] = {}
        self._idle = idle
        self._raw: dict[int, _Raw] = {}
        self._arrivals: Arrivals | None = None
        self.lost: Callable[[str], Any] | None = None
        self._acceptor = listen_tcp(address, self._accepted, options)
        sock = self._acceptor.sock
        super().__init__(ConnInfo(local=self._acceptor.address))
        try:
            attach(sock, refuse_flags(PSH))
            host, port = sock.getsockname()[:2]
            families = [int(sock.family)]
            if host == "::":
                families.append(_socket.AF_INET)
            for family in families:
                self._raw[family] = self._open(family, host, port, options)
        except OSError as error:
            self.close()
            raise OSError(error.errno, f"listen ftcp {address}: {_reason(error)}") from error
        self._acceptor.start()
        self._timer = timers.after(idle, self._sweep)

    def _open(self, family: int, host: str, port: int, options: SocketOptions) -> _Raw:
        raw = open_socket(family, _socket.SOCK_RAW, options, _socket.IPPROTO_TCP)
        try:
            _select(raw, select_segments(family, port, PSH | FIN | RST))
            if host not in ("::", "0.0.0.0"):
                raw.bind((host, 0))
            return _Raw(self, raw)
        except BaseException:
            raw.close()
            raise

    # -- flows ---------------------------------------------------------------------------------

    def _accepted(self, sock: _socket.socket, peer: Any) -> None:
        address = format_address(peer)
        known = self._peers.pop(address, None)
        if known is not None:
            known.system.close()
        self._peers[address] = _Peer(self, address, sock, peer)

    def find(self, address: str) -> _Peer | None:
        """The peer of a segment; its connection may still wait to be accepted."""
        peer = self._peers.get(address)
        if peer is None and not self.closed:
            self._acceptor.accept_now()
            peer = self._peers.get(address)
        return peer

    def end(self, address: str) -> None:
        """End a peer's flow."""
        peer = self._peers.pop(address, None)
        if peer is None:
            return
        with contextlib.suppress(OSError):
            if peer.flow.known:
                self._raw[peer.family].send_segment(peer, b"", FIN | ACK)
        peer.system.close()
        if self.lost is not None:
            self.lost(address)

    def _sweep(self) -> None:
        for address, peer in list(self._peers.items()):
            if not peer.flow.used:
                self.end(address)
            peer.flow.used = False
        self._timer = timers.after(self._idle, self._sweep)

    # -- datagrams -----------------------------------------------------------------------------

    def recv_from(self) -> tuple[bytes, str]:
        if self._arrivals is None:
            self._arrivals = Arrivals(_QUEUE)
            self.start(_Into(self._arrivals))
        with timeout(self.timeout or 0.0, "no datagram in time"):
            found: tuple[bytes, str] = self._arrivals.get()
        return found

    def send_to(self, data: bytes, address: str = "") -> None:
        self.send_now(data, address)

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        for raw in self._raw.values():
            raw.start(sink)

    def pause(self) -> None:
        for raw in self._raw.values():
            raw.pause()

    def resume(self) -> None:
        for raw in self._raw.values():
            raw.resume()

    def send_now(self, data: bytes, address: str = "") -> float:
        peer = self._peers.get(address)
        if peer is None or not peer.flow.known:
            if self.closed:
                raise ConnectionClosed("packet conn is closed")
            return 0.0  # the peer is gone: the datagram is lost
        return self._raw[peer.family].send_now(data, address)

    def _close(self) -> None:
        self._acceptor.close()
        for address in list(self._peers):
            self.end(address)
        for raw in self._raw.values():
            raw.sink = None
            raw.close()
        if self._arrivals is not None:
            self._arrivals.close()


class _Peer:
    """One flow of a listener."""

    __slots__ = ("control", "family", "flow", "system", "target")

    def __init__(
        self, listener: FakeTCPListener, address: str, sock: _socket.socket, peer: Any
    ) -> None:
        local, peer = _unmapped(sock.getsockname()), _unmapped(peer)
        self.family = int(_socket.AF_INET6 if ":" in peer[0] else _socket.AF_INET)
        self.flow = _flow(self.family, local, peer)
        self.target = (peer[0], 0, *peer[2:])
        source = _socket.inet_pton(self.family, local[0].partition("%")[0])
        if self.family == _socket.AF_INET:
            place = _socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=I4s4x", 0, source)
        else:
            place = _socket.IPPROTO_IPV6, _IPV6_PKTINFO, struct.pack("=16sI", source, local[3])
        self.control = [place]
        self.system = _System(sock, lambda: listener.end(address))


class _Raw(UDPSocket):
    """A raw socket of a listener, of one address family."""

    __slots__ = ("_listener",)

    def __init__(self, listener: FakeTCPListener, sock: _socket.socket) -> None:
        super().__init__(sock)
        self._listener = listener

    def _known(self, address: str) -> bool:
        return True

    def _receive(self) -> tuple[bytes, str]:
        size, sender = self.sock.recvfrom_into(_BUFFER)
        start = (_BUFFER[0] & 15) * 4 if len(sender) == 2 else 0
        try:
            segment = Segment.read(_VIEW[start:size])
        except ProtocolError:
            raise _nothing() from None
        address = format_address((sender[0].partition("%")[0], segment.source_port))
        peer = self._listener.find(address)
        if peer is None:
            raise _nothing()
        try:
            data = peer.flow.arrived(segment)
        except ProtocolError:
            self._listener.end(address)
            data = None
        if data is None:
            raise _nothing()
        return data, address

    def _send(self, data: bytes, address: str) -> None:
        peer = self._listener.find(address)
        if peer is not None:
            self.send_segment(peer, data, PSH | ACK)

    def send_segment(self, peer: _Peer, data: bytes, flags: int) -> None:
        self.sock.sendmsg([peer.flow.datagram(data, flags)], peer.control, 0, peer.target)


class _Into:
    """A sink that puts datagrams into a queue; what does not fit is lost."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def datagram(self, data: bytes, address: str) -> None:
        self._arrivals.put((data, address))

    def ended(self, error: BaseException | None) -> None:
        self._arrivals.close()


def _flow(family: int, local: Any, peer: Any) -> Flow:
    source, destination = (
        _socket.inet_pton(family, address[0].partition("%")[0]) for address in (local, peer)
    )
    return Flow(source, local[1], destination, peer[1])


def _unmapped(address: Any) -> Any:
    """IPv4 in IPv6, as a dual-stack socket reports it, as IPv4."""
    host = str(address[0])
    if host.startswith("::ffff:") and "." in host:
        return host[7:], address[1]
    return address


def _nothing() -> OSError:
    """A segment without a datagram: for the reader of a UDP socket, one that got lost."""
    return OSError(errno.EPROTO, "no datagram")


def _reason(error: OSError | None) -> str:
    if isinstance(error, PermissionError):
        return "raw sockets need root or CAP_NET_RAW"
    return str(getattr(error, "strerror", "") or error or "no usable address")
