"""Listening: one accept loop for all stream listeners, on raw sockets, in batches."""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from gevent import get_hub

from gostpy.errors import ConfigError
from gostpy.net import timers
from gostpy.net.conn import format_address
from gostpy.net.dial import is_ip, resolve
from gostpy.net.endpoint import READ
from gostpy.net.sockopt import DEFAULT, SocketOptions, open_socket

__all__ = ["BATCH", "Acceptor", "bind_address", "listen_tcp", "listen_unix"]

Accepted = Callable[[_socket.socket, Any], None]

BATCH = 64
"""Connections accepted in one go at most."""

_BACKLOG = 4096
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """A listening socket whose accepted sockets are handed to a callback, on the hub.

    Args:
        sock: listening, non-blocking.
        accepted: called with each accepted socket (non-blocking) and its peer address; must not
            block and must not raise.
    """

    def __init__(self, sock: _socket.socket, accepted: Accepted) -> None:
        self.sock = sock
        self.address = sock.getsockname()
        self._accepted = accepted
        self._io = get_hub().loop.io(sock.fileno(), READ)
        self._closed = False

    def start(self) -> None:
        if not self._closed:
            self._io.start(self._ready)

    def stop(self) -> None:
        """Stop accepting; the socket stays bound."""
        self._io.stop()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._io.stop()
        self._io.close()
        self.sock.close()
        if isinstance(self.address, str) and self.address and not self.address.startswith("@"):
            with contextlib.suppress(OSError):
                os.unlink(self.address)

    def accept_now(self) -> None:
        """Take what waits, without waiting for the loop to say so."""
        self._ready()

    def _ready(self) -> None:
        accept, family, accepted = self.sock._accept, self.sock.family, self._accepted  # type: ignore[attr-defined]
        try:
            for _ in range(BATCH):
                descriptor, peer = accept()
                sock = _socket.socket(family, _socket.SOCK_STREAM, 0, descriptor)
                sock.setblocking(False)
                try:
                    accepted(sock, peer)
                except Exception:  # a bug in a guard ends this conn, not the listener
                    sock.close()
                    get_hub().handle_error(self, *sys.exc_info())
                if self._closed:
                    return
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:  # wait for some to be closed instead of spinning
                self._io.stop()
                timers.after(0.1, self.start)


def bind_address(address: str) -> list[tuple[int, Any]]:
    """(family, socket address) pairs to listen on.

    ``:port`` is every address of both families (one dual-stack socket), as gost binds it.
    """
    host, separator, port = address.rpartition(":")
    if not separator:
        host, port = address, "0"
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(f"bad port in listen address {address!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host:
        return [(_socket.AF_INET6, ("::", int(port))), (_socket.AF_INET, ("0.0.0.0", int(port)))]
    family = is_ip(host)
    if family:
        return [(family, (host, int(port)))]
    return resolve(host, int(port))


def listen_tcp(
    address: str,
    accepted: Accepted,
    options: SocketOptions = DEFAULT,
    *,
    reuse_port: bool = False,
    transparent: bool = False,
) -> Acceptor:
    """Bind and listen; accepting begins with ``start()``. Raises OSError naming the address."""
    last: OSError | None = None
    for family, target in bind_address(address):
        try:
            sock = open_socket(family, _socket.SOCK_STREAM, options)
        except OSError as error:  # a system without IPv6
            last = error
            continue
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
            if family == _socket.AF_INET6:
                only = 0 if target[0] == "::" else 1
                sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, only)
            if transparent:
                level = _socket.IPPROTO_IPV6 if family == _socket.AF_INET6 else _socket.IPPROTO_IP
                sock.setsockopt(level, 75 if family == _socket.AF_INET6 else 19, 1)
            # accepted sockets inherit it
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            sock.bind(target)
            sock.listen(_BACKLOG)
            return Acceptor(sock, accepted)
        except OSError as error:
            sock.close()
            last = error
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                break
    code = last.errno if last is not None and last.errno else errno.EADDRNOTAVAIL
    raise OSError(code, f"listen {address or ':0'}: {os.strerror(code)}") from last


def listen_unix(path: str, accepted: Accepted, options: SocketOptions = DEFAULT) -> Acceptor:
    """Bind and listen on a Unix socket; ``@name`` is abstract. A stale socket file is replaced."""
    target = "\0" + path[1:] if path.startswith("@") else path
    sock = open_socket(_socket.AF_UNIX, _socket.SOCK_STREAM, options)
    try:
        if not path.startswith("@") and _is_stale(path):
            os.unlink(path)
        sock.bind(target)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"listen {path}: {error.strerror}") from error
    acceptor = Acceptor(sock, accepted)
    acceptor.address = path
    return acceptor


def _is_stale(path: str) -> bool:
    """A socket file that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False  # somebody's file, not ours to remove
    except OSError:
        return False
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        return probe.connect_ex(path) == errno.ECONNREFUSED
    finally:
        probe.close()


def describe(address: Any) -> str:
    """A bound address as gost prints it, ``[::]:8080``."""
    return format_address(address)
