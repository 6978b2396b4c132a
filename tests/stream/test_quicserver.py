"""The serving side of QUIC against peers that cannot be trusted."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
import pytest

from gostpy.net.conn import ConnInfo
from gostpy.net.packet import PacketConn
from gostpy.observe.log import silent
from gostpy.stream import quicserver
from gostpy.stream.quic import QuicSettings
from gostpy.stream.quiccore import CONNECTION_WINDOW
from gostpy.stream.quicfast import FastCore
from gostpy.stream.quicserver import QuicServer
from gostpy.stream.quictls import QuicTLS
from tests.channel.quicends import Ends
from tests.engine.running import eventually
from tests.lossy import Lossy

pytestmark = pytest.mark.timeout(60)

SERVER = QuicTLS(None, server=True, alpn=("h3", "quic/v1"))
CLIENT = QuicTLS(None, server=False, alpn=("h3", "quic/v1"))


class Packets(PacketConn):
    """Counts what is sent to whom; the test plays the network."""

    on_hub = True

    def __init__(self) -> None:
        super().__init__(ConnInfo(local=("192.0.2.1", 443)))
        self.sent: Counter[str] = Counter()
        self.last: dict[str, list[bytes]] = {}

    def start(self, sink: Any) -> None:
        self.sink = sink

    def send_batch(self, datagrams: Sequence[bytes], address: str) -> None:
        self.sent[address] += sum(map(len, datagrams))
        self.last.setdefault(address, []).extend(datagrams)


class Scene:
    def __init__(self, **settings: Any) -> None:
        self.packets = Packets()
        self.accepted: list[Any] = []
        self.server = QuicServer(
            self.packets, SERVER, QuicSettings(**settings), self.accepted.append, silent()
        )
        self.server.start()

    def give(self, data: bytes, address: str) -> None:
        self.server.datagram(data, address)

    def close(self) -> None:
        for quic in list(self.server._ids):
            quic.close(True)
        self.server.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene(handshake_timeout=30.0)
    yield made
    made.close()


def client() -> tuple[FastCore, bytes]:
    """A client and its first datagram."""
    core = FastCore(CLIENT.for_name(""), 100, lambda: None, CLIENT.prepare)
    core.connect("192.0.2.1:443", time.monotonic())
    return core, core.datagrams_to_send(time.monotonic())[0][0]


def settle() -> None:
    for _ in range(3):
        gevent.sleep(0)


def test_forged_addresses(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One good first datagram from very many addresses: no answer is larger than three times of
    what came, few connections are kept, and then clients have to return a token."""
    monkeypatch.setattr(quicserver, "RETRY_ABOVE", 12)
    _, first = client()
    firsts = [client()[1] for _ in range(quicserver.RETRY_ABOVE + 10)]
    for number, data in enumerate(firsts):
        scene.give(data, f"198.51.100.{number % 250}:{1000 + number}")
    settle()
    assert len(scene.server) == quicserver.RETRY_ABOVE
    for number, data in enumerate(firsts):
        address = f"198.51.100.{number % 250}:{1000 + number}"
        assert scene.packets.sent[address] <= 3 * len(data)
        if number >= quicserver.RETRY_ABOVE:
            (answer,) = scene.packets.last[address]
            assert answer[0] & 0xF0 == 0xF0, "Retry"
            assert len(answer) < 200
    gc.collect()
    tracemalloc.start()
    for number in range(2000):
        scene.give(first, f"203.0.113.{number % 250}:{number + 1}")
    assert tracemalloc.get_traced_memory()[0] < 4 << 20
    tracemalloc.stop()
    assert len(scene.server) == quicserver.RETRY_ABOVE
    assert not scene.accepted


def test_half_open_connections_take_little_memory(scene: Scene) -> None:
    firsts = [client()[1] for _ in range(16)]
    gc.collect()
    tracemalloc.start()
    for number, data in enumerate(firsts):
        scene.give(data, f"198.51.100.1:{1000 + number}")
    settle()
    each = tracemalloc.get_traced_memory()[0] / len(firsts)
    tracemalloc.stop()
    assert each * quicserver.MOST_HALF_OPEN < 160 << 20
    assert each < 300 << 10


def test_token_of_another_address_is_not_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quicserver, "RETRY_ABOVE", 0)
    core, first = client()
    scene.give(first, "198.51.100.1:1000")
    (retry,) = scene.packets.last["198.51.100.1:1000"]
    core.receive_datagram(retry, "192.0.2.1:443", time.monotonic())
    again = core.datagrams_to_send(time.monotonic())[0][0]
    scene.give(again, "198.51.100.2:1000")
    assert not len(scene.server)
    scene.give(again, "198.51.100.1:1000")
    assert len(scene.server) == 1


def test_other_versions_are_told_ours(scene: Scene) -> None:
    _, first = client()
    other = first[:1] + b"\x0a\x0a\x0a\x0a" + first[5:]
    scene.give(other, "198.51.100.1:1000")
    (answer,) = scene.packets.last["198.51.100.1:1000"]
    assert answer[1:5] == bytes(4)
    assert b"\x00\x00\x00\x01" in answer[5:]
    scene.give(answer + bytes(1200), "198.51.100.1:1000")  # not answered, or two servers play ping
    assert len(scene.packets.last["198.51.100.1:1000"]) == 1


def test_garbage_makes_nothing(scene: Scene) -> None:
    rng = random.Random(3)
    _, first = client()
    for size in (0, 1, 5, 9, 20, 21, 60, 1199, 1200, 1400, 9000):
        for _ in range(30):
            data = rng.randbytes(size)
            scene.give(data, "198.51.100.1:1000")
            scene.give(bytes([rng.choice((0xC0, 0xD0, 0xE0, 0xF0, 0x40))]) + data, "a.test:1")
    for cut in range(1, 1200, 7):
        scene.give(first[:cut], "198.51.100.1:1001")
    scene.give(first[:40] + rng.randbytes(len(first) - 40), "198.51.100.1:1001")
    settle()
    assert not len(scene.server)
    assert scene.packets.sent["198.51.100.1:1001"] == 0


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_damage_on_the_way(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies, cut and changed datagrams of a connection in use, and the handshake's once more."""
    rng = random.Random(4)
    errors: list[Any] = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *e: errors.append(e))
    with Lossy(ends.address, keep=True) as relay:
        session = ends.connect({}, relay.address)
        conn = session.open()
        conn.sendall(bytes(300_000))
        with gevent.Timeout(20):
            assert conn.read_exact(300_000) == bytes(300_000)
        (behind,) = relay._behind.values()
        for data in relay.seen[:200]:
            behind.send(data)
            behind.send(data[: rng.randrange(1, len(data))])
            changed = bytearray(data)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            behind.send(bytes(changed))
            behind.send(data + rng.randbytes(9))
            gevent.sleep(0)
        conn.sendall(b"still here")
        with gevent.Timeout(20):
            assert conn.read_exact(10) == b"still here"
    assert session.alive
    assert not errors
    assert len(ends.sessions) == 1


def _write(session: Any, frames: bytes) -> None:
    """Send frames of the test's making in a packet of a connection in use."""
    core = session.core
    send = core._write_application

    def once(builder: Any, path: Any, now: float) -> None:
        core._write_application = send
        from aioquic.quic.packet import QuicPacketType
        from aioquic.tls import Epoch

        builder.start_packet(QuicPacketType.ONE_RTT, core._cryptos[Epoch.ONE_RTT])
        builder.start_frame(frames[0])
        builder._buffer.push_bytes(frames[1:])

    core._write_application = once
    core._wake()


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param("3f", id="unknown frame"),
        pytest.param("0e 00 7fffffff 41 ff", id="cut stream frame"),
        pytest.param("0e 00 80ffffff 01 ff" + "00" * 30, id="beyond the stream's window"),
        pytest.param("0a 81000000 01 ff" + "00" * 30, id="too many streams"),
        pytest.param("0a 01 01 ff" + "00" * 30, id="a stream of ours that is not open"),
        pytest.param("0b 00 01 61 0b 00 02 6161" + "00" * 30, id="another end of a stream"),
        pytest.param("02 ff", id="cut acknowledgement"),
        pytest.param("02 00 00 00 05", id="negative acknowledgement"),
        pytest.param("04 00 00 80ffffff", id="reset beyond the window"),
        pytest.param("1e", id="handshake done of a client"),
        pytest.param("18 05 09 08" + "11" * 24, id="connection id that retires a later one"),
    ],
)
def test_broken_rules_end_the_connection(
    ends: Ends, frames: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Any] = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *e: errors.append(e))
    other = ends.connect()
    session = ends.connect()
    _write(session, bytes.fromhex(frames))
    eventually(lambda: not session.alive)
    eventually(lambda: sum(each.alive for each in ends.sessions) == 1)
    conn = other.open()
    conn.sendall(b"x")
    with gevent.Timeout(5):
        assert conn.read_exact(1) == b"x"
    assert not errors


def test_gaps_take_no_more_than_the_window(ends: Ends) -> None:
    """The last byte of every window: what lies before it is held for, but not without limit."""
    session = ends.connect()
    gc.collect()
    tracemalloc.start()
    core = session.core
    streams = 0
    while streams < 60:
        stream_id = core.open_stream()
        stream = core._streams[stream_id]
        limit = min(stream.max_stream_data_remote, 512 << 10)
        if core._remote_max_data - core._remote_max_data_used < limit:
            break
        offset = (limit - 1 | 0x80000000).to_bytes(4, "big")
        core._remote_max_data_used += limit
        _write(session, b"\x0e" + (stream_id | 0x4000).to_bytes(2, "big") + offset + b"\x01x")
        streams += 1
        gevent.sleep(0.002)
    assert streams >= 15
    there = eventually(lambda: ends.sessions)[0].core
    eventually(lambda: there.unread >= streams * (256 << 10))
    assert there.unread <= CONNECTION_WINDOW
    assert tracemalloc.get_traced_memory()[0] < 16 << 20
    tracemalloc.stop()
