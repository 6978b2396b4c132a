"""Network namespaces for tests: two machines joined by a cable. Needs root, /dev/net/tun and ip.

The nodes run in the test's process (``netns`` of their services) or as processes of their own;
sockets of the test are made inside with ``Machine.socket``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from gostpy.net.sockopt import in_namespace

__all__ = ["Lab", "Machine", "eventually", "lab_or_skip"]

_numbers = itertools.count()
PATIENCE = 15.0


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def eventually(check: Callable[[], Any], what: str) -> Any:
    """Wait until something holds; returns it."""
    with gevent.Timeout(PATIENCE, AssertionError(f"it never happened: {what}")):
        while not (found := check()):
            gevent.sleep(0.02)
    return found


class Machine:
    """One namespace."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> str:
        return ip("-n", self.name, *words)

    def show(self, *words: str) -> Any:
        """What ``ip -j`` says, or None when there is no such thing."""
        try:
            return json.loads(self.ip("-j", *words) or "[]")
        except subprocess.CalledProcessError:
            return None

    def link(self, name: str) -> Any:
        found = self.show("addr", "show", "dev", name)
        return found[0] if found else None

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        with in_namespace(self.name):
            sock = socket.socket(family, kind)
        sock.settimeout(PATIENCE)
        return sock

    def dial(self, host: str, port: int) -> socket.socket:
        sock = self.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.connect((host, port))
        return sock

    def ping(self, host: str, size: int = 56) -> bool:
        command = ["ping", "-c", "1", "-W", "1", "-s", str(size), host]
        return self.run(command).returncode == 0

    def run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command], check=False, capture_output=True
        )

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], **more)

    def give(self, address: str) -> None:
        """One more address of the machine, on lo."""
        self.ip("addr", "add", address, "dev", "lo")


class Lab:
    """Two machines, ``near`` and ``far``, and servers on them."""

    def __init__(self) -> None:
        self._made: list[Machine] = []
        self._threads: list[Any] = []
        self._socks: list[socket.socket] = []
        try:
            self._join()
        except subprocess.CalledProcessError:
            self.close()
            raise

    def _join(self) -> None:
        stem = f"gpy{os.getpid()}x{next(_numbers)}"
        self.near = self._machine(f"{stem}a", "10.200.0.1")
        self.far = self._machine(f"{stem}b", "10.200.0.2")
        ip(
            *("link", "add", "cable", "netns", self.near.name),
            *("type", "veth", "peer", "name", "cable", "netns", self.far.name),
        )
        for machine in self._made:
            machine.ip("addr", "add", f"{machine.address}/24", "dev", "cable")
            machine.ip("link", "set", "cable", "up")

    def _machine(self, name: str, address: str) -> Machine:
        machine = Machine(name, address)
        self._made.append(machine)
        return machine

    def echo(self, machine: Machine, host: str) -> int:
        """A TCP echo server; its port."""
        server = machine.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        server.settimeout(None)
        server.bind((host, 0))
        server.listen(100)
        self._socks.append(server)
        self._threads.append(gevent.spawn(self._accept, server))
        return int(server.getsockname()[1])

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                self._threads.append(gevent.spawn(_echo, sock))

    def udp_echo(self, machine: Machine, host: str) -> int:
        """A UDP server that answers with what it got; its port."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = machine.socket(family, socket.SOCK_DGRAM)
        server.settimeout(None)
        server.bind((host, 0))
        self._socks.append(server)
        self._threads.append(gevent.spawn(_udp_echo, server))
        return int(server.getsockname()[1])

    def close(self) -> None:
        gevent.killall(self._threads)
        for sock in self._socks:
            sock.close()
        for machine in self._made:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", machine.name)


def _echo(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):
        while data := sock.recv(65536):
            sock.sendall(data)


def _udp_echo(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


def lab_or_skip() -> Iterator[Lab]:
    """A lab, or the reason why there is none."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"needs /dev/net/tun: {error.strerror}")
    if not (shutil.which("ip") and shutil.which("ping")):
        pytest.skip("needs the programs ip and ping")
    try:
        made = Lab()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot make network namespaces: {error.stderr.strip()}")
    if made.near.run(["true"]).returncode:
        made.close()
        pytest.skip("cannot run programs in network namespaces")
    yield made
    made.close()
