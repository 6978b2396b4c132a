"""Packet conns: datagrams with addresses. Every result with a udp network is one.

Addresses are ``host:port`` texts. A packet conn that has one peer (a session of a listener, a
dialed socket) ignores the address given to ``send_to`` and reports the peer in ``recv_from``.

It is used in one of two ways, like a Conn:

* **In a green thread**: ``recv_from()`` waits for a datagram, ``send_to()`` sends one.
* **On the hub**, where ``on_hub`` says that it can: ``start(sink)`` hands each datagram to the sink
  by callback, bursts without a switch in between; ``send_now()`` sends without waiting.

A meter delays what comes after a datagram, and drops datagrams that are larger than a burst.
"""

from __future__ import annotations

import _socket
import array
import errno
import fcntl
import termios
from collections.abc import Callable
from typing import Any, Protocol

from gevent import get_hub, getcurrent, sleep, spawn_raw

from gostpy.errors import ConnectionClosed, DialFailed, Unsupported
from gostpy.net import timers
from gostpy.net.conn import Conn, ConnInfo, format_address
from gostpy.net.dial import is_ip, local_addresses, resolve, split_address
from gostpy.net.endpoint import READ
from gostpy.net.listen import bind_address
from gostpy.net.metered import rounded
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.net.timers import timeout

__all__ = [
    "MAX_DATAGRAM",
    "HubPackets",
    "PacketConn",
    "PacketSink",
    "StreamPackets",
    "UDPSocket",
    "bind_udp",
    "dial_udp",
    "listen_udp",
    "no_datagram",
]

MAX_DATAGRAM = 65535

_BURST = 64
"""Datagrams taken from one socket before others get their turn."""

_PIECE = 32768
"""Bytes of a stream that make one datagram at most; gost's buffer."""

_MOST_NAMES = 1024
_MOST_LOOKUPS = 16

_received = bytearray(MAX_DATAGRAM)
_view = memoryview(_received)

# answers by ICMP to something that was sent before: datagrams get lost, the socket goes on
_LOST = (
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EMSGSIZE,
    errno.EPROTO,
    errno.ENOPROTOOPT,
    errno.EACCES,
    errno.ENOBUFS,
)

# this datagram cannot leave, others can: to port 0 (a forged source), or a firewall forbids it
_UNSENDABLE = (errno.EINVAL, errno.EPERM)

_PAUSED, _RATE = 1, 2


class PacketSink(Protocol):
    """Gets the datagrams of a packet conn by callback. Runs on the hub; may not block."""

    def datagram(self, data: bytes, address: str) -> None: ...
    def ended(self, error: BaseException | None) -> None:
        """No more will come: the packet conn was closed."""
        ...


class PacketConn:
    """Base of all packet conns.

    Attributes:
        info: facts, as of a Conn.
        sink: who gets the datagrams by callback; the service leaves a conn with a sink open.
        timeout: seconds that ``recv_from`` waits, None for ever.
        on_hub: ``start``, ``pause``, ``resume`` and ``send_now`` work.
        meter: counts and limits; kept by the classes that face clients.
    """

    network = "udp"
    on_hub = False

    __slots__ = ("closed", "info", "meter", "on_close", "sink", "timeout")

    def __init__(self, info: ConnInfo | None = None) -> None:
        self.info = info if info is not None else ConnInfo()
        self.timeout: float | None = None
        self.closed = False
        self.meter: Any = None
        self.sink: PacketSink | None = None
        self.on_close: Callable[[Any], None] | None = None

    def recv_from(self) -> tuple[bytes, str]:
        """The next datagram and its sender.

        Raises ConnectionClosed: no more will come. TimeoutError: none came within ``timeout``.
        """
        raise NotImplementedError

    def send_to(self, data: bytes, address: str = "") -> None:
        """Send one datagram. Raises OSError; a datagram that cannot leave now may be lost."""
        raise NotImplementedError

    def start(self, sink: PacketSink) -> None:
        """Hand each datagram to ``sink`` from now on."""
        raise NotImplementedError

    def pause(self) -> None:
        """Hand over nothing until ``resume``."""
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def send_now(self, data: bytes, address: str = "") -> float:
        """Send without waiting; the seconds for which no more should be sent. Raises OSError."""
        raise NotImplementedError

    @property
    def congested(self) -> bool:
        """The system would rather have no more datagrams now; bursts may be lost."""
        return False

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def _no_stream(self, *arguments: Any, **options: Any) -> Any:
        """A handler wants bytes in order. Raises Unsupported."""
        raise Unsupported("this protocol needs a byte stream, and its channel carries datagrams")

    recv = read_exact = peek = push = sendall = _no_stream

    def close(self, now: bool = False) -> None:
        """Close; a green thread in ``recv_from`` gets ConnectionClosed. Harmless when repeated."""
        if self.closed:
            return
        self.closed = True
        self._close()
        sink, self.sink = self.sink, None
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)
        if sink is not None:
            sink.ended(None)

    def _close(self) -> None:
        """Free what the conn holds."""


class HubPackets(PacketConn):
    """Base of packet conns that are at home on the hub: a user or a meter holds their datagrams
    back, and one green thread may wait for the next. A subclass says how its source is held."""

    on_hub = True

    __slots__ = ("_hold", "_reader")

    def __init__(self, info: ConnInfo | None = None) -> None:
        super().__init__(info)
        self._hold = 0  # reasons
        self._reader: Any = None

    def _halt(self) -> None:
        """There is a reason for holding datagrams back. Harmless when repeated."""

    def _go_on(self) -> None:
        """There is none any more; the conn is open. Harmless when repeated."""

    def pause(self) -> None:
        self._hold |= _PAUSED
        self._halt()

    def resume(self) -> None:
        self._release(_PAUSED)

    def _release(self, reason: int) -> None:
        self._hold &= ~reason
        if not self._hold and not self.closed:
            self._go_on()

    def _received(self, size: int) -> bool:
        """Let the meter count a datagram that arrived; False: it is dropped."""
        if not self.meter.admits(size, False):
            return False
        delay = self.meter.received(size)
        if delay > 0.0:
            self._hold |= _RATE
            self._halt()
            timers.after(rounded(delay), lambda: self._release(_RATE))
        return True

    def _sent(self, size: int) -> float:
        """Let the meter count one that leaves: as ``send_now``; negative: it is dropped."""
        return float(self.meter.sent(size)) if self.meter.admits(size, True) else -1.0

    def _wait(self) -> None:
        """In a green thread: until there is something new. Raises TimeoutError."""
        with timeout(self.timeout or 0.0, "no datagram in time"):
            self._reader = getcurrent()
            try:
                get_hub().switch()
            finally:
                self._reader = None

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.switch()

    def _wake_soon(self) -> None:
        if self._reader is not None:
            get_hub().loop.run_callback(self._wake)

    def _broken(self, error: BaseException) -> None:
        """The source cannot be used any more."""
        sink, self.sink = self.sink, None
        self.close()
        if sink is not None:
            sink.ended(error)


class UDPSocket(HubPackets):
    """A UDP socket: unconnected (``peer`` None), or with one peer. It is read into one buffer that
    all sockets share."""

    __slots__ = ("_io", "_lookups", "_names", "_peer", "sock")

    def __init__(self, sock: _socket.socket, peer: Any = None) -> None:
        super().__init__(ConnInfo(peer=peer, local=sock.getsockname()))
        self.sock = sock
        self._peer = format_address(peer) if peer else ""
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._names: dict[str, Any] | None = None
        self._lookups = 0

    # -- in a green thread ---------------------------------------------------------------------

    def recv_from(self) -> tuple[bytes, str]:
        while not self.closed:
            try:
                data, sender = self._receive()
            except BlockingIOError:
                self._io.start(self._wake)
                try:
                    self._wait()
                finally:
                    if not self.closed:
                        self._io.stop()
                continue
            except OSError as error:
                if error.errno in _LOST:
                    continue
                raise
            if self.meter is not None:
                if not self.meter.admits(len(data), False):
                    continue
                _sleep(self.meter.received(len(data)))
            return data, sender
        raise ConnectionClosed("packet conn is closed")

    def _receive(self) -> tuple[bytes, str]:
        if self._peer:
            return bytes(_view[: self.sock.recv_into(_received)]), self._peer
        size, sender = self.sock.recvfrom_into(_received)
        return bytes(_view[:size]), format_address(sender)

    def send_to(self, data: bytes, address: str = "") -> None:
        if not self._peer and not self._known(address):
            self._look_up(address)
        _sleep(self.send_now(data, address))

    # -- on the hub ------------------------------------------------------------------------------

    def start(self, sink: PacketSink) -> None:
        self.sink = sink
        if not self.closed and not self._hold:
            self._io.start(self._readable)

    def _halt(self) -> None:
        if not self.closed:
            self._io.stop()

    def _go_on(self) -> None:
        if self.sink is not None:
            self._io.start(self._readable)

    def _readable(self) -> None:
        try:
            for _ in range(_BURST):
                try:
                    data, sender = self._receive()
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno in _LOST:
                        continue
                    raise
                if self.meter is not None and not self._received(len(data)):
                    continue
                if self.sink is not None:
                    self.sink.datagram(data, sender)
                if self.closed or self._hold:
                    return
        except Exception as error:  # whatever it is, it ends this conn, not the loop
            self._broken(error)

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        if not self._peer and not self._known(address):
            if self._lookups < _MOST_LOOKUPS:  # above, the datagram is lost
                spawn_raw(self._send_later, data, address)
            return 0.0
        delay = 0.0
        if self.meter is not None:
            delay = self._sent(len(data))
            if delay < 0.0:
                return 0.0
        try:
            self._send(data, address)
        except BlockingIOError:
            pass  # a full buffer: the datagram is lost, as datagrams may be
        except OSError as error:
            lost = error.errno in _LOST or error.errno in _UNSENDABLE
            if not lost or error.errno == errno.EMSGSIZE:
                raise
        return delay

    @property
    def congested(self) -> bool:
        waiting = array.array("i", (0,))
        fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, waiting)
        return waiting[0] > self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF) // 2

    @staticmethod
    def is_loss(error: OSError) -> bool:
        """Whether an error is about something sent before, which is lost; the socket goes on."""
        return error.errno in _LOST

    def release(self) -> _socket.socket:
        """The socket, for another conn; this one is over."""
        self.closed = True
        self._io.stop()
        self._io.close()
        return self.sock

    def _send(self, data: bytes, address: str) -> None:
        if self._peer:
            self.sock.send(data)
        else:
            assert self._names is not None
            self.sock.sendto(data, self._names[address])

    # -- names ------------------------------------------------------------------------------------

    def _known(self, address: str) -> bool:
        """Whether the socket address of ``host:port`` is at hand; true of every IP literal."""
        if self._names is None:
            self._names = {}
        elif address in self._names:
            return True
        host, port = split_address(address)
        if not is_ip(host) or "%" in host:
            return False
        self._remember(address, resolve(host, port, _socket.SOCK_DGRAM))
        return True

    def _look_up(self, address: str) -> None:
        """Resolve a name; once per conn. Raises DialFailed."""
        self._lookups += 1
        try:
            host, port = split_address(address)
            self._remember(address, resolve(host, port, _socket.SOCK_DGRAM))
        finally:
            self._lookups -= 1

    def _send_later(self, data: bytes, address: str) -> None:
        try:
            self._look_up(address)
            self.send_now(data, address)
        except (DialFailed, OSError):
            pass  # nobody waits for this datagram any more: it is lost

    def _remember(self, address: str, found: list[tuple[int, Any]]) -> None:
        names, family = self._names, int(self.sock.family)
        assert names is not None
        if len(names) >= _MOST_NAMES:
            names.clear()
        for kind, target in found:
            if kind == family:
                names[address] = target
                return
            if family == _socket.AF_INET6:
                names[address] = (f"::ffff:{target[0]}", target[1], 0, 0)
                return
        raise DialFailed(f"no usable address for {address!r}", address=address)

    def _close(self) -> None:
        self._io.stop()
        self._io.close()
        self.sock.close()
        self._wake_soon()


class StreamPackets(PacketConn):
    """A byte stream taken for datagrams as it comes: what one read yields is one datagram.

    gost does so where a udp request ends at a node without a protocol of its own, and where a
    stream is forwarded to a udp target.
    """

    __slots__ = ("conn",)

    def __init__(self, conn: Conn) -> None:
        super().__init__(conn.info)
        self.conn = conn

    def recv_from(self) -> tuple[bytes, str]:
        self.conn.settimeout(self.timeout)
        data = self.conn.recv(_PIECE)
        if not data:
            raise ConnectionClosed("the stream of datagrams ended")
        return data, self.info.peer_address

    def send_to(self, data: bytes, address: str = "") -> None:
        self.conn.sendall(data)

    def _close(self) -> None:
        self.conn.close()


def no_datagram() -> OSError:
    """What ``_receive`` of a UDPSocket raises where something arrived that holds no datagram."""
    return OSError(errno.EPROTO, "no datagram")


def _sleep(delay: float) -> None:
    if delay > 0.0:
        sleep(delay)


def dial_udp(address: str, options: SocketOptions = DEFAULT) -> UDPSocket:
    """A UDP socket connected to ``host:port``, or an unconnected one for an empty address.

    Raises DialFailed.
    """
    try:
        if not address:
            return listen_udp("", options)
        host, port = split_address(address)
        family, target = resolve(host, port, _socket.SOCK_DGRAM)[0]
        sock = open_socket(family, _socket.SOCK_DGRAM, options)
        try:
            local = next(local_addresses(options, family), None)
            if local is not None:
                local.apply(sock)
            sock.connect(target)
        except BaseException:
            sock.close()
            raise
        return UDPSocket(sock, peer=target)
    except OSError as error:
        raise DialFailed(f"dial udp {address}: {error}", address=address) from error


def listen_udp(address: str, options: SocketOptions = DEFAULT, *, reuse: bool = False) -> UDPSocket:
    """An unconnected UDP socket bound to ``host:port``; no host is every address of both families.

    Raises OSError naming the address.
    """
    return UDPSocket(bind_udp(address, options, reuse=reuse))


def bind_udp(
    address: str, options: SocketOptions = DEFAULT, *, reuse: bool = False
) -> _socket.socket:
    """The same, as a plain socket."""
    last: OSError | None = None
    for family, target in bind_address(address):
        try:
            sock = open_socket(family, _socket.SOCK_DGRAM, options)
        except OSError as error:  # a system without IPv6
            last = error
            continue
        try:
            if reuse:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                only = 0 if target[0] == "::" else 1
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, only)
            sock.bind(target)
            return sock
        except OSError as error:
            sock.close()
            last = error
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                break
    code = last.errno if last is not None and last.errno else errno.EADDRNOTAVAIL
    reason = last.strerror if last is not None else "no address"
    raise OSError(code, f"listen udp {address or ':0'}: {reason}") from last
