"""A client, a router and a server, each in a network namespace of its own; a node on the router.

The client's packets pass the router, whose firewall sends them to the node instead. Sockets of the
test are made inside a namespace and used from outside; nodes are processes in the router's.

          10.7.1.2  client - 10.7.1.1  router  10.7.2.1 - server  10.7.2.2, 10.7.2.3
          fd07:1::2                                        fd07:2::2, fd07:2::3
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent

from gostpy.net.sockopt import in_namespace
from tests.engine.running import eventually

ROOT = Path(__file__).resolve().parents[2]

ROUTER = {4: "10.7.2.1", 6: "fd07:2::1"}
CLIENT = {4: "10.7.1.2", 6: "fd07:1::2"}
SERVER = {4: "10.7.2.2", 6: "fd07:2::2"}
SECOND = {4: "10.7.2.3", 6: "fd07:2::3"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Routing:
    """The three namespaces and what runs in them."""

    def __init__(self) -> None:
        self.client, self.router, self.server = (f"gp{os.getpid()}{end}" for end in "crs")
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._ports: dict[tuple[str, ...], int] = {}
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        for name in self._names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._link(self.client, "1", "2")
        self._link(self.server, "2", "2")
        for address, size in ((SECOND[4], 24), (SECOND[6], 64)):
            run("ip", "-n", self.server, "addr", "add", f"{address}/{size}", "dev", "way", "nodad")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.on_router("sysctl", "-qw", key)
        for family in ("-4", "-6"):  # what TPROXY marks stays on this machine
            self.on_router("ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
            route = ("local", "default", "dev", "lo", "table", "100")
            self.on_router("ip", family, "route", "add", *route)

    @property
    def _names(self) -> tuple[str, str, str]:
        return self.client, self.router, self.server

    def _link(self, name: str, net: str, host: str) -> None:
        """``way`` in the namespace, ``netN`` on the router."""
        near, far = f"net{net}", "way"
        made = ("link", "add", near, "netns", self.router, "type", "veth")
        run("ip", *made, "peer", "name", far, "netns", name)
        for where, device, end in ((self.router, near, "1"), (name, far, host)):
            run("ip", "-n", where, "addr", "add", f"10.7.{net}.{end}/24", "dev", device)
            address = f"fd07:{net}::{end}/64"
            run("ip", "-n", where, "addr", "add", address, "dev", device, "nodad")
            run("ip", "-n", where, "link", "set", device, "up")
        for via in (f"10.7.{net}.1", f"fd07:{net}::1"):
            run("ip", "-n", name, "route", "add", "default", "via", via)

    def on_router(self, *command: str) -> None:
        run("ip", "netns", "exec", self.router, *command)

    @contextlib.contextmanager
    def rule(self, version: int, table: str, *rule: str) -> Iterator[None]:
        """A rule for what comes from the client, in place for a while."""
        tool = "iptables" if version == 4 else "ip6tables"
        line = ("PREROUTING", "-i", "net1", *rule)
        self.on_router(tool, "-w", "-t", table, "-A", *line)
        try:
            yield
        finally:
            self.on_router(tool, "-w", "-t", table, "-D", *line)

    def redirect(self, version: int, port: int) -> Any:
        """NAT all TCP of the client to ``port``."""
        target = ("-p", "tcp", "-j", "REDIRECT", "--to-ports", str(port))
        return self.rule(version, "nat", *target)

    def tproxy(self, version: int, protocol: str, port: int) -> Any:
        """Hand all packets of the client to the socket on ``port``."""
        target = ("-j", "TPROXY", "--on-port", str(port), "--tproxy-mark", "1")
        return self.rule(version, "mangle", "-p", protocol, *target)

    # -- sockets of the test -----------------------------------------------------------------------

    def socket(self, name: str, version: int, kind: int) -> socket.socket:
        with in_namespace(name):
            sock = socket.socket(FAMILY[version], kind)
        sock.settimeout(5)
        return sock

    def dial(self, host: str, port: int) -> socket.socket:
        """A conn of the client."""
        sock = self.socket(self.client, 6 if ":" in host else 4, socket.SOCK_STREAM)
        try:
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def serve(self, port: int) -> list[socket.socket]:
        """Servers that say which of their addresses was reached by whom, then echo; a request of
        HTTP gets that as a page."""
        servers = []
        for version in (4, 6):
            for host in (SERVER[version], SECOND[version]):
                sock = self.socket(self.server, version, socket.SOCK_STREAM)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.settimeout(None)
                sock.bind((host, port))
                sock.listen()
                gevent.spawn(_accept, sock)
                servers.append(sock)
        return servers

    def serve_datagrams(self, port: int) -> list[socket.socket]:
        """The same for datagrams: ``reached peer data`` comes back for each."""
        servers = []
        for version in (4, 6):
            sock = self.socket(self.server, version, socket.SOCK_DGRAM)
            sock.settimeout(None)
            sock.bind((SERVER[version], port))
            gevent.spawn(_answer, sock)
            servers.append(sock)
        return servers

    # -- nodes -------------------------------------------------------------------------------------

    def node(
        self, program: list[str], config: str, protocol: str, folder: Path, where: str = ""
    ) -> int:
        """The port of a node on the router; nodes with one configuration are one node.

        Args:
            config: has ``{port}`` where the port belongs.
            where: another namespace than the router's.
        """
        where = where or self.router
        key = (where, *program, config)
        if key not in self._ports:
            port = self._ports[key] = 12000 + len(self._ports)
            path = folder / f"{port}.yml"
            path.write_text(config.replace("{port}", str(port)))
            with path.with_suffix(".log").open("wb") as log:
                command = ["ip", "netns", "exec", where, *program, "-C", str(path)]
                made = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            self._nodes.append(made)
            self._listening(where, protocol, port)
        return self._ports[key]

    def _listening(self, where: str, protocol: str, port: int) -> None:
        """Wait until somebody there has the port."""
        command = ["ip", "netns", "exec", where, "ss", "-Hln", f"-{protocol[0]}"]
        command += ["sport", "=", f":{port}"]

        def bound() -> bytes:
            return subprocess.run(command, check=True, capture_output=True).stdout

        eventually(bound, 20)

    def close(self) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            node.wait(10)
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def gostpy_program() -> list[str]:
    return [sys.executable, "-m", "gostpy"]


def _accept(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            gevent.spawn(_echo, server.accept()[0])


def _echo(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):
        reached, peer = sock.getsockname()[0], sock.getpeername()[0]
        first, line = sock.recv(65536), f"{reached} {peer}\n".encode()
        if first.startswith(b"GET"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(line) + line)
            return
        sock.sendall(line + first)
        while data := sock.recv(65536):
            sock.sendall(data)


def _answer(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, peer = server.recvfrom(65535)
            server.sendto(f"{peer[0]} ".encode() + data, peer)
