"""The traffic that makes an exchange happen, at the entry of a client node or at what it bound.

A drive gets the ports by name and adds ``visitor``, the port it comes from.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import gevent

from tests.conformance.clients import Entry, ask_socks5, login_socks5, pair, read_exact

__all__ = ["DRIVES"]

TIMEOUT = 5.0
Ports = dict[str, int]


def _connect(ports: Ports) -> socket.socket:
    """To the entry, which may not listen yet."""
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", ports["entry"]), timeout=TIMEOUT)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            gevent.sleep(0.01)
            continue
        ports["visitor"] = sock.getsockname()[1]
        return sock


def _echoed(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    assert read_exact(sock, len(data)) == data


def hello(ports: Ports) -> None:
    """Five bytes there and back."""
    with _connect(ports) as sock:
        _echoed(sock, b"hello")


def twice(ports: Ports) -> None:
    """There and back twice, in turns."""
    with _connect(ports) as sock:
        _echoed(sock, b"hello")
        _echoed(sock, b"once more")


def line(ports: Ports) -> None:
    """To a target that answers a PROXY header with a line."""
    with _connect(ports) as sock:
        sock.sendall(b"hello")
        assert read_exact(sock, 1)


def page(ports: Ports) -> None:
    """An HTTP request for the target web."""
    _ask_page(ports, b"127.0.0.1:%d" % ports["web"])


def named_page(ports: Ports) -> None:
    """An HTTP request for a host by name."""
    _ask_page(ports, b"hidden.test")


def _ask_page(ports: Ports, host: bytes) -> None:
    with _connect(ports) as sock:
        sock.sendall(b"GET /a HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert read_exact(sock, 12) == b"HTTP/1.1 200"


def refused(ports: Ports) -> None:
    """Five bytes to a target that cannot be had: the end."""
    with _connect(ports) as sock:
        sock.sendall(b"hello")
        try:
            assert sock.recv(100) == b""
        except ConnectionError:
            return  # an end as well


def datagram(ports: Ports) -> None:
    """A datagram there and back, twice."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind(("127.0.0.1", 0))
        ports["visitor"] = sock.getsockname()[1]
        sock.connect(("127.0.0.1", ports["entry"]))
        for data in (b"ping", b"another ping"):
            _exchanged(sock, data)


def one_datagram(ports: Ports) -> None:
    """A datagram there; nobody waits for an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"ping", ("127.0.0.1", ports["entry"]))


def visiting_datagram(ports: Ports) -> None:
    """As datagram, to a socket that may not be bound yet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind(("127.0.0.1", 0))
        ports["visitor"] = sock.getsockname()[1]
        sock.connect(("127.0.0.1", ports["entry"]))
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            try:
                return _exchanged(sock, b"ping")
            except ConnectionRefusedError:
                gevent.sleep(0.01)
        raise TimeoutError("nothing was bound")


def _exchanged(sock: socket.socket, data: bytes) -> None:
    sock.send(data)
    assert sock.recv(65535) == data


def associate(ports: Ports) -> None:
    """A datagram through a SOCKS5 association of the entry."""
    entry = Entry("socks5", f"127.0.0.1:{ports['entry']}", "", "", "")
    header = b"\0\0\0\x01\x7f\0\0\1" + struct.pack("!H", ports["udp"])
    with entry.open() as control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        login_socks5(control, entry)
        bound = ask_socks5(control, 3, bytes(6))
        sock.connect(pair(f"127.0.0.1:{struct.unpack('!H', bound[4:])[0]}"))
        _exchanged(sock, header + b"ping")


DRIVES: dict[str, Callable[[Ports], None]] = {
    drive.__name__: drive
    for drive in (
        hello,
        twice,
        line,
        page,
        named_page,
        refused,
        datagram,
        one_datagram,
        visiting_datagram,
        associate,
    )
}
