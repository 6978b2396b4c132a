"""How the suite's own clients speak to the entry of a scenario.

``client`` of a scenario is one of CLIENTS: ``tcp`` (a forward whose target is in the command line),
``http``, ``socks4``, ``socks4a``, ``socks5``, ``relay`` (a proxy that is asked for the target).
``stdio`` starts the entry node anew for each conn, which is the node's standard input and output.
``client_options``: ``proxy`` (1 or 2: say where the client comes from in a PROXY header first),
``host`` (a name to ask for instead of the target's address), ``origin`` (the target that shall
answer), ``requests`` (how many on one connection), ``web`` (the status that shall come).
"""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "CLIENTS",
    "PROXY_SOURCE",
    "TIMEOUT",
    "Entry",
    "Refused",
    "pair",
    "read_exact",
    "read_head",
]

TIMEOUT = 20.0
PROXY_SOURCE = ("192.0.2.7", 4321)


class Refused(ConnectionError):
    """The proxy said no, with a code of its protocol."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Entry:
    """How to reach a target through the entry node."""

    kind: str
    address: str
    target: str
    user: str
    password: str
    options: dict[str, str] = field(default_factory=dict)
    start: Callable[[socket.socket], None] | None = None  # of stdio

    def open(self) -> socket.socket:
        """A socket to the entry that has said nothing of its protocol yet."""
        if self.start is not None:
            sock, inner = socket.socketpair()
            with inner:
                self.start(inner)
            sock.settimeout(TIMEOUT)
            return sock
        sock = socket.create_connection(pair(self.address), timeout=TIMEOUT)
        if "proxy" in self.options:
            sock.sendall(_proxy_header(self.options["proxy"], pair(self.address)))
        return sock

    def connect(self) -> socket.socket:
        """A socket that carries the target's bytes. Raises OSError when the proxy refuses."""
        sock = self.open()
        try:
            CLIENTS[self.kind](sock, self)
        except BaseException:
            sock.close()
            raise
        return sock


def pair(address: str) -> tuple[str, int]:
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


def read_head(sock: socket.socket) -> bytes:
    """The head of an HTTP message, byte by byte: nothing of what follows is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exact(sock, 1)
    return head


def _proxy_header(version: str, local: tuple[str, int]) -> bytes:
    (source, source_port), (host, port) = PROXY_SOURCE, local
    if version == "1":
        return f"PROXY TCP4 {source} {host} {source_port} {port}\r\n".encode()
    addresses = socket.inet_aton(source) + socket.inet_aton(host)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + addresses + struct.pack("!HH", source_port, port)


def _plain(sock: socket.socket, entry: Entry) -> None:
    """A forward: nothing to say."""


def _http(sock: socket.socket, entry: Entry) -> None:
    token = base64.b64encode(f"{entry.user}:{entry.password}".encode()).decode()
    sock.sendall(
        f"CONNECT {entry.target} HTTP/1.1\r\nHost: {entry.target}\r\n"
        f"Proxy-Authorization: Basic {token}\r\n\r\n".encode()
    )
    head = read_head(sock)
    if head.split(b" ")[1] != b"200":
        raise Refused(int(head.split(b" ")[1]), head.split(b"\r\n")[0].decode("latin-1"))


def _socks4(sock: socket.socket, entry: Entry) -> None:
    host, port = pair(entry.target)
    _ask_socks4(sock, entry, struct.pack("!H", port) + socket.inet_aton(host), b"")


def _socks4a(sock: socket.socket, entry: Entry) -> None:
    _, port = pair(entry.target)
    _ask_socks4(sock, entry, struct.pack("!H", port) + b"\0\0\0\1", b"localhost\0")


def _ask_socks4(sock: socket.socket, entry: Entry, address: bytes, name: bytes) -> None:
    # SOCKS4 has no password: an intruder is a stranger
    user = entry.user if entry.password != "wrong-word" else "stranger"
    sock.sendall(b"\x04\x01" + address + user.encode() + b"\0" + name)
    code = read_exact(sock, 8)[1]
    if code != 90:
        raise Refused(code, f"socks4 code {code}")


def _socks5(sock: socket.socket, entry: Entry) -> None:
    login_socks5(sock, entry)
    host, port = pair(entry.target)
    ask_socks5(sock, 1, socket.inet_aton(host) + struct.pack("!H", port))


def login_socks5(sock: socket.socket, entry: Entry) -> None:
    user, password = entry.user.encode(), entry.password.encode()
    sock.sendall(b"\x05\x02\x00\x02")
    method = read_exact(sock, 2)[1]
    if method == 2:
        sock.sendall(b"\x01" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        code = read_exact(sock, 2)[1]
        if code:
            raise Refused(code, "socks5 login refused")


def ask_socks5(sock: socket.socket, command: int, address: bytes) -> bytes:
    """A request for an IPv4 address and its reply; returns the reply's address and port."""
    sock.sendall(bytes((5, command, 0, 1)) + address)
    reply = read_exact(sock, 10)
    if reply[1]:
        raise Refused(reply[1], f"socks5 reply {reply[1]}")
    return reply[4:]


def _relay(sock: socket.socket, entry: Entry) -> None:
    """gost's relay, asking a server with ``nodelay`` to answer before data comes."""
    user, password = entry.user.encode(), entry.password.encode()
    login = bytes((len(user),)) + user + bytes((len(password),)) + password
    host, port = pair(entry.target)
    address = b"\x01" + socket.inet_aton(host) + struct.pack("!H", port)
    features = struct.pack("!BH", 1, len(login)) + login
    features += struct.pack("!BH", 2, len(address)) + address
    sock.sendall(struct.pack("!BBH", 1, 1, len(features)) + features)
    reply = read_exact(sock, 4)
    if reply[1]:
        raise Refused(reply[1], f"relay status {reply[1]}")


CLIENTS: dict[str, Callable[[socket.socket, Entry], None]] = {
    "tcp": _plain,
    "stdio": _plain,
    "http": _http,
    "socks4": _socks4,
    "socks4a": _socks4a,
    "socks5": _socks5,
    "relay": _relay,
}
