"""The relay of datagrams: rules, names, limits, and conns that only work in green threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gostpy.errors import ConnectionClosed, DialFailed
from gostpy.interfaces import Request
from gostpy.net.packet import PacketConn, PacketSink
from gostpy.processing.context import HandlerContext
from gostpy.processing.udprelay import relay_packets
from tests.channel.fakes import SilentLog
from tests.processing.scene import FakeRouter

pytestmark = pytest.mark.timeout(20)


class Side(PacketConn):
    """A packet conn on the hub whose datagrams a test makes and takes."""

    on_hub = True

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[bytes, str]] = []
        self.holds = 0

    def start(self, sink: PacketSink) -> None:
        self.sink = sink

    def pause(self) -> None:
        self.holds += 1

    def resume(self) -> None:
        self.holds -= 1

    def send_now(self, data: bytes, address: str = "") -> float:
        if self.closed:
            raise ConnectionClosed("closed")
        self.sent.append((data, address))
        return 0.0

    def comes(self, data: bytes, address: str) -> None:
        assert self.sink is not None
        self.sink.datagram(data, address)


class Bucket:
    """A meter that lets ``size`` bytes through at a time and says how long to wait."""

    def __init__(self, size: int, delay: float = 0.0) -> None:
        self.size = size
        self.delay = delay
        self.counts = [0, 0]

    def admits(self, size: int, outgoing: bool) -> bool:
        return size <= self.size

    def received(self, size: int) -> float:
        self.counts[0] += size
        return self.delay

    def sent(self, size: int) -> float:
        self.counts[1] += size
        return self.delay


def relayed(
    address: str = "", *, resolve: bool = False, size: int = 0, **context: Any
) -> tuple[Side, Side, SilentLog]:
    client, upstream, log = Side(), Side(), SilentLog()
    made = HandlerContext("test", log, FakeRouter(), **context)
    request = Request("udp", address, source="10.0.0.9:9", client_id="me")
    relay_packets(made, client, upstream, request, resolve=resolve, size=size)
    return client, upstream, log


def settled() -> None:
    """Let green threads that were just started run."""
    for _ in range(5):
        gevent.sleep(0)


def test_both_ways_and_one_line() -> None:
    client, upstream, log = relayed()
    client.comes(b"ask", "1.2.3.4:53")
    upstream.comes(b"answer", "1.2.3.4:53")
    assert (upstream.sent, client.sent) == ([(b"ask", "1.2.3.4:53")], [(b"answer", "1.2.3.4:53")])
    client.close()
    assert upstream.closed
    assert [level for level, _ in log.messages] == ["info"]


def test_names_pass_unless_asked_for() -> None:
    client, upstream, _ = relayed()
    client.comes(b"x", "example.invalid:1")
    assert upstream.sent == [(b"x", "example.invalid:1")]


def test_names_are_resolved_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = Event(), []

    def look_up(host: str, port: int) -> list[tuple[int, Any]]:
        asked.append(host)
        go.wait()
        return [(2, ("192.0.2.1", port))]

    monkeypatch.setattr("gostpy.processing.udprelay.resolve_name", look_up)
    client, upstream, _ = relayed(resolve=True)
    for number in range(5):
        client.comes(b"%d" % number, "name:53")
    client.comes(b"ip", "1.2.3.4:5")
    settled()
    assert upstream.sent == [(b"ip", "1.2.3.4:5")]
    go.set()
    settled()
    client.comes(b"5", "name:53")
    assert upstream.sent[1:] == [(b"%d" % number, "192.0.2.1:53") for number in range(6)]
    assert asked == ["name"]


def test_what_waits_for_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    go = Event()

    def look_up(host: str, port: int) -> list[tuple[int, Any]]:
        go.wait()
        return [(2, ("192.0.2.1", port))]

    monkeypatch.setattr("gostpy.processing.udprelay.resolve_name", look_up)
    client, upstream, _ = relayed(resolve=True)
    for number in range(100):
        for _ in range(200):
            client.comes(b"x", f"name{number}:53")
    go.set()
    settled()
    assert len(upstream.sent) == 16 * 128


def test_name_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str, port: int) -> None:
        raise DialFailed("no such name")

    monkeypatch.setattr("gostpy.processing.udprelay.resolve_name", fail)
    client, upstream, log = relayed(resolve=True)
    for _ in range(3):
        client.comes(b"x", "name:53")
        settled()
    assert not upstream.sent
    assert [level for level, _ in log.messages] == ["warn"]
    assert not client.closed


def forbids(*addresses: str) -> Callable[..., str]:
    return lambda _, address, *__: "rule" if address in addresses else ""


def test_rules_see_names_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gostpy.processing.udprelay.resolve_name", lambda _, port: [(2, ("10.0.0.1", port))]
    )
    client, upstream, _ = relayed(bypassed=forbids("bad:1", "10.0.0.1:2", "9.9.9.9:9"))
    for address in ("bad:1", "name:2", "9.9.9.9:9", "name:3", "8.8.8.8:8"):
        client.comes(b"x", address)
    settled()
    assert upstream.sent == [(b"x", "10.0.0.1:3"), (b"x", "8.8.8.8:8")]
    for address in ("9.9.9.9:9", "8.8.8.8:8"):
        upstream.comes(b"y", address)
    settled()
    assert client.sent == [(b"y", "8.8.8.8:8")]


def test_a_rule_that_breaks_forbids() -> None:
    def broken(*_: str) -> str:
        raise RuntimeError("plugin")

    client, upstream, log = relayed(bypassed=broken)
    client.comes(b"x", "1.2.3.4:5")
    settled()
    assert not upstream.sent
    assert "plugin" in str(log.messages)


def test_rules_were_asked_before_for_a_connected_relay() -> None:
    client, upstream, _ = relayed("1.2.3.4:5", bypassed=forbids("1.2.3.4:5"))
    client.comes(b"x", "")
    assert upstream.sent == [(b"x", "")]


def test_limits() -> None:
    bucket = Bucket(10, 0.001)
    client, upstream, _ = relayed(limit=lambda *_: bucket)
    client.comes(b"x" * 11, "1.2.3.4:5")
    assert not upstream.sent
    client.comes(b"x" * 10, "1.2.3.4:5")
    upstream.comes(b"y" * 11, "1.2.3.4:5")
    upstream.comes(b"y" * 4, "1.2.3.4:5")
    assert (len(upstream.sent), len(client.sent)) == (1, 1)
    assert bucket.counts == [10, 4]
    assert (client.holds, upstream.holds) == (1, 1)
    while client.holds or upstream.holds:
        gevent.sleep(0)


def test_size() -> None:
    client, upstream, _ = relayed(size=4)
    client.comes(b"x" * 9, "1.2.3.4:5")
    upstream.comes(b"y" * 9, "1.2.3.4:5")
    assert upstream.sent == [(b"xxxx", "1.2.3.4:5")]
    assert client.sent == [(b"yyyy", "1.2.3.4:5")]


def test_size_of_strict_mode() -> None:
    client, upstream, _ = relayed(strict=True)
    client.comes(b"x" * 5000, "1.2.3.4:5")
    assert len(upstream.sent[0][0]) == 4096


class Blocking(PacketConn):
    """Works in green threads only."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[bytes, str]] = []
        self.incoming: list[tuple[bytes, str]] = []
        self.ready = Event()

    def recv_from(self) -> tuple[bytes, str]:
        while not self.incoming:
            if self.closed:
                raise ConnectionClosed("closed")
            self.ready.clear()
            self.ready.wait()
        return self.incoming.pop(0)

    def send_to(self, data: bytes, address: str = "") -> None:
        self.sent.append((data, address))

    def _close(self) -> None:
        self.ready.set()


def test_blocking_conns() -> None:
    client, upstream, log = Blocking(), Blocking(), SilentLog()
    context = HandlerContext("test", log, FakeRouter())
    relay_packets(context, client, upstream, Request("udp", ""))
    client.incoming.append((b"ask", "1.2.3.4:5"))
    upstream.incoming.append((b"answer", "1.2.3.4:5"))
    client.ready.set()
    upstream.ready.set()
    settled()
    assert upstream.sent == [(b"ask", "1.2.3.4:5")]
    assert client.sent == [(b"answer", "1.2.3.4:5")]
    upstream.close()
    settled()
    assert client.closed
    assert [level for level, _ in log.messages] == ["info"]
