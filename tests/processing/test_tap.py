"""The tap handler, both sides, on a played device and real UDP sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError, ProtocolError
from gostpy.interfaces import Credentials, Request
from gostpy.net.packet import dial_udp
from gostpy.processing import tap
from gostpy.processing.context import HandlerContext
from gostpy.wire.shadowsocks.methods import secret
from tests.channel.fakes import SilentLog
from tests.processing.playeddevice import PlayedDevice, eventually, udp_socket

ALL = b"\xff" * 6
GROUP = b"\x33\x33\0\0\0\1"
HERE, ONE, TWO = (bytes([2, 0, 0, 0, 0, number]) for number in range(3))


def frame(target: bytes, source: bytes, text: bytes = b"") -> bytes:
    return target + source + b"\x08\0" + text


class Router:
    def dial(self, request: Request) -> Any:
        return dial_udp(request.address)


@contextlib.contextmanager
def switching(
    device: PlayedDevice, monkeypatch: pytest.MonkeyPatch, **context: Any
) -> Iterator[tuple[Any, int]]:
    made: list[Any] = []
    original = tap.Switch.__init__

    def keep(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(tap.Switch, "__init__", keep)
    options = tap.HandlerOptions(key=context.pop("key", ""))
    with device.served(tap.Handler, options, router=Router(), **context):
        eventually(lambda: made and device.conn.sink)
        yield made[0], made[0]._packets.info.local[1]


def client(port: int) -> socket.socket:
    sock = udp_socket()
    sock.connect(("127.0.0.1", port))
    return sock


def test_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice(tap=True)
    with switching(device, monkeypatch) as (made, port):
        one, two = client(port), client(port)
        one.send(frame(HERE, ONE, b"a"))
        two.send(frame(HERE, TWO, b"b"))
        assert {device.hears(), device.hears()} == {frame(HERE, ONE, b"a"), frame(HERE, TWO, b"b")}
        one.send(frame(TWO, ONE, b"between clients"))
        assert two.recv(2000) == frame(TWO, ONE, b"between clients")
        device.says(frame(ONE, HERE, b"from here"))
        assert one.recv(2000) == frame(ONE, HERE, b"from here")
        two.send(frame(HERE, ONE, b"moved"))
        assert device.hears() == frame(HERE, ONE, b"moved")
        device.says(frame(ONE, HERE, b"after it"))
        assert two.recv(2000) == frame(ONE, HERE, b"after it")
        device.says(frame(b"\2nobod", HERE))
        assert len(made.stations) == 2


@pytest.mark.parametrize("target", [ALL, GROUP], ids=["broadcast", "multicast"])
def test_flooding(monkeypatch: pytest.MonkeyPatch, target: bytes) -> None:
    device = PlayedDevice(tap=True)
    with switching(device, monkeypatch) as (_, port):
        socks = [client(port) for _ in range(4)]
        for number, sock in enumerate(socks):
            sock.send(frame(HERE, bytes([2, 1, 0, 0, 0, number])))
            sock.send(frame(HERE, bytes([2, 2, 0, 0, 0, number])))  # two stations each
            device.hears(), device.hears()
        device.says(frame(target, HERE, b"to all"))
        assert [sock.recv(2000) for sock in socks] == [frame(target, HERE, b"to all")] * 4
        socks[0].send(frame(target, bytes([2, 1, 0, 0, 0, 0]), b"from one"))
        assert device.hears()[14:] == b"from one"
        assert [sock.recv(2000)[14:] for sock in socks[1:]] == [b"from one"] * 3
        device.says(frame(target, HERE, b"end"))
        assert [sock.recv(2000)[14:] for sock in socks] == [b"end"] * 4  # one copy of each


def test_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "MOST_STATIONS", 10)
    device = PlayedDevice(tap=True)
    with switching(device, monkeypatch) as (made, port):
        sock = client(port)
        for number in range(50):
            sock.send(frame(HERE, bytes([2, 9, 0, 0, 0, number])))
            device.hears()
        assert len(made.stations) == 10
        sock.send(frame(HERE, ALL))  # no station has such an address
        device.hears()
        assert ALL not in made.stations


def test_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice(tap=True)
    device.conn.admits = lambda _: False
    with switching(device, monkeypatch) as (made, port):
        client(port).send(frame(HERE, ONE))
        assert device.silent() and not made.stations


def test_short_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    device = PlayedDevice(tap=True)
    with switching(device, monkeypatch) as (_, port):
        sock = client(port)
        for size in range(14):
            sock.send(bytes(size))
        sock.send(frame(HERE, ONE))
        assert device.hears() == frame(HERE, ONE)


def hop(sock: socket.socket) -> Any:
    node = SimpleNamespace(address=f"127.0.0.1:{sock.getsockname()[1]}")
    return SimpleNamespace(select=lambda _: node)


def test_client() -> None:
    device, far = PlayedDevice(tap=True), udp_socket()
    with device.served(tap.Handler, tap.HandlerOptions(), router=Router(), hop=hop(far)):
        eventually(lambda: device.conn.sink)
        device.says(frame(ALL, HERE, b"arp"))
        data, peer = far.recvfrom(2000)
        assert data == frame(ALL, HERE, b"arp")
        far.sendto(b"short", peer)
        far.sendto(frame(HERE, ONE, b"answer"), peer)
        assert device.hears() == frame(HERE, ONE, b"answer")


METHODS = ["aes-128-gcm", "AES-256-GCM", "AEAD_CHACHA20_POLY1305", "xchacha20-ietf-poly1305"]


@pytest.mark.parametrize("method", METHODS)
def test_cipher(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Packets as Shadowsocks has them, without an address; others, and copies, are dropped."""
    auth = Credentials(method, "secret")
    device = PlayedDevice(tap=True)
    with switching(device, monkeypatch, auth=auth) as (_, port):
        name = tap._ALIASES.get(method.lower(), method)
        key = secret(name, "secret")
        salt = bytes(range(key.method.salt_size))
        nonce = bytes(key.method.nonce_size)
        sealed = salt + key.session(salt).encrypt(nonce, frame(HERE, ONE, b"hidden"), None)
        sock = client(port)
        sock.send(frame(HERE, ONE, b"in the clear"))
        sock.send(sealed[:-1] + b"!")
        sock.send(sealed)
        sock.send(sealed)
        assert device.hears() == frame(HERE, ONE, b"hidden")
        assert device.silent()
        device.says(frame(ONE, HERE, b"back"))
        reply = sock.recv(2000)
        size = key.method.salt_size
        plain = key.session(reply[:size]).decrypt(nonce, reply[size:], None)
        assert plain == frame(ONE, HERE, b"back")


def handler(**auth: str) -> tap.Handler:
    key = auth.pop("key", "")
    context = HandlerContext("test", SilentLog(), Router(), auth=Credentials(**auth))
    return tap.Handler(tap.HandlerOptions(key=key), context)


@pytest.mark.effect("handler:tap", "key")
def test_key_instead_of_a_password() -> None:
    made = handler(username="aes-128-gcm", password="x", key="0123456789abcdef")
    assert made._secret is not None and made._secret.key == b"0123456789abcdef"


@pytest.mark.parametrize(
    "auth",
    [
        {"username": "rc4", "password": "x"},
        {"username": "2022-blake3-aes-128-gcm", "password": "x"},
        {"username": "aes-128-gcm", "password": "x", "key": "short"},
    ],
)
def test_no_cipher(auth: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        handler(**auth)


@pytest.mark.parametrize("auth", [{}, {"username": "dummy", "password": "x"}, {"username": "x"}])
def test_in_the_clear(auth: dict[str, str]) -> None:
    assert handler(**auth)._secret is None


def test_no_device() -> None:
    tun = PlayedDevice("10.0.0.1/24")
    with pytest.raises(ProtocolError):
        handler().handle(tun.conn)
    tun.conn.close()
    tun.kernel.close()


@given(st.binary(max_size=60))
def test_no_datagram_raises(data: bytes) -> None:
    device = PlayedDevice(tap=True)
    packets = dial_udp("")
    switch = tap.Switch(device.conn, packets)
    switch.outward(data, "127.0.0.1:9")
    switch.inward(data)
    for one in (device.conn, packets, device.kernel):
        one.close()
