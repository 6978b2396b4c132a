"""The loads: wrk for throughput, a paced client of our own for latency and idle conns."""

from __future__ import annotations

import re
import resource
import socket
import statistics
import subprocess
import tempfile
import time

from tests.bench.nodes import Nodes

__all__ = ["conns", "down", "idle_memory", "latency", "requests", "up"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _wrk(nodes: Nodes, seconds: float, count: int, url: str, *more: str) -> dict[str, float]:
    """Figures of one run: requests and bytes per second. Raises RuntimeError on errors."""
    target = f"http://127.0.0.1:{nodes.entry}/{url.rpartition('/')[2]}"
    arguments = ["wrk", "-t1", f"-c{count}", f"-d{max(round(seconds), 1)}s", *more]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if url.startswith("http"):
            script.write(f'wrk.path = "{url}"\n')
        if "up" in url:
            script.write('wrk.method = "POST"\nwrk.body = string.rep("0123456789abcdef", 524288)\n')
        script.flush()
        done = subprocess.run(
            [*arguments, "-s", script.name, target], capture_output=True, text=True, timeout=120
        )
    text = done.stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", text)
    bytes_rate = re.search(r"Transfer/sec:\s*([\d.]+)([KMG]?)B", text)
    if rate is None or bytes_rate is None:
        raise RuntimeError(f"wrk: {done.stderr or text}")
    return {
        "requests": float(rate[1]),
        "bytes": float(bytes_rate[1]) * _UNITS[bytes_rate[2]],
    }


def down(nodes: Nodes, base: str, seconds: float) -> tuple[float, float]:
    """(bytes per second from the origin, CPU seconds of the nodes per GiB)."""
    cpu = nodes.cpu()
    rate = _wrk(nodes, seconds, 8, base + "big")["bytes"]
    return rate, (nodes.cpu() - cpu) / (rate * seconds / (1 << 30))


def up(nodes: Nodes, base: str, seconds: float) -> float:
    """Bytes per second to the origin."""
    return _wrk(nodes, seconds, 4, base + "up")["requests"] * 16 * 524288


def requests(nodes: Nodes, base: str, seconds: float) -> float:
    """Small requests per second on 50 kept conns."""
    return _wrk(nodes, seconds, 50, base + "small")["requests"]


def conns(nodes: Nodes, base: str, seconds: float) -> float:
    """New conns per second, 50 at a time."""
    return _wrk(nodes, seconds, 50, base + "small", "-H", "Connection: close")["requests"]


def latency(nodes: Nodes, base: str, seconds: float, rate: int = 500) -> tuple[float, float]:
    """(p50, p99) in milliseconds of small requests at a fixed rate, on 10 kept conns in turn."""
    path = base + "small" if base.startswith("http") else "/small"
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    socks = [socket.create_connection(("127.0.0.1", nodes.entry)) for _ in range(10)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(5)
    times = []
    due = time.monotonic()
    try:
        for number in range(int(seconds * rate)):
            due += 1 / rate
            pause = due - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            sock = socks[number % len(socks)]
            began = time.monotonic()
            sock.sendall(request)
            answer = b""
            while not answer.endswith(b"hello"):
                piece = sock.recv(4096)
                if not piece:
                    raise RuntimeError("the connection ended under load")
                answer += piece
            times.append(time.monotonic() - began)
    finally:
        for sock in socks:
            sock.close()
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def idle_memory(nodes: Nodes, base: str, count: int = 500) -> float:
    """Resident bytes of the nodes per conn that has carried one request and waits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    path = base + "small" if base.startswith("http") else "/small"
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    _open(nodes, request, 20)  # what the first conns load once
    before = nodes.memory()
    socks = _open(nodes, request, count, keep=True)
    time.sleep(0.5)
    per_conn = (nodes.memory() - before) / count
    for sock in socks:
        sock.close()
    if per_conn < 256:
        raise RuntimeError("memory did not grow with idle conns")
    return per_conn


def _open(nodes: Nodes, request: bytes, count: int, keep: bool = False) -> list[socket.socket]:
    socks = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", nodes.entry), 5)
        sock.sendall(request)
        answer = b""
        while not answer.endswith(b"hello"):
            piece = sock.recv(4096)
            if not piece:
                raise RuntimeError("the connection ended")
            answer += piece
        socks.append(sock)
    if not keep:
        for sock in socks:
            sock.close()
        return []
    return socks
