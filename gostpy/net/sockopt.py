"""Socket options, network namespaces and MPTCP, for dialing and listening alike."""

from __future__ import annotations

import _socket
import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DEFAULT", "SocketOptions", "in_namespace", "open_socket", "set_keepalive"]

IPPROTO_MPTCP = 262
SO_MARK = 36
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How sockets of a service, hop or node are made.

    Attributes:
        interface: names or addresses to send from, comma separated; ``!`` at the end of one: stop
            when it fails instead of trying the next.
        mark: SO_MARK, 0 = none.
        netns: network namespace, a name of /var/run/netns or an absolute path.
        mptcp: use multipath TCP where the kernel has it.
    """

    interface: str = ""
    mark: int = 0
    netns: str = ""
    mptcp: bool = False

    def usual(self) -> SocketOptions:
        """The one DEFAULT object when nothing is set: sockets with it are made the short way."""
        return DEFAULT if self == DEFAULT else self


DEFAULT = SocketOptions()


@contextlib.contextmanager
def in_namespace(name: str) -> Iterator[None]:
    """Run the body in a network namespace; it must not switch green threads.

    A socket keeps the namespace in which it was made, so only its creation belongs here.
    Raises OSError: the namespace cannot be entered.
    """
    if not name:
        yield
        return
    path = name if name.startswith("/") else f"/var/run/netns/{name}"
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        target = os.open(path, os.O_RDONLY)
        try:
            _setns(target, path)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(home, "the original namespace")
    finally:
        os.close(home)


def _setns(descriptor: int, what: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def open_socket(
    family: int, kind: int, options: SocketOptions = DEFAULT, protocol: int = 0
) -> _socket.socket:
    """A non-blocking socket with namespace, mark and MPTCP applied; ``protocol`` of raw ones."""
    flags = kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    if options is DEFAULT:
        return _socket.socket(family, flags, protocol)
    sock: _socket.socket | None = None
    with in_namespace(options.netns):
        if options.mptcp and kind == _socket.SOCK_STREAM and family != _socket.AF_UNIX:
            with contextlib.suppress(OSError):  # an old kernel: plain TCP, as gost
                sock = _socket.socket(family, flags, IPPROTO_MPTCP)
        if sock is None:
            sock = _socket.socket(family, flags, protocol)
    if options.mark:
        with contextlib.suppress(OSError):  # gost only warns: marking needs a capability
            sock.setsockopt(_socket.SOL_SOCKET, SO_MARK, options.mark)
    return sock


def set_keepalive(sock: _socket.socket, idle: float, interval: float, count: int) -> None:
    """Turn TCP keep-alive probes on; zero leaves the system's value. Times in seconds."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    for option, value in (
        (_socket.TCP_KEEPIDLE, idle),
        (_socket.TCP_KEEPINTVL, interval),
        (_socket.TCP_KEEPCNT, count),
    ):
        if value > 0:
            sock.setsockopt(_socket.IPPROTO_TCP, option, max(int(value), 1))
