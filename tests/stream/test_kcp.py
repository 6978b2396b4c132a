"""KCP endpoints against datagrams that gost 3.2.6 sent, with some of them taken out."""

from __future__ import annotations

import random
from pathlib import Path

import gevent
import pytest

from gostpy.net.conn import Conn
from gostpy.net.packet import PacketConn
from gostpy.stream import smux
from gostpy.stream.kcp import KCPEndpoint, SealedPackets, Session, Shards, may_begin
from gostpy.wire.kcp import Settings
from gostpy.wire.kcp.ciphers import packet_cipher
from gostpy.wire.kcp.fec import DATA, FEC_OVERHEAD, kind_of
from gostpy.wire.kcp.segment import HEADER, PUSH
from gostpy.wire.kcp.snappy import SnappyCodec

RECORDED = Path(__file__).resolve().parents[2] / "testdata/kcp/gost-3.2.6.txt"
LINES = [line.split() for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
BLOB = random.Random(11).randbytes(3000)
CHOSEN = Settings(size=212, interval=30, resend=2, congestion=False)

pytestmark = pytest.mark.timeout(20)


def recorded(side: str) -> list[bytes]:
    """Packets of one side, decrypted."""
    cipher = packet_cipher("aes-128", "recorded")
    found = [cipher.open(bytes.fromhex(text)) for who, text in LINES if who == side]
    assert None not in found
    return [packet for packet in found if packet is not None]


class Script(PacketConn):
    """A packet conn whose peer is the recording."""

    on_hub = True

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def start(self, sink) -> None:
        self.sink = sink

    def send_now(self, data, address="") -> float:
        self.sent.append(bytes(data))
        return 0.0

    def feed(self, packets: list[bytes]) -> None:
        for packet in packets:
            self.sink.datagram(packet, "192.0.2.1:1")
        gevent.sleep(0)
        gevent.sleep(0)


def played(packets: list[bytes]) -> bytes:
    """What a listener's first stream gets of these packets."""
    script, streams = Script(), []
    endpoint = KCPEndpoint(script, CHOSEN, Shards(10, 3))
    conn = Conn(endpoint)
    conn.push(SnappyCodec())
    session = Session(conn, smux.Config(), False, streams.append)
    session.start()
    endpoint.begin()
    script.feed(packets)
    assert session.alive, session.error
    got = b""
    if streams:
        while streams[0].endpoint.waiting:
            got += streams[0].recv()
    session.fail(OSError("the test is over"))
    return got


def indexes_of_data(packets: list[bytes]) -> list[int]:
    """Packets with data of the stream that were not sent twice."""
    found = []
    numbers: dict[int, int] = {}
    for packet in packets:
        if kind_of(packet) == DATA:
            number = HEADER.unpack_from(packet, FEC_OVERHEAD)[5]
            numbers[number] = numbers.get(number, 0) + 1
    for index, packet in enumerate(packets):
        if kind_of(packet) == DATA:
            fields = HEADER.unpack_from(packet, FEC_OVERHEAD)
            if fields[1] == PUSH and numbers[fields[5]] == 1:
                found.append(index)
    return found


def test_recording_begins_a_conversation() -> None:
    packets = recorded("client")
    assert may_begin(packets[0])
    assert not any(may_begin(packet) for packet in packets if kind_of(packet) not in (0, DATA))


def test_request_and_data_of_a_client_of_gost() -> None:
    got = played(recorded("client"))
    assert got[:2] == b"\x01\x01"  # relay, connect
    assert got.endswith(BLOB)


def test_a_lost_packet_is_made_from_parity_of_gost() -> None:
    packets = recorded("client")
    parities = [index for index, packet in enumerate(packets) if kind_of(packet) == 0xF2]
    lost = [index for index in indexes_of_data(packets) if 0 < index < parities[-1]]
    assert len(lost) > 10
    for index in lost:
        assert played(packets[:index] + packets[index + 1 :]).endswith(BLOB)


def test_order_and_copies_do_not_matter() -> None:
    packets = recorded("client")
    chance = random.Random(3)
    rest = packets[1:] + chance.sample(packets, 10)
    chance.shuffle(rest)
    assert played([packets[0], *rest]).endswith(BLOB)


def test_server_side_of_the_recording() -> None:
    """Its answers are a conversation of the same number, and end with the data."""
    conv = HEADER.unpack_from(recorded("client")[0], FEC_OVERHEAD)[0]
    packets = recorded("server")
    script = Script()
    endpoint = KCPEndpoint(script, CHOSEN, Shards(10, 3), conv)
    conn = Conn(endpoint)
    conn.push(SnappyCodec())
    endpoint.begin()
    script.feed(packets)
    got = b""
    while endpoint.waiting:
        got += conn.recv()
    assert len(got) > len(BLOB)
    conn.close(True)


def test_packets_of_another_key_do_not_pass() -> None:
    script = Script()
    sealed = SealedPackets(script, packet_cipher("aes-128", "another"))
    endpoint = KCPEndpoint(sealed, CHOSEN, Shards())
    Conn(endpoint)
    endpoint.begin()
    script.feed([bytes.fromhex(text) for who, text in LINES if who == "client"])
    assert not script.sent
    assert not endpoint.proved


def test_tick_of_an_endpoint_that_is_idle_does_not_run() -> None:
    script = Script()
    endpoint = KCPEndpoint(script, CHOSEN, Shards(), 5)
    conn = Conn(endpoint)
    endpoint.begin()
    conn.write(b"x")
    assert endpoint._timer is not None
    number = HEADER.unpack_from(script.sent[0])[5]
    script.feed([HEADER.pack(5, 82, 0, 32, 0, number, number + 1, 0)])
    gevent.sleep(0.07)
    assert endpoint._timer is None
    assert len(script.sent) == 1
    conn.close()
    assert script.closed


def test_what_was_written_leaves_before_the_packets_are_closed() -> None:
    script = Script()
    endpoint = KCPEndpoint(script, CHOSEN, Shards(), 5)
    conn = Conn(endpoint)
    endpoint.begin()
    conn.write(b"x" * 10_000)
    conn.close()
    assert not script.closed
    for _ in range(20):
        if script.closed:
            break
        numbers = [HEADER.unpack_from(packet)[5] for packet in script.sent]
        script.feed([HEADER.pack(5, 82, 0, 32, 0, max(numbers), max(numbers) + 1, 0)])
    assert script.closed
    assert sum(len(packet) - HEADER.size for packet in script.sent) == 10_000
