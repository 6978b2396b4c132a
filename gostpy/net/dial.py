"""Direct dialing: names to addresses, a connected socket as a Conn."""

from __future__ import annotations

import _socket
import errno
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from gevent import get_hub, getcurrent

from gostpy.errors import DialFailed
from gostpy.net.conn import Conn, ConnInfo
from gostpy.net.endpoint import WRITE, SocketEndpoint
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket
from gostpy.net.timers import now
from gostpy.net.timers import timeout as deadline

__all__ = ["dial_tcp", "dial_unix", "is_ip", "local_addresses", "resolve", "split_address"]


def split_address(address: str, default_port: int = 0) -> tuple[str, int]:
    """``host:port`` in two; brackets of IPv6 removed; a missing port is ``default_port``.

    Raises DialFailed: the port is not a number from 0 to 65535.
    """
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else ""
    elif address.count(":") > 1:  # a bare IPv6 address
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    if not port:
        return host, default_port
    if port.isascii() and port.isdigit() and int(port) < 65536:
        return host, int(port)
    raise DialFailed(f"bad port in address {address!r}", address=address)


def is_ip(host: str) -> int:
    """The address family of an IP literal, 0 for a name."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return int(family)
    return 0


def resolve(host: str, port: int, kind: int = _socket.SOCK_STREAM) -> list[tuple[int, Any]]:
    """(family, socket address) pairs of a host. A literal never leaves the loop's thread.

    Raises DialFailed: there is no such name.
    """
    if not host:
        host = "127.0.0.1"
    family = is_ip(host)
    if family and "%" not in host:
        return [(family, (host, port) if family == _socket.AF_INET else (host, port, 0, 0))]
    try:
        found = get_hub().resolver.getaddrinfo(host, port, 0, kind)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DialFailed(f"cannot resolve {host!r}: {reason}", address=host) from error
    # IPv4 first, as gost prefers it
    found.sort(key=lambda entry: entry[0] != _socket.AF_INET)
    return [(entry[0], entry[4]) for entry in found]


@lru_cache(maxsize=1024)
def _literal(address: str) -> tuple[tuple[int, Any], ...]:
    """What ``resolve`` says of an ``ip:port``; empty for names, which must be asked again."""
    host, port = split_address(address)
    return tuple(resolve(host, port)) if host and is_ip(host) and "%" not in host else ()


def dial_tcp(address: str, options: SocketOptions = DEFAULT, *, timeout: float = 10.0) -> Conn:
    """Connect to ``host:port``. Raises DialFailed (``__cause__`` has the OSError)."""
    last: BaseException | None = None
    started = now()
    try:
        targets = _literal(address)
        if not targets:
            with deadline(timeout, "name lookup timed out"):
                targets = tuple(resolve(*split_address(address)))
        for family, target in targets:
            for local in local_addresses(options, family):
                left = timeout if last is None else timeout - (now() - started)
                if left <= 0.0 < timeout:
                    raise TimeoutError("connect timed out")
                try:
                    return _connect(family, target, options, local, left)
                except OSError as error:
                    last = error
                    if local is not None and local.strict:
                        raise
    except OSError as error:
        last = error
    reason = getattr(last, "strerror", "") or last or "no local address of its family"
    raise DialFailed(f"dial {address}: {reason}", address=address) from last


def dial_unix(path: str, options: SocketOptions = DEFAULT, *, timeout: float = 10.0) -> Conn:
    """Connect to a Unix socket; ``@name`` is an abstract one. Raises DialFailed."""
    target = "\0" + path[1:] if path.startswith("@") else path
    sock = open_socket(_socket.AF_UNIX, _socket.SOCK_STREAM, options)
    try:
        finish_connect(sock, target, timeout)
    except OSError as error:
        sock.close()
        raise DialFailed(f"dial {path}: {error.strerror or error}", address=path) from error
    except BaseException:
        sock.close()
        raise
    return Conn(SocketEndpoint(sock), ConnInfo(peer=path, local=""))


def _connect(
    family: int, target: Any, options: SocketOptions, local: _Local | None, timeout: float
) -> Conn:
    sock = open_socket(family, _socket.SOCK_STREAM, options)
    try:
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if local is not None:
            local.apply(sock)
        finish_connect(sock, target, timeout)
    except BaseException:
        sock.close()
        raise
    return Conn(SocketEndpoint(sock), ConnInfo(peer=target, local=None))


def finish_connect(sock: _socket.socket, target: Any, timeout: float = 0.0) -> None:
    """Connect a non-blocking socket, waiting on the hub for ``timeout`` seconds (0 = for ever).

    Raises OSError.
    """
    code = sock.connect_ex(target)
    if code == errno.EINPROGRESS:
        code = sock.connect_ex(target)  # a local peer is often there already
    if code in (errno.EALREADY, errno.EINPROGRESS, errno.EAGAIN):
        hub = get_hub()
        io = hub.loop.io(sock.fileno(), WRITE)
        io.start(getcurrent().switch)
        try:
            with deadline(timeout, "connect timed out"):
                hub.switch()
        finally:
            io.stop()
            io.close()
        code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
    if code and code != errno.EISCONN:
        raise OSError(code, os.strerror(code))


class _Local:
    """One place to send from: an address and, when it was given by name, its interface."""

    __slots__ = ("address", "device", "family", "strict")

    def __init__(self, family: int, address: str, device: str, strict: bool) -> None:
        self.family = family
        self.address = address
        self.device = device
        self.strict = strict

    def apply(self, sock: _socket.socket) -> None:
        if self.device:
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, self.device.encode())
            except OSError as error:
                if error.errno != errno.EPERM:  # without the capability the address must do
                    raise
        if self.address:
            v6 = self.family == _socket.AF_INET6
            sock.bind((self.address, 0, 0, 0) if v6 else (self.address, 0))


def local_addresses(options: SocketOptions, family: int) -> Iterator[_Local | None]:
    """The places to try to send from, in order; None means: let the system choose.

    Raises OSError: an interface does not exist and either must be used or is the last.
    """
    if not options.interface:
        yield None
        return
    missing: OSError | None = None
    for item in options.interface.split(","):
        name = item.strip()
        strict = name.endswith("!")
        name = name.rstrip("!").strip()
        if not name:
            continue
        literal = is_ip(name)
        if literal:
            if literal == family:
                yield _Local(family, name, "", strict)
            continue
        if name in {entry[1] for entry in _socket.if_nameindex()}:
            missing = None
            yield _Local(family, "", name, strict)
            continue
        missing = OSError(errno.ENODEV, os.strerror(errno.ENODEV), name)
        if strict:
            break
    if missing is not None:
        raise missing
