"""The checks: what is sent through a cell, and what must come back.

``client`` of a scenario says how the entry is spoken to: ``tcp`` (a forward whose target is in the
command line), ``http``, ``socks4``, ``socks4a``, ``socks5`` (a proxy that is asked for the target).
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import gevent

from tests.conformance.targets import BANNER, BULK, bulk_bytes

__all__ = ["CLIENTS", "TRAFFIC", "Entry"]

TIMEOUT = 20.0
CROWD = 100


class Entry:
    """How to reach a target through the entry node."""

    def __init__(self, kind: str, address: str, target: str, user: str, password: str) -> None:
        self.kind = kind
        self.address = address
        self.target = target
        self.user = user
        self.password = password

    def connect(self) -> socket.socket:
        """A socket that carries the target's bytes. Raises OSError when the proxy refuses."""
        sock = socket.create_connection(_pair(self.address), timeout=TIMEOUT)
        try:
            CLIENTS[self.kind](sock, self)
        except BaseException:
            sock.close()
            raise
        return sock


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def read_exact(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError(f"end of stream after {len(data)} of {size} bytes")
        data += piece
    return data


# -- how the entry is spoken to ------------------------------------------------------------------


def _plain(sock: socket.socket, entry: Entry) -> None:
    """A forward: nothing to say."""


def _http(sock: socket.socket, entry: Entry) -> None:
    token = base64.b64encode(f"{entry.user}:{entry.password}".encode()).decode()
    sock.sendall(
        f"CONNECT {entry.target} HTTP/1.1\r\nHost: {entry.target}\r\n"
        f"Proxy-Authorization: Basic {token}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exact(sock, 1)
    if head.split(b" ")[1] != b"200":
        raise ConnectionError(head.split(b"\r\n")[0].decode("latin-1"))


def _socks4(sock: socket.socket, entry: Entry) -> None:
    host, port = _pair(entry.target)
    sock.sendall(
        b"\x04\x01" + struct.pack("!H", port) + socket.inet_aton(host) + entry.user.encode() + b"\0"
    )
    code = read_exact(sock, 8)[1]
    if code != 90:
        raise ConnectionError(f"socks4 code {code}")


def _socks4a(sock: socket.socket, entry: Entry) -> None:
    _, port = _pair(entry.target)
    sock.sendall(
        b"\x04\x01" + struct.pack("!H", port) + b"\0\0\0\1" + entry.user.encode() + b"\0localhost\0"
    )
    code = read_exact(sock, 8)[1]
    if code != 90:
        raise ConnectionError(f"socks4a code {code}")


def _socks5(sock: socket.socket, entry: Entry) -> None:
    user, password = entry.user.encode(), entry.password.encode()
    sock.sendall(b"\x05\x02\x00\x02")
    method = read_exact(sock, 2)[1]
    if method == 2:
        sock.sendall(b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        if read_exact(sock, 2)[1]:
            raise ConnectionError("socks5 login refused")
    host, port = _pair(entry.target)
    sock.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack("!H", port))
    reply = read_exact(sock, 10)
    if reply[1]:
        raise ConnectionError(f"socks5 reply {reply[1]}")


CLIENTS: dict[str, Callable[[socket.socket, Entry], None]] = {
    "tcp": _plain,
    "http": _http,
    "socks4": _socks4,
    "socks4a": _socks4a,
    "socks5": _socks5,
}

# -- checks; each raises on failure ----------------------------------------------------------------


def byte(entry: Entry) -> None:
    """One byte there and back."""
    with entry.connect() as sock:
        sock.sendall(b"x")
        _expect(read_exact(sock, 1), b"x")


def bulk(entry: Entry) -> None:
    """3 MiB each way at the same time, with digests."""
    with entry.connect() as sock:
        sent = bulk_bytes(2)
        sender = gevent.spawn(_send, sock, struct.pack("!Q", BULK) + sent)
        _expect_digest(read_exact(sock, BULK), bulk_bytes(1))
        if not sender.get(timeout=TIMEOUT):
            raise ConnectionError("the connection broke while sending")
        _expect(read_exact(sock, 32), hashlib.sha256(sent).digest())


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False
    return True


def half(entry: Entry) -> None:
    """The client ends its direction; the server answers only then."""
    with entry.connect() as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        _expect(read_exact(sock, 32), hashlib.sha256(b"question").digest())


def banner(entry: Entry) -> None:
    """The server speaks first."""
    with entry.connect() as sock:
        _expect(read_exact(sock, len(BANNER)), BANNER)
        sock.sendall(b"hello")
        _expect(read_exact(sock, 5), b"hello")


def crowd(entry: Entry) -> None:
    """100 clients at once, each with its own bytes."""

    def one(number: int) -> str:
        data = f"client {number} ".encode() * 100
        try:
            with entry.connect() as sock:
                for _ in range(3):
                    sock.sendall(data)
                    _expect(read_exact(sock, len(data)), data)
        except (OSError, AssertionError) as error:
            return repr(error)
        return ""

    running = [gevent.spawn(one, number) for number in range(CROWD)]
    gevent.joinall(running, timeout=TIMEOUT)
    failed = [task for task in running if task.value != ""]
    if failed:
        gevent.killall(failed)
        raise ConnectionError(f"{len(failed)} of {CROWD} clients: {failed[0].value}")


def refused(entry: Entry) -> None:
    """The target refuses: the client is told by a refusal or the end of the connection."""
    _closes(entry)


def password(entry: Entry) -> None:
    """Wrong credentials get nothing through."""
    _closes(entry)


def _closes(entry: Entry) -> None:
    try:
        sock = entry.connect()
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        return
    with sock:
        sock.sendall(b"hello")
        try:
            data = sock.recv(100)
        except ConnectionError:
            return
        if data:
            raise AssertionError(f"expected the end of the connection, got {data!r}")


def udp(entry: Entry) -> None:
    """Datagrams of several sizes there and back, on one socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2.0)
        sock.connect(_pair(entry.address))
        for size in (1, 100, 1200):
            data = bytes(range(256)) * 5
            _exchange_datagram(sock, data[:size])


def _exchange_datagram(sock: socket.socket, data: bytes) -> None:
    """Datagrams may be lost while a session comes up: a few tries."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            sock.send(data)
            if sock.recv(65535) == data:
                return
        except ConnectionRefusedError:  # a udp listener has nothing to tell that it is up
            gevent.sleep(0.1)
        except TimeoutError:
            continue
    raise TimeoutError(f"no answer to a datagram of {len(data)} bytes")


def _expect(got: bytes, wanted: bytes) -> None:
    if got != wanted:
        raise AssertionError(f"got {got[:60]!r}, expected {wanted[:60]!r}")


def _expect_digest(got: bytes, wanted: bytes) -> None:
    if hashlib.sha256(got).digest() != hashlib.sha256(wanted).digest():
        raise AssertionError(f"{len(got)} bytes came, but not the right ones")


TRAFFIC: dict[str, Callable[[Any], None]] = {
    "byte": byte,
    "bulk": bulk,
    "half": half,
    "banner": banner,
    "crowd": crowd,
    "refused": refused,
    "password": password,
    "udp": udp,
}

TARGET = {
    "byte": "echo",
    "bulk": "bulk",
    "half": "half",
    "banner": "banner",
    "crowd": "echo",
    "refused": "refused",
    "password": "echo",
    "udp": "udp",
}
