"""Independent programs around nodes of this process, an origin, and what was carried between them.

A program that is not installed skips its test with its name; ``scripts/test -rs`` lists these.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gevent
import pytest

from compat.run import Node
from compat.settings import load_settings

BLOB = bytes(range(256)) * 4096
LIMIT = 15.0


def program(name: str) -> str:
    """The path of a program; skips the test without it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"needs {name}")
    return found


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Origin(BaseHTTPRequestHandler):
    """GET answers with BLOB, POST with the hash of what was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(BLOB)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(hashlib.sha256(body).hexdigest().encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Stage:
    """Everything that one test started, and how it is used."""

    def __init__(self, folder: Path, origin: int) -> None:
        self.folder = folder
        self.origin = origin
        self._nodes: list[Node] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._sockets: list[socket.socket] = []

    def node(self, *arguments: str) -> int:
        """Start a node in this process; the port of its first service."""
        environment = {"GOST_LOGGER_LEVEL": "fatal"}
        node = Node(load_settings(list(arguments), environment), environment)
        node.start()
        self._nodes.append(node)
        assert node.world is not None
        service = next(iter(node.world.runtime.services.values()))
        return int(service.address.rpartition(":")[2])

    def start(self, *words: str, port: int = 0) -> subprocess.Popen[bytes]:
        """Start a program and wait until its TCP port is open."""
        with open(self.folder / f"{Path(words[0]).name}.log", "ab") as log:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._programs.append(process)
        with gevent.Timeout(LIMIT, TimeoutError(f"{words[0]} does not listen")):
            while port and not is_open(port):
                assert process.poll() is None, self.log(words[0])
                gevent.sleep(0.02)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{Path(name).name}.log").read_text(errors="replace")

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def certificate(self) -> str:
        """A file with a self-signed certificate and its key."""
        key, cert = self.folder / "key.pem", self.folder / "cert.pem"
        command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(
            [*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
        )
        return self.file("both.pem", cert.read_text() + key.read_text())

    # -- what must come through ------------------------------------------------------------------

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """curl without the user's own settings."""
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return subprocess.run(
            [program("curl"), "-q", "-sS", "--max-time", str(int(LIMIT)), *arguments],
            capture_output=True,
            env=environment,
            check=False,
            timeout=2 * LIMIT,
        )

    def check(self, *arguments: str, host: str = "127.0.0.1", port: int = 0) -> None:
        """Fetch a megabyte and send one, by these settings of curl."""
        url = f"http://{host}:{port or self.origin}/"
        done = self.curl(*arguments, url)
        assert done.returncode == 0, done.stderr.decode()
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(BLOB).digest()
        sent = self.folder / "sent"
        sent.write_bytes(BLOB)
        done = self.curl(*arguments, "--data-binary", f"@{sent}", "-H", "Expect:", url)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode() == hashlib.sha256(BLOB).hexdigest()

    def udp_echo(self) -> int:
        """Port of a server that returns datagrams."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        self._sockets.append(sock)

        def serve() -> None:
            while True:
                try:
                    data, peer = sock.recvfrom(65536)
                    sock.sendto(data, peer)
                except OSError:
                    return

        gevent.spawn(serve)
        return int(sock.getsockname()[1])

    def tcp_echo(self) -> int:
        """Port of a server that returns what it gets."""
        server = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(server)

        def echo(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                while data := sock.recv(65536):
                    sock.sendall(data)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    gevent.spawn(echo, server.accept()[0])

        gevent.spawn(serve)
        return int(server.getsockname()[1])

    def check_udp(self, port: int) -> None:
        """Datagrams of several sizes come back; one that is lost on the way is sent again."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", port))
            for size in (1, 200, 1300):
                data = BLOB[:size]
                for attempt in range(3):
                    sock.send(data)
                    try:
                        assert sock.recv(65536) == data
                        break
                    except (TimeoutError, ConnectionRefusedError):
                        assert attempt < 2, f"no answer to {size} bytes"

    def close(self) -> None:
        for process in self._programs:
            process.kill()
            process.wait()
        for node in self._nodes:
            node.close()
        for sock in self._sockets:
            sock.close()


def is_open(port: int) -> bool:
    with closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def serve_origin() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Origin)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()
