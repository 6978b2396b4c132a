"""The processes of a measurement: nodes of one implementation, and nginx as the origin."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path as FilePath

from tests.bench.paths import Path

__all__ = ["Nodes", "Origin", "free_port", "wait_port"]

ROOT = FilePath(__file__).resolve().parents[2]
BIG = 8 * 1024 * 1024

_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; tcp_nodelay on; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder};
    location /up {{ client_body_buffer_size 16m; proxy_pass http://127.0.0.1:{port}/small; }} }}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_port(port: int, seconds: float = 10.0) -> float:
    """Seconds until the port accepts, or takes datagrams."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        if _bound_udp(port):
            return time.monotonic() - started
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return time.monotonic() - started
        time.sleep(0.005)
    raise TimeoutError(f"nothing listens on port {port}")


def _bound_udp(port: int) -> bool:
    """Whether somebody has a UDP socket on the port."""
    place = f":{port:04X} "
    return any(
        place in line.partition(": ")[2][:40]
        for name in ("/proc/net/udp", "/proc/net/udp6")
        for line in FilePath(name).read_text().splitlines()[1:]
    )


class Origin:
    """nginx with a small and a big file."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.port = free_port()
        where = FilePath(self.folder.name)
        where.chmod(0o755)
        (where / "small").write_bytes(b"hello")
        (where / "big").write_bytes(os.urandom(BIG))
        (where / "nginx.conf").write_text(_NGINX.format(folder=where, port=self.port))
        self.process = subprocess.Popen(
            ["nginx", "-e", "/dev/null", "-c", str(where / "nginx.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_port(self.port)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Nodes:
    """The nodes of one path, all of one implementation."""

    def __init__(self, path: Path, command: list[str], target: str) -> None:
        self.entry = free_port()
        self.server = server = free_port()
        places = {
            "entry": f"127.0.0.1:{self.entry}",
            "server": f"127.0.0.1:{server}",
            "target": target,
        }
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GODEBUG": "urlstrictcolons=0"}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start = 0.0
        for arguments, port in ((path.server, server), (path.client, self.entry)):
            if not arguments:
                continue
            began = time.monotonic()
            self.processes.append(
                subprocess.Popen(
                    command + [argument.format(**places) for argument in arguments],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            wait_port(port)
            self.start = time.monotonic() - began

    def cpu(self) -> float:
        """CPU seconds that the nodes have used."""
        ticks = 0
        for process in self.processes:
            words = FilePath(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident bytes of the nodes."""
        pages = 0
        for process in self.processes:
            pages += int(FilePath(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def gostpy_command() -> list[str]:
    return [sys.executable, "-m", "gostpy"]
