"""Records the cases: a relay between two nodes of the real gost, or the recorder as the client.

The relay ends TLS, WebSocket and Shadowsocks on both sides and notes what is inside; see layers.py.
Ports that differ each time get their names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import gevent

from tests.conformance.node import Node, free_port
from tests.wire_replay.cases import Case
from tests.wire_replay.drives import DRIVES
from tests.wire_replay.exchange import Exchange, Pattern, Step
from tests.wire_replay.layers import stack
from tests.wire_replay.matching import Mismatch, read_smux
from tests.wire_replay.replay import command
from tests.wire_replay.shadow import packets

__all__ = ["record"]

START = 10.0
QUIET = 0.3
TIMEOUT = 5.0
_SMUX = re.compile(rb"[\x01\x02][\x00\x02\x04]..[\x03]\x00\x00\x00", re.DOTALL)


def record(case: Case, gost: str, targets: dict[str, int], folder: Path) -> Exchange:
    """Play a case with the real gost; returns the exchange with its steps."""
    with contextlib.ExitStack() as ending:
        recording = _Recording(case, gost, targets, folder, ending)
        recording.play()
        return recording.exchange()


class _Recording:
    def __init__(
        self,
        case: Case,
        gost: str,
        targets: dict[str, int],
        folder: Path,
        ending: contextlib.ExitStack,
    ) -> None:
        self._case = case
        self._gost = gost
        self._folder = folder
        self._ending = ending
        self._ports = {**targets, "server": free_port(), "entry": free_port()}
        self._notes: list[tuple[str, str, bytes]] = []
        self._bound: set[int] = set()
        self._server: Node | None = None
        names = case.exchange.layers
        self._layers = tuple(name for name in names if not name.startswith("ssu "))
        self._secret = next((name[4:] for name in names if name.startswith("ssu ")), "")

    def play(self) -> None:
        exchange = self._case.exchange
        upstream = self._ports[exchange.target]
        if exchange.server:
            self._server = self._start(exchange.server, self._ports)
            upstream = self._ports["server"]
            _wait_listening(upstream)
        if self._case.script:
            self._speak(upstream)
            return
        relay = {**self._ports, "server": free_port()}
        self._relay(relay["server"], upstream)
        self._ports["relay"] = relay["server"]
        self._start(exchange.client, relay)
        _wait_listening(self._ports["entry"])
        DRIVES[exchange.drive](self._ports)
        gevent.sleep(QUIET)

    def _start(self, given: Any, ports: dict[str, int]) -> Node:
        arguments = command(given, ports, self._folder)
        node = Node("gost", [self._gost, *arguments], self._folder)
        self._ending.callback(node.stop)
        return node

    def exchange(self) -> Exchange:
        exchange = self._case.exchange
        ports = [(name, port) for name, port in self._ports.items() if name != "relay"]
        if "relay" in self._ports:
            ports.append(("server", self._ports["relay"]))
        if self._case.bound:
            ports += [("bound", port) for port in self._bound]
        steps: list[Step] = []
        sides = {"client": b"", "server": b""}
        for side, kind, data in self._merged():
            pattern = Pattern.of(data, ports)
            steps.append(Step(side, kind, pattern))
            sides[side] += data if kind == "bytes" else b""
        mux = {side: _mux_start(data) for side, data in sides.items()} if self._case.muxed else {}
        return dataclasses.replace(exchange, steps=tuple(steps), mux=mux)

    def _merged(self) -> list[tuple[str, str, bytes]]:
        """Neighbours of one side as one; ends only where the recorder asked for them."""
        found: list[tuple[str, str, bytes]] = []
        for side, kind, data in self._notes:
            if found and kind == "bytes" and found[-1][:2] == (side, kind):
                found[-1] = (side, kind, found[-1][2] + data)
            else:
                found.append((side, kind, data))
        return found

    def _note(self, side: str, kind: str, data: bytes) -> None:
        self._notes.append((side, kind, data))
        if self._server is not None and self._case.bound:
            self._bound |= _udp_ports(self._server.process.pid)

    # -- between two nodes -----------------------------------------------------------------------

    def _relay(self, port: int, upstream: int) -> None:
        listener = self._ending.enter_context(socket.create_server(("127.0.0.1", port)))
        self._own(gevent.spawn(self._accept, listener, upstream))
        datagrams = self._ending.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", port))
        self._own(gevent.spawn(self._pass_datagrams, datagrams, upstream))

    def _own(self, task: gevent.Greenlet) -> None:
        self._ending.callback(task.kill)

    def _accept(self, listener: socket.socket, upstream: int) -> None:
        while True:
            sock, _ = listener.accept()
            self._own(gevent.spawn(self._pass_on, sock, upstream))

    def _pass_on(self, sock: socket.socket, upstream: int) -> None:
        try:
            front = stack(self._layers, sock, "server")
        except ssl.SSLEOFError:  # gost's http2 dialer makes a conn first that it does not use
            sock.close()
            return
        back = stack(self._layers, socket.create_connection(("127.0.0.1", upstream)), "client")

        def forth() -> None:
            while data := front.read():
                self._note("client", "bytes", data)
                back.write(data)
            back.close()

        def fro() -> None:
            while data := back.read():
                front.write(self._diverted(data))
            front.close()

        self._own(gevent.spawn(forth))
        self._own(gevent.spawn(fro))

    def _diverted(self, data: bytes) -> bytes:
        """Notes; and puts a datagram relay between when a port for datagrams is told."""
        self._note("server", "bytes", data)
        if "relay=udp" not in str(self._case.exchange.client):
            return data
        if not (data.startswith(b"\x05\0\0\x01") and len(data) == 10):
            return data
        bound = int.from_bytes(data[-2:], "big")
        relay = self._ending.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        relay.bind(("127.0.0.1", 0))
        self._own(gevent.spawn(self._pass_datagrams, relay, bound))
        return data[:-2] + relay.getsockname()[1].to_bytes(2, "big")

    def _pass_datagrams(self, front: socket.socket, upstream: int) -> None:
        back = self._ending.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        back.connect(("127.0.0.1", upstream))
        server, client = packets(self._secret, "server"), packets(self._secret, "client")
        peer: list[Any] = []

        def fro() -> None:
            while True:
                data = back.recv(65535)
                if not peer:
                    continue
                packet = client.open(data)
                self._note("server", "datagram", packet)
                front.sendto(server.seal(packet), peer[0])

        self._own(gevent.spawn(fro))
        while True:
            data, address = front.recvfrom(65535)
            peer[:] = [address]
            packet = server.open(data)
            self._note("client", "datagram", packet)
            back.send(client.seal(packet))

    # -- the recorder as the client --------------------------------------------------------------

    def _speak(self, port: int) -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self._ending.callback(sock.close)
        datagrams = self._ending.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.settimeout(TIMEOUT)
        last = b""
        driven = None
        for words in self._case.script:
            verb, _, text = words.partition(" ")
            data = Pattern.parse(text).fill(self._ports)
            if verb == ">":
                self._note("client", "bytes", data)
                sock.sendall(data)
            elif verb in ("<", "<end"):
                last = self._listen(sock, ends=verb == "<end")
            elif verb == ">udp":
                datagrams.connect(("127.0.0.1", int.from_bytes(last[-2:], "big")))
                self._note("client", "datagram", data)
                datagrams.send(data)
            elif verb == "<udp":
                self._note("server", "datagram", datagrams.recv(65535))
            else:
                driven = gevent.spawn(DRIVES[verb[1:]], self._ports)
                self._own(driven)
        if driven is not None:
            driven.get(timeout=TIMEOUT)

    def _listen(self, sock: socket.socket, *, ends: bool) -> bytes:
        last = b""
        sock.settimeout(TIMEOUT)
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                data = b""
            except TimeoutError:
                if ends:
                    raise
                return last
            if not data:
                self._note("server", "end", b"")
                return last
            self._note("server", "bytes", data)
            last = data
            sock.settimeout(TIMEOUT if ends else QUIET)


def _mux_start(data: bytes) -> int:
    """Where smux begins. Raises Mismatch: nowhere."""
    for match in _SMUX.finditer(data):
        with contextlib.suppress(Mismatch):
            if not read_smux(data[match.start() :]).rest:
                return match.start()
    raise Mismatch(f"no smux in {data!r}")


def _wait_listening(port: int) -> None:
    """Until something listens on a port, without connecting to it. Linux only."""
    end = time.monotonic() + START
    wanted = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 (0A|07) ", re.MULTILINE)
    while time.monotonic() < end:
        for name in ("tcp", "tcp6", "udp", "udp6"):
            if wanted.search(Path(f"/proc/net/{name}").read_text(encoding="ascii")):
                return
        gevent.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


def _udp_ports(pid: int) -> set[int]:
    """UDP ports that a process has bound. Linux only."""
    inodes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(path).removeprefix("socket:[").rstrip("]"))
    found = set()
    for name in ("udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[9] in inodes:
                found.add(int(words[1].rpartition(":")[2], 16))
    return found
