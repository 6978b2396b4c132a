"""Packet conns: datagrams with addresses. Every result with a udp network is one.

Blocking-style, in green threads: ``recv_from()`` waits for a datagram, ``send_to()`` sends one.
Addresses are ``host:port`` texts. A packet conn that has one peer (a session of a listener, a
dialed socket) ignores the address given to ``send_to`` and reports the peer in ``recv_from``.
"""

from __future__ import annotations

import _socket
import errno
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent

from gostpy.errors import ConnectionClosed, DialFailed
from gostpy.net.conn import ConnInfo, format_address
from gostpy.net.dial import local_addresses, resolve, split_address
from gostpy.net.endpoint import READ
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.net.timers import timeout

__all__ = ["MAX_DATAGRAM", "PacketConn", "UDPSocket", "dial_udp", "listen_udp"]

MAX_DATAGRAM = 65535


class PacketConn:
    """Base of all packet conns.

    Attributes:
        info: facts, as of a Conn.
        sink: always None; for the service a packet conn is served by its handler until it returns.
        timeout: seconds that ``recv_from`` waits, None for ever.
    """

    network = "udp"
    sink = None

    def __init__(self, info: ConnInfo | None = None) -> None:
        self.info = info if info is not None else ConnInfo()
        self.timeout: float | None = None
        self.closed = False
        self.meter: Any = None
        self.on_close: Callable[[Any], None] | None = None

    def recv_from(self) -> tuple[bytes, str]:
        """The next datagram and its sender.

        Raises ConnectionClosed: no more will come. TimeoutError: none came within ``timeout``.
        """
        raise NotImplementedError

    def send_to(self, data: bytes, address: str = "") -> None:
        """Send one datagram. Raises OSError; a datagram that cannot leave now may be lost."""
        raise NotImplementedError

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def close(self, now: bool = False) -> None:
        """Close; a green thread in ``recv_from`` gets ConnectionClosed. Harmless when repeated."""
        if self.closed:
            return
        self.closed = True
        self._close()
        callback, self.on_close = self.on_close, None
        if callback is not None:
            callback(self)

    def _close(self) -> None:
        """Free what the conn holds."""


class UDPSocket(PacketConn):
    """A UDP socket: unconnected (``peer`` None), or with one peer."""

    def __init__(self, sock: _socket.socket, peer: Any = None, size: int = MAX_DATAGRAM) -> None:
        super().__init__(ConnInfo(peer=peer, local=sock.getsockname()))
        self.sock = sock
        self._peer = format_address(peer) if peer else ""
        self._buffer = bytearray(min(size, MAX_DATAGRAM))
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._waiting: Any = None
        self._names: dict[str, Any] = {}

    def recv_from(self) -> tuple[bytes, str]:
        while not self.closed:
            try:
                size, sender = self.sock.recvfrom_into(self._buffer)
            except BlockingIOError:
                with timeout(self.timeout or 0.0, "no datagram in time"):
                    self._wait()
                continue
            except ConnectionRefusedError:
                continue  # an ICMP answer to something sent before: datagrams get lost
            return bytes(memoryview(self._buffer)[:size]), self._peer or format_address(sender)
        raise ConnectionClosed("packet conn is closed")

    def _wait(self) -> None:
        self._waiting = getcurrent()
        self._io.start(self._wake)
        try:
            get_hub().switch()
        finally:
            self._waiting = None
            if not self.closed:
                self._io.stop()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.switch()

    def send_to(self, data: bytes, address: str = "") -> None:
        if self.closed:
            raise ConnectionClosed("packet conn is closed")
        try:
            if self._peer:
                self.sock.send(data)
            else:
                self.sock.sendto(data, self._target(address))
        except (BlockingIOError, ConnectionRefusedError):
            pass  # a full buffer or an ICMP answer: the datagram is lost, as datagrams may be

    def _target(self, address: str) -> Any:
        """Socket address of ``host:port``, names resolved once per conn."""
        target = self._names.get(address)
        if target is None:
            host, port = split_address(address)
            family = int(self.sock.family)
            for found, candidate in resolve(host, port, _socket.SOCK_DGRAM):
                if found == family:
                    target = candidate
                    break
                if family == _socket.AF_INET6:
                    target = (f"::ffff:{candidate[0]}", candidate[1], 0, 0)
                    break
            if target is None:
                raise DialFailed(f"no usable address for {address!r}", address=address)
            if len(self._names) > 1024:
                self._names.clear()
            self._names[address] = target
        return target

    def _close(self) -> None:
        self._io.stop()
        self._io.close()
        self.sock.close()
        if self._waiting is not None:
            get_hub().loop.run_callback(self._wake)


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

    Raises OSError.
    """
    host, port = split_address(address)
    host = host or "::"
    last: OSError | None = None
    for family, target in resolve(host, port, _socket.SOCK_DGRAM):
        try:
            sock = open_socket(family, _socket.SOCK_DGRAM, options)
        except OSError as error:
            last = error
            continue
        try:
            if reuse:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, int(host != "::"))
            sock.bind(target)
            return UDPSocket(sock)
        except OSError as error:
            sock.close()
            last = error
    if host == "::":  # a system without IPv6
        return listen_udp(f"0.0.0.0:{port}", options, reuse=reuse)
    raise last if last is not None else OSError(errno.EADDRNOTAVAIL, f"listen udp {address}")
