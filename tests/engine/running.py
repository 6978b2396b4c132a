"""Nodes started from a configuration text in this process, and the peers that tests play.

``Stage`` starts nodes and target servers and ends all of them; the fixture ``stage`` gives one.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet

from compat.run import Node
from compat.settings import load_settings

TIMEOUT = 5.0
"""Seconds that a test waits for an answer before it fails."""


class Running:
    """A node with its configuration file and its log."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self.log_path = path.with_suffix(".log")
        self.environment = environment
        settings = load_settings(["-C", str(path)], environment)
        self.node = Node(settings, environment)

    def address(self, name: str) -> tuple[str, int]:
        """Where a service listens."""
        return self.node.world.runtime.services[name].listener.address[:2]

    def port(self, name: str) -> int:
        return self.address(name)[1]

    def rewrite(self, text: str) -> None:
        self.path.write_text(with_log(text, self.log_path))

    def log(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def messages(self, *levels: str) -> list[str]:
        return [line["msg"] for line in self.log() if not levels or line["level"] in levels]


def with_log(text: str, path: Path) -> str:
    return text if "\nlog:" in text else f"{text}\nlog: {{output: {path}, level: debug}}\n"


class Stage:
    """Everything that one test started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._nodes: list[Running] = []
        self._closing: list[Callable[[], Any]] = []

    def run(self, text: str, *, strict: bool = False, start: bool = True) -> Running:
        """A node that serves this configuration."""
        path = self.folder / f"node-{len(self._nodes)}.yml"
        path.write_text(with_log(text, path.with_suffix(".log")))
        running = Running(path, {"GOSTPY_COMPAT": "strict"} if strict else {})
        self._nodes.append(running)
        if start:
            running.node.start()
        return running

    def serve(self, handle: Callable[[socket.socket], Any]) -> int:
        """A TCP server on a port of its own; ``handle`` runs in a green thread per conn."""
        server = socket.create_server(("127.0.0.1", 0))
        loop = gevent.spawn(_accept, server, handle)
        self._closing += [server.close, lambda: loop.kill(block=False)]
        return server.getsockname()[1]

    def greeter(self, word: str) -> int:
        """A server that says ``word`` and ends."""
        return self.serve(lambda sock: sock.sendall(word.encode()))

    def echo(self) -> int:
        """A server that returns what it gets."""
        return self.serve(echo)

    def dead_port(self) -> int:
        """A port on which nobody listens; it stays reserved."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self._closing.append(sock.close)
        return sock.getsockname()[1]

    def later(self, close: Callable[[], Any]) -> None:
        self._closing.append(close)

    def close(self) -> None:
        for running in self._nodes:
            running.node.close()
        for close in self._closing:
            with contextlib.suppress(OSError):
                close()


def _accept(server: socket.socket, handle: Callable[[socket.socket], Any]) -> None:
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        Greenlet.spawn(_handle, sock, handle)


def _handle(sock: socket.socket, handle: Callable[[socket.socket], Any]) -> None:
    with sock, contextlib.suppress(OSError):
        sock.settimeout(30)
        handle(sock)


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def free_port() -> int:
    """A port that is free now, outside of the range from which the system gives ports away."""
    while True:
        port = random.randrange(12000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def dial(address: int | tuple[str, int]) -> socket.socket:
    if isinstance(address, int):
        address = ("127.0.0.1", address)
    sock = socket.create_connection(address, TIMEOUT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end; a reset is an end, too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def read_exact(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError(f"end of stream after {data!r}")
        data += piece
    return data


def fetch(address: int | tuple[str, int]) -> str:
    """What a service says by itself before it ends."""
    with dial(address) as sock:
        return read_all(sock).decode()


def socks(proxy: int, host: str, port: int, *, user: str = "") -> socket.socket:
    """A conn through a SOCKS 5 proxy. Raises ConnectionError with the reply code."""
    sock = dial(proxy)
    sock.sendall(b"\x05\x02\x00\x02" if user else b"\x05\x01\x00")
    method = read_exact(sock, 2)[1]
    if method == 255:
        raise ConnectionError("method refused")
    if method == 2:
        name, _, password = user.partition(":")
        fields = [bytes([len(text)]) + text.encode() for text in (name, password)]
        sock.sendall(b"\x01" + b"".join(fields))
        if read_exact(sock, 2)[1]:
            raise ConnectionError("login refused")
    sock.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + struct.pack(">H", port))
    reply = read_exact(sock, 4)
    if reply[1]:
        raise ConnectionError(f"reply {reply[1]}")
    size = {1: 4, 4: 16}.get(reply[3])
    read_exact(sock, (size if size is not None else read_exact(sock, 1)[0]) + 2)
    return sock


def ask(proxy: int, host: str, port: int, *, user: str = "") -> str:
    """What the target says, or why the proxy refused."""
    try:
        with socks(proxy, host, port, user=user) as sock:
            return read_all(sock).decode()
    except (EOFError, ConnectionError) as error:
        return str(error) if str(error).startswith("reply") else f"refused: {error}"


def eventually(condition: Callable[[], Any], seconds: float = TIMEOUT) -> Any:
    """Wait for something that has no event: the condition's first true value."""
    with gevent.Timeout(seconds, AssertionError(f"not within {seconds} s")):
        while not (value := condition()):
            gevent.sleep(0.005)
        return value
