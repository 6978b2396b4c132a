"""KCP's segments: what is sent when, over good and bad lines, and what a peer cannot break."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gostpy.wire.kcp import Core, Settings
from gostpy.wire.kcp.segment import ACK, ASK, HEADER, OVERHEAD, PUSH, TELL
from tests.wire.kcp.line import carry

BLOB = random.Random(1).randbytes(200_000)
WIDE = Settings(send_window=512, receive_window=512, congestion=False)
FREE = Settings(congestion=False, resend=2, interval=20)


def segments(packet: bytes) -> list[tuple[int, int, int, bytes]]:
    """(command, window, number, data) of each."""
    found, at = [], 0
    while at < len(packet):
        _, command, _, window, _, number, _, size = HEADER.unpack_from(packet, at)
        at += OVERHEAD
        found.append((command, window, number, packet[at : at + size]))
        at += size
    return found


def push(number: int, data: bytes, *, conv: int = 1, una: int = 0, window: int = 32) -> bytes:
    return HEADER.pack(conv, PUSH, 0, window, 5, number, una, len(data)) + data


def test_data_of_one_write_on_the_wire() -> None:
    core = Core(0x11223344, Settings())
    core.send(b"hello")
    (packet,) = core.flush(0x01020304)
    assert packet.hex() == "4433221151002000040302010000000000000000" + "05000000" + b"hello".hex()


def test_acknowledgement_on_the_wire() -> None:
    core = Core(1, Settings())
    assert core.input(push(0, b"abc"), 9)
    assert core.received == [b"abc"]
    core.keep(0)
    (packet,) = core.flush(9)
    assert packet == HEADER.pack(1, ACK, 0, 32, 5, 0, 1, 0)
    assert core.idle


LINES = [
    pytest.param({}, id="perfect"),
    pytest.param({"delay": 50}, id="far"),
    pytest.param({"delay": 10, "jitter": 30}, id="out-of-order"),
    pytest.param({"delay": 20, "loss": 0.05, "jitter": 5}, id="lossy"),
    pytest.param({"delay": 20, "loss": 0.25}, id="very-lossy"),
    pytest.param({"delay": 5, "copies": 0.3}, id="with-copies"),
    pytest.param({"delay": 20, "loss": 0.1, "jitter": 40, "copies": 0.1}, id="all"),
    pytest.param({"delay": 5, "loss": 0.05, "start": 0xFFFFFFF0}, id="clock-wraps"),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("shards", [None, (10, 3)], ids=["plain", "fec"])
@pytest.mark.parametrize("chosen", [Settings(), FREE], ids=["congestion", "free"])
def test_everything_arrives(line: dict, shards: tuple[int, int] | None, chosen: Settings) -> None:
    data = BLOB[:40_000]
    left, right, _ = carry(data, chosen, shards=shards, **line)
    assert right.got == data
    assert left.core.idle
    assert right.core.idle


def test_numbers_wrap() -> None:
    left, right, _ = carry(b"", Settings())
    for side in (left, right):
        side.core.send_una = side.core.send_next = side.core.receive_next = 0xFFFFFFF0
    a, b = left.core, right.core
    a.send(BLOB[:50_000])
    got = b""
    for now in range(0, 2000, 10):
        for packet in a.tick(now):
            b.input(packet, now)
        got += b"".join(b.received)
        b.received = []
        b.keep(0)
        for packet in b.flush(now):
            a.input(packet, now)
    assert got == BLOB[:50_000]
    assert a.send_next < 0x1000


@pytest.mark.parametrize(
    ("chosen", "most"),
    [
        pytest.param(FREE, 2000, id="free"),
        pytest.param(
            Settings(send_window=512, receive_window=512, congestion=False), 1500, id="wide"
        ),
        pytest.param(Settings(), 9000, id="bare"),
    ],
)
def test_five_percent_lost_at_100_ms(chosen: Settings, most: int) -> None:
    left, right, elapsed = carry(BLOB, chosen, shards=(10, 3), loss=0.05, delay=50, jitter=5)
    assert right.got == BLOB
    assert elapsed < most
    assert left.packets < 1.6 * len(BLOB) / left.core.slice + 20


def test_three_mebibytes_without_options_take_less_than_a_minute() -> None:
    data = random.Random(4).randbytes(3 << 20)
    _, right, elapsed = carry(data, Settings(), shards=(10, 3), loss=0.05, delay=50, jitter=5)
    assert right.got == data
    assert elapsed < 60_000


def test_window_of_the_peer_is_not_overrun() -> None:
    core = Core(1, Settings(send_window=100, congestion=False))
    core.send(BLOB)
    assert len(core.flush(0)) == 32  # what a peer has until it says more
    core.input(HEADER.pack(1, TELL, 0, 40, 0, 0, 0, 0), 1)
    assert len(core.flush(1)) == 8
    core.input(HEADER.pack(1, TELL, 0, 0xFFFF, 0, 0, 0, 0), 2)
    assert len(core.flush(2)) == 60  # ours is the limit


def test_congestion_window_opens_with_acknowledgements() -> None:
    core = Core(1, Settings())
    core.send(BLOB)
    assert len(core.flush(0)) == 1
    core.input(HEADER.pack(1, ACK, 0, 32, 0, 0, 1, 0), 10)
    assert len(core.flush(10)) == 2


def test_reader_that_stops_closes_the_window_and_opens_it_again() -> None:
    core = Core(1, Settings(receive_window=4))
    for number in range(4):
        assert core.input(push(number, bytes(core.slice)), 0)
    core.received = []
    core.keep(4 * core.slice)
    assert segments(core.flush(0)[0])[-1][:2] == (ACK, 0)
    assert core.input(push(4, b"later"), 1)  # it came although there is no room
    assert core.received == []
    core.flush(1)
    core.keep(0)
    assert core.received == [b"later"]
    assert [each[0] for each in segments(core.flush(2)[0])] == [TELL]


def test_closed_window_is_asked_about() -> None:
    core = Core(1, Settings())
    core.send(b"x" * 5000)
    core.input(HEADER.pack(1, TELL, 0, 0, 0, 0, 0, 0), 0)
    asked = []
    for now in range(0, 40_000, 10):
        asked += [now for packet in core.tick(now) if segments(packet)[0][0] == ASK]
    assert len(asked) == 3
    assert 7000 <= asked[0] < 7100


def test_question_about_the_window_is_answered() -> None:
    core = Core(1, Settings())
    core.input(HEADER.pack(1, ASK, 0, 32, 0, 0, 0, 0), 0)
    assert segments(core.flush(0)[0]) == [(TELL, 32, 0, b"")]


def test_lost_segment_is_sent_again_at_its_time() -> None:
    core = Core(1, Settings())
    core.send(b"x")
    core.flush(0)
    times = [now for now in range(1, 3000) if core.tick(now)]
    assert times == [200, 600, 1200, 2000]


def test_nodelay_waits_less() -> None:
    core = Core(1, Settings(nodelay=True))
    core.send(b"x")
    core.flush(0)
    assert [now for now in range(1, 1500) if core.tick(now)] == [200, 500, 900, 1400]


def test_skipped_segment_is_sent_again_at_once() -> None:
    core = Core(1, FREE)
    core.send(bytes(5 * core.slice))
    core.flush(0)
    for number in (1, 2):
        core.input(HEADER.pack(1, ACK, 0, 32, 0, number, 0, 0), 5)
    (packet,) = core.flush(5)
    assert segments(packet)[0][2] == 0


def test_many_acknowledgements_are_cut_into_packets() -> None:
    core = Core(1, Settings(size=128, receive_window=64))
    for number in range(63, 0, -1):  # the first one is missing
        core.input(push(number, b"x"), 0)
    packets = core.flush(0)
    assert all(len(packet) <= 128 for packet in packets)
    assert sum(len(segments(packet)) for packet in packets) == 63


BROKEN = [
    pytest.param(b"", id="empty"),
    pytest.param(push(0, b"abc")[:-1], id="cut"),
    pytest.param(push(0, b"abc")[: OVERHEAD - 1], id="cut-in-the-header"),
    pytest.param(push(0, b"abc", conv=2), id="another-conversation"),
    pytest.param(HEADER.pack(1, 80, 0, 0, 0, 0, 0, 0), id="command-80"),
    pytest.param(HEADER.pack(1, 85, 0, 0, 0, 0, 0, 0), id="command-85"),
    pytest.param(HEADER.pack(1, PUSH, 0, 0, 0, 0, 0, 0xFFFFFFFF), id="length-4-GiB"),
]


@pytest.mark.parametrize("packet", BROKEN)
def test_broken_packets_are_refused(packet: bytes) -> None:
    core = Core(1, Settings())
    assert not core.input(packet, 0)
    assert not core.received
    assert core.idle


def test_numbers_out_of_the_window_are_not_kept() -> None:
    core = Core(1, Settings())
    for number in (32, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        core.input(push(number, bytes(1000)), 0)
    assert not core.received
    assert not core._early
    core.input(push(31, b"x"), 0)
    assert len(core._early) == 1


def test_what_was_not_sent_is_not_acknowledged() -> None:
    core = Core(1, FREE)
    core.send(b"x")
    core.flush(5)
    core.input(HEADER.pack(1, ACK, 0, 32, 5, 7, 9, 0), 6)
    assert not core.idle
    assert core.send_una == 0
    core.input(HEADER.pack(1, ACK, 0, 32, 5, 0, 1, 0), 6)
    assert core.idle


def test_who_repeats_the_time_of_a_segment_has_got_it() -> None:
    """Numbers begin at zero: who forges its address could acknowledge without having seen any."""
    core = Core(1, FREE)
    core.send(b"x")
    core.flush(70_000)
    core.input(HEADER.pack(1, ACK, 0, 32, 69_999, 0, 1, 0), 70_001)
    assert core.idle
    assert not core.proved
    core.send(b"y")
    core.flush(70_100)
    core.input(HEADER.pack(1, ACK, 0, 32, 70_100, 1, 2, 0), 70_101)
    assert core.proved


@given(
    st.lists(
        st.tuples(
            st.integers(78, 86),
            st.integers(0, 65535),
            st.integers(0, 2**32 - 1) | st.integers(0, 40),
            st.integers(0, 2**32 - 1) | st.integers(0, 40),
            st.binary(max_size=40),
        ),
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_forged_segments_keep_memory_bounded(made: list) -> None:
    core = Core(1, Settings(receive_window=8))
    core.send(bytes(20_000))
    for now, (command, window, number, una, data) in enumerate(made):
        core.input(HEADER.pack(1, command, 0, window, now, number, una, len(data)) + data, now)
        core.received = []
        core.keep(0)
        assert len(core._early) <= 8
        assert len(core._flight) <= 32
        assert all(len(packet) <= 1372 for packet in core.tick(now))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage(packet: bytes) -> None:
    core = Core(0, Settings())
    core.input(packet, 1)
    core.input(b"\0\0\0\0" + packet, 1)
    core.tick(2)
