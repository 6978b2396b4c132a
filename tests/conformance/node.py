"""Running processes of the implementations, and ports for them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import gevent

__all__ = ["ROOT", "Node", "NodeFailed", "free_port"]

ROOT = Path(__file__).resolve().parents[2]
START = 20.0


class NodeFailed(Exception):
    """A node did not come up; has the end of its log."""


class Node:
    """A running process of one implementation."""

    def __init__(
        self, name: str, command: list[str], folder: Path, pipe: socket.socket | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "GODEBUG": "urlstrictcolons=0",
            "HOME": str(folder),
        }
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "GOSTPY_COMPAT"):
            environment.pop(variable, None)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                start_new_session=True,
            )

    def tail(self) -> str:
        """The last complaints of its log, in short."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        said = [text for text in map(_complaint, lines[-200:]) if text]
        return " / ".join(said[-2:])[-200:]

    def wait_for(self, addresses: list[str]) -> None:
        """Until TCP addresses accept and ``udp!`` addresses are bound. Raises NodeFailed."""
        end = time.monotonic() + START
        for address in addresses:
            host, _, port = address.rpartition(":")
            while True:
                if host.startswith("udp!"):
                    if _is_bound(int(port)):
                        break
                else:
                    with (
                        contextlib.suppress(OSError),
                        socket.create_connection((host, int(port)), 1),
                    ):
                        break
                if self.process.poll() is not None or time.monotonic() > end:
                    raise NodeFailed(f"{self.name} did not start: {self.tail()}")
                gevent.sleep(0.02)

    def end(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        self.end()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _is_bound(port: int) -> bool:
    """Whether a UDP socket of this machine has the port."""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            if any(line.split()[1].endswith(f":{port:04X}") for line in lines):
                return True
    return False


def _complaint(line: str) -> str:
    """What a log line complains of; empty for lines of information."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line[-150:]
    if not isinstance(entry, dict) or entry.get("level") not in (
        "warn",
        "warning",
        "error",
        "fatal",
    ):
        return ""
    return f"{entry['level']}: {entry.get('msg', '')}"[:150]


_candidates = itertools.cycle(range(12000 + os.getpid() % 97 * 200, 32000))


def free_port() -> int:
    """A port that is free for TCP and UDP now, below those that the system gives to clients."""
    for port in itertools.islice(_candidates, 5000):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")
