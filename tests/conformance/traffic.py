"""The checks: what is sent through a cell, and what must come back. Each raises on failure.

Those that speak HTTP or TLS are in web.py.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from collections.abc import Callable

import gevent

from tests.conformance import web
from tests.conformance.clients import (
    PROXY_SOURCE,
    TIMEOUT,
    Entry,
    Refused,
    ask_socks5,
    login_socks5,
    pair,
    read_exact,
)
from tests.conformance.targets import BANNER, BULK, bulk_bytes

__all__ = ["TARGET", "TARGETS", "TRAFFIC"]

CROWD = 100
DATAGRAM = 10.0
CODES = {
    "http": {"refused": 503, "denied": 403, "password": 407},
    "socks4": {"refused": 91, "denied": 92, "password": 93},
    "socks4a": {"refused": 91, "denied": 92, "password": 93},
    "socks5": {"refused": 3, "denied": 2, "password": 1},
    "relay": {"refused": 7, "denied": 3, "password": 2},
}


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


def refused_code(entry: Entry) -> None:
    """The refusal of a target has the code that gost gives it."""
    _says_code(entry, "refused")


def denied_code(entry: Entry) -> None:
    """The target is on the service's bypass: the refusal has its code."""
    _says_code(entry, "denied")


def password_code(entry: Entry) -> None:
    """Wrong credentials are told so, with the code of the protocol."""
    _says_code(entry, "password")


def _says_code(entry: Entry, case: str) -> None:
    wanted = CODES[entry.kind][case]
    try:
        with entry.connect():
            pass
    except Refused as refusal:
        if refusal.code != wanted:
            raise AssertionError(f"code {refusal.code}, expected {wanted}") from None
        return
    raise AssertionError(f"no refusal, expected code {wanted}")


def source(entry: Entry) -> None:
    """The target is told in a PROXY header where the client is."""
    with entry.connect() as sock:
        sock.sendall(b"x")
        host, port = PROXY_SOURCE if "proxy" in entry.options else sock.getsockname()
        _expect(_line(sock), f"{host}:{port}".encode())
        _expect(read_exact(sock, 1), b"x")


def _line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += read_exact(sock, 1)
    return line[:-1]


def udp(entry: Entry) -> None:
    """Datagrams of several sizes there and back, on one socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(pair(entry.address))
        for size in (1, 100, 1200):
            data = bytes(range(256)) * 5
            _exchange_datagram(sock, data[:size])


def associate(entry: Entry) -> None:
    """A SOCKS5 UDP association asked for by the suite itself, its datagrams with their header."""
    host, port = pair(entry.target)
    header = b"\0\0\0\x01" + socket.inet_aton(host) + struct.pack("!H", port)
    with entry.open() as control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        login_socks5(control, entry)
        bound = ask_socks5(control, 3, bytes(6))
        sock.connect((socket.inet_ntoa(bound[:4]), struct.unpack("!H", bound[4:])[0]))
        for size in (1, 100, 1200):
            _exchange_datagram(sock, header + (bytes(range(256)) * 5)[:size])


def _exchange_datagram(sock: socket.socket, data: bytes) -> None:
    """Datagrams may be lost while a session comes up: a few tries."""
    end = time.monotonic() + DATAGRAM
    patience = 0.25
    while time.monotonic() < end:
        sock.settimeout(patience)
        try:
            sock.send(data)
            while sock.recv(65535) != data:
                pass  # a late answer to an earlier try
            return
        except ConnectionRefusedError:  # a udp listener has nothing to tell that it is up
            gevent.sleep(0.1)
        except TimeoutError:
            patience = min(patience * 2, 2.0)
    raise TimeoutError(f"no answer to a datagram of {len(data)} bytes")


def _expect(got: bytes, wanted: bytes) -> None:
    if got != wanted:
        raise AssertionError(f"got {got[:60]!r}, expected {wanted[:60]!r}")


def _expect_digest(got: bytes, wanted: bytes) -> None:
    if hashlib.sha256(got).digest() != hashlib.sha256(wanted).digest():
        raise AssertionError(f"{len(got)} bytes came, but not the right ones")


TRAFFIC: dict[str, Callable[[Entry], None]] = {
    "byte": byte,
    "bulk": bulk,
    "half": half,
    "banner": banner,
    "crowd": crowd,
    "refused": refused,
    "refused code": refused_code,
    "denied code": denied_code,
    "password": password,
    "password code": password_code,
    "source": source,
    "udp": udp,
    "associate": associate,
    "web": web.web,
    "web code": web.web_code,
    "tls": web.tls,
}

TARGET = {
    "byte": "echo",
    "bulk": "bulk",
    "half": "half",
    "banner": "banner",
    "crowd": "echo",
    "refused": "refused",
    "refused code": "refused",
    "denied code": "denied",
    "password": "echo",
    "password code": "echo",
    "source": "source",
    "udp": "udp",
    "associate": "udp",
    "web": "web",
    "web code": "web",
    "tls": "tls",
}
TARGETS = sorted(set(TARGET.values()))
