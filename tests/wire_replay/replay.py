"""Replays an exchange against a gostpy that runs in this process, in either role.

The other role is played from the record: its bytes are sent in their order, and each is sent only
after all that was recorded before it has come from gostpy. gostpy may send earlier and in other
pieces than gost did.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from compat.run import Node
from compat.settings import load_settings
from tests.conformance.node import free_port
from tests.wire_replay.drives import DRIVES
from tests.wire_replay.exchange import Exchange, Pattern, Step
from tests.wire_replay.layers import Layer, stack
from tests.wire_replay.matching import Mismatch, compare, holes
from tests.wire_replay.shadow import packets

__all__ = ["as_client", "as_server", "command"]

TIMEOUT = 5.0
OTHER = {"client": "server", "server": "client"}
VISITOR = 40404  # the port of a peer that exists in the record only


def command(given: Any, ports: dict[str, int], folder: Path) -> list[str]:
    """The arguments of a recorded node, with its config written to the folder."""
    places = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    places["folder"] = str(folder)
    if isinstance(given, dict):
        path = folder / "node.yml"
        path.write_text(_placed(given["config"], places), encoding="utf-8")
        return ["-C", str(path)]
    return [_placed(item, places) for item in given]


def _placed(text: str, places: dict[str, str]) -> str:
    for name, address in places.items():
        text = text.replace("{" + name + "}", address)
    return text


def as_server(exchange: Exchange, targets: dict[str, int], folder: Path) -> None:
    """gostpy is the server; the record is the client. Raises Mismatch, TimeoutError, OSError."""
    ports = {**targets, "server": free_port(), "entry": free_port()}
    if exchange.drives == "client":
        ports["visitor"] = VISITOR
    with contextlib.ExitStack() as ending:
        ending.enter_context(_running(exchange.server, ports, folder))
        peer = _Peer(exchange, "client", ports)
        ending.callback(peer.close)
        drive = _driven(exchange, "server", ports, ending)
        if not exchange.datagrams:
            address = ("127.0.0.1", ports["server"])
            peer.speak_on(socket.create_connection(address, timeout=TIMEOUT))
        peer.play()
        if drive is not None:
            drive.get(timeout=TIMEOUT)


def as_client(exchange: Exchange, targets: dict[str, int], folder: Path) -> None:
    """gostpy is the client; the record is the server. Raises Mismatch, TimeoutError, OSError."""
    ports = {**targets, "server": free_port(), "entry": free_port()}
    if exchange.drives == "server":
        ports["visitor"] = VISITOR
    with contextlib.ExitStack() as ending:
        peer = _Peer(exchange, "server", ports)
        ending.callback(peer.close)
        peer.bind_datagrams()
        listener = ending.enter_context(socket.create_server(("127.0.0.1", ports["server"])))
        listener.settimeout(TIMEOUT)
        ending.enter_context(_running(exchange.client, ports, folder))
        drive = _driven(exchange, "client", ports, ending)
        if not exchange.datagrams:
            peer.speak_on(listener.accept()[0])
        peer.play()
        if drive is not None:
            drive.get(timeout=TIMEOUT)


@contextlib.contextmanager
def _running(given: Any, ports: dict[str, int], folder: Path) -> Iterator[None]:
    settings = load_settings(command(given, ports, folder), {})
    node = Node(settings, {})
    node.start()
    try:
        yield
    finally:
        node.close()


def _driven(
    exchange: Exchange, role: str, ports: dict[str, int], ending: contextlib.ExitStack
) -> gevent.Greenlet | None:
    if not exchange.drive or exchange.drives != role:
        return None
    drive = gevent.spawn(DRIVES[exchange.drive], ports)
    ending.callback(drive.kill)
    return drive


class _Peer:
    """The recorded side."""

    def __init__(self, exchange: Exchange, role: str, ports: dict[str, int]) -> None:
        self._exchange = exchange
        self._role = role
        self._ports = ports
        self._expected: list[Pattern] = []
        self._came = b""
        self._ended = False
        self._moved = Event()
        self._layer: Layer | None = None
        self._reader: gevent.Greenlet | None = None
        self._sock: socket.socket | None = None
        self._datagrams: socket.socket | None = None
        self._from: tuple[str, int] | None = None
        secret = next((n[4:] for n in exchange.layers if n.startswith("ssu ")), "")
        self._form = packets(secret, role)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.kill()
        if self._layer is not None:
            self._layer.close()
        for sock in (self._sock, self._datagrams):
            if sock is not None:
                sock.close()

    def bind_datagrams(self) -> None:
        """As server: where gostpy's datagrams go, to the server itself or to what it bound."""
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.settimeout(TIMEOUT)
        own = self._ports["server"] if self._exchange.datagrams else 0
        self._datagrams.bind(("127.0.0.1", own))
        self._ports["bound"] = self._datagrams.getsockname()[1]

    def speak_on(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(TIMEOUT)
        layers = tuple(name for name in self._exchange.layers if not name.startswith("ssu "))
        self._layer = stack(layers, sock, self._role)
        self._reader = gevent.spawn(self._read)

    def _read(self) -> None:
        assert self._layer is not None
        while data := self._layer.read():
            self._came += data
            self._moved.set()
        self._ended = True
        self._moved.set()

    def play(self) -> None:
        for step in self._exchange.steps:
            if step.side == self._role:
                self._send(step)
            elif step.kind == "datagram":
                self._expect_datagram(step)
            else:
                self._expect(step)
        size = sum(len(part.expect(self._ports)) for part in self._expected)
        if len(self._came) > size and OTHER[self._role] not in self._exchange.mux:
            raise Mismatch(f"{self._came[size:]!r} came besides")

    def _send(self, step: Step) -> None:
        if step.kind == "datagram":
            self._datagram_socket().sendto(
                self._form.seal(step.pattern.fill(self._ports)), self._datagram_peer()
            )
        elif step.kind == "end":
            assert self._sock is not None
            self._sock.shutdown(socket.SHUT_WR)
        else:
            assert self._layer is not None
            self._layer.write(step.pattern.fill(self._ports))

    # -- what gostpy sends -----------------------------------------------------------------------

    def _expect(self, step: Step) -> None:
        if step.kind == "bytes":
            self._expected.append(step.pattern)
        with gevent.Timeout(TIMEOUT, TimeoutError("timed out")):
            while not self._has_come(step.kind):
                self._moved.clear()
                if self._ended and step.kind != "end":
                    raise Mismatch(f"ended after {self._came!r}, recorded {step.pattern}")
                try:
                    self._moved.wait()
                except TimeoutError:
                    raise Mismatch(f"only {self._came!r} came, recorded {step.pattern}") from None

    def _has_come(self, kind: str) -> bool:
        expected = [byte for part in self._expected for byte in part.expect(self._ports)]
        mux = self._exchange.mux.get(OTHER[self._role])
        complete = compare(expected, self._came, mux)
        if complete and None in expected:
            self._ports["bound"] = holes(expected, self._came) or 0
        if kind == "end":
            return self._ended
        return complete

    def _expect_datagram(self, step: Step) -> None:
        data, self._from = self._datagram_socket().recvfrom(65535)
        expected = step.pattern.expect(self._ports)
        got = self._form.open(data)
        compare(expected, got, None)
        if len(got) != len(expected):
            raise Mismatch(f"a datagram of {len(got)} bytes, recorded {len(expected)}")

    def _datagram_socket(self) -> socket.socket:
        if self._datagrams is None:
            self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._datagrams.settimeout(TIMEOUT)
        return self._datagrams

    def _datagram_peer(self) -> tuple[str, int]:
        if self._from is not None:
            return self._from
        return "127.0.0.1", self._ports["server" if self._exchange.datagrams else "bound"]
