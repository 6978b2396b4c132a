"""The servers behind the proxies. They run in the suite's own process, on green threads."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import struct
from functools import partial
from typing import Any

import gevent
from gevent.server import DatagramServer, StreamServer

from tests.conformance.clients import read_exact
from tests.conformance.web import serve_http, serve_tls, tls_context

__all__ = ["BANNER", "BULK", "Targets", "bulk_bytes"]

BANNER = b"220 the server speaks first\r\n"
BULK = 3 * 1024 * 1024


def bulk_bytes(seed: int, size: int = BULK) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


class Targets:
    """echo   returns what it gets, until the end of stream
    bulk   LEN(8) | data in; digest(32) | LEN(8) | data out
    half   reads to the end of stream, then answers with a digest
    banner speaks first, then echoes
    denied another echo, for bypasses
    source reads a PROXY header, answers ADDRESS:PORT of the client in it and a newline, then echoes
    web, web2  HTTP origins, see web.py
    tls    TLS: answers the server name that was asked for and a newline, then echoes
    udp    returns datagrams
    refused  an address where nobody listens
    """

    def __init__(self) -> None:
        self._servers: list[Any] = []
        self.addresses: dict[str, str] = {}
        handlers = {
            "echo": self._echo,
            "denied": self._echo,
            "bulk": self._bulk,
            "half": self._half,
            "banner": self._banner,
            "source": self._source,
            "web": partial(serve_http, "web"),
            "web2": partial(serve_http, "web2"),
            "tls": partial(serve_tls, tls_context()),
        }
        for name, handle in handlers.items():
            server = StreamServer(("127.0.0.1", 0), handle, backlog=1024)
            server.start()
            self._servers.append(server)
            self.addresses[name] = f"127.0.0.1:{server.server_port}"
        udp = DatagramServer("127.0.0.1:0", lambda data, address: udp.sendto(data, address))
        udp.start()
        self._servers.append(udp)
        self.addresses["udp"] = f"127.0.0.1:{udp.server_port}"
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))  # bound, never listening: refuses
        self.addresses["refused"] = f"127.0.0.1:{self._closed.getsockname()[1]}"

    def close(self) -> None:
        for server in self._servers:
            server.stop(timeout=1)
        self._closed.close()

    @staticmethod
    def _echo(sock: socket.socket, _: Any) -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    @staticmethod
    def _bulk(sock: socket.socket, _: Any) -> None:
        with contextlib.suppress(OSError, struct.error):
            stream = sock.makefile("rb")
            (size,) = struct.unpack("!Q", stream.read(8))
            digest = hashlib.sha256()
            sender = gevent.spawn(_send_bulk, sock)
            while size:
                data = stream.read(min(size, 65536))
                if not data:
                    return
                size -= len(data)
                digest.update(data)
            sender.join()
            sock.sendall(digest.digest())
            stream.read(1)

    @staticmethod
    def _half(sock: socket.socket, _: Any) -> None:
        with contextlib.suppress(OSError):
            digest = hashlib.sha256()
            while data := sock.recv(65536):
                digest.update(data)
            sock.sendall(digest.digest())

    @staticmethod
    def _banner(sock: socket.socket, peer: Any) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(BANNER)
            Targets._echo(sock, peer)

    @staticmethod
    def _source(sock: socket.socket, peer: Any) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(_read_proxy_header(sock) + b"\n")
            Targets._echo(sock, peer)


def _read_proxy_header(sock: socket.socket) -> bytes:
    """Version 1 or 2; returns ADDRESS:PORT of the client."""
    head = read_exact(sock, 12)
    if head == b"\r\n\r\n\0\r\nQUIT\n":
        (size,) = struct.unpack("!2xH", read_exact(sock, 4))
        body = read_exact(sock, size)
        host, port = socket.inet_ntoa(body[:4]), struct.unpack("!H", body[8:10])[0]
        return f"{host}:{port}".encode()
    while not head.endswith(b"\r\n"):
        head += read_exact(sock, 1)
    words = head.split()
    return words[2] + b":" + words[4]


def _send_bulk(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(bulk_bytes(1))
