"""Forward error correction: every loss that can be repaired is, and forged packets cost little."""

from __future__ import annotations

import itertools
import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gostpy.wire.kcp.fec import DATA, PARITY, Decoder, Encoder, kind_of
from gostpy.wire.kcp.galois import parity_rows

CHANCE = random.Random(2)


def group(
    data: int, parity: int, encoder: Encoder | None = None
) -> tuple[list[bytes], list[bytes]]:
    """Packets of one group, and what goes over the wire for them."""
    packets = [CHANCE.randbytes(CHANCE.randint(24, 60)) for _ in range(data)]
    wire: list[bytes] = []
    encoder = encoder or Encoder(data, parity)
    for packet in packets:
        encoder.encode(packet, wire)
    return packets, wire


def test_on_the_wire() -> None:
    _, wire = group(3, 2)
    assert [struct.unpack_from("<IH", each) for each in wire] == [
        (0, DATA), (1, DATA), (2, DATA), (3, PARITY), (4, PARITY),
    ]  # fmt: skip
    sizes = [struct.unpack_from("<H", each, 6)[0] for each in wire[:3]]
    assert sizes == [len(each) - 6 for each in wire[:3]]
    assert len(wire[3]) == len(wire[4]) == max(map(len, wire[:3]))


def test_factors_are_those_of_the_library() -> None:
    """klauspost/reedsolomon 1.11.8: parity rows of 4+2, and the first of 10+3."""
    assert list(map(tuple, parity_rows(4, 2))) == [(27, 28, 18, 20), (28, 27, 20, 18)]
    assert tuple(parity_rows(10, 3)[0]) == (129, 150, 175, 184, 210, 196, 254, 232, 3, 2)


@pytest.mark.parametrize(("data", "parity"), [(3, 2), (10, 3), (1, 1), (5, 1)])
def test_any_loss_up_to_the_parity_is_repaired(data: int, parity: int) -> None:
    for lost in itertools.combinations(range(data + parity), parity):
        packets, wire = group(data, parity)
        decoder = Decoder(data, parity)
        found = [
            packet
            for index, each in enumerate(wire)
            if index not in lost
            for packet in decoder.decode(each)
        ]
        assert found == [packets[index] for index in lost if index < data]


def test_numbers_of_shards_that_a_peer_may_choose_cost_little() -> None:
    """A peer decides how large its groups are, and what is lost of each."""
    started = time.process_time()
    packets, wire = group(128, 128)
    decoder = Decoder(128, 128)
    found = [packet for each in wire[128:] for packet in decoder.decode(each)]
    assert found == packets
    assert time.process_time() - started < 1.0


def test_one_loss_too_many() -> None:
    _, wire = group(10, 3)
    decoder = Decoder(10, 3)
    assert not [packet for each in wire[4:] for packet in decoder.decode(each)]


def test_order_and_copies_do_not_matter() -> None:
    packets, wire = group(10, 3)
    kept = [each for index, each in enumerate(wire) if index not in (0, 4, 9)]
    CHANCE.shuffle(kept)
    decoder = Decoder(10, 3)
    found = [packet for each in kept for _ in range(2) for packet in decoder.decode(each)]
    assert sorted(found) == sorted(packets[index] for index in (0, 4, 9))


@pytest.mark.parametrize("own", [(1, 1), (10, 3), (20, 1)])
def test_numbers_of_the_peer_are_learned(own: tuple[int, int]) -> None:
    encoder, decoder = Encoder(4, 2), Decoder(*own)
    for _ in range(12):
        packets, wire = group(4, 2, encoder)
        found = [
            packet for at, each in enumerate(wire) if at != 1 for packet in decoder.decode(each)
        ]
        for each in wire[:1]:  # no run is whole without the missing one
            decoder.decode(each)
    for _ in range(12):
        _, wire = group(4, 2, encoder)
        for each in wire:
            decoder.decode(each)
    packets, wire = group(4, 2, encoder)
    found = [packet for at, each in enumerate(wire) if at != 1 for packet in decoder.decode(each)]
    assert found == [packets[1]]


def test_numbers_begin_again_before_they_overflow() -> None:
    encoder, decoder = Encoder(2, 1), Decoder(2, 1)
    encoder._next = encoder._wrap - 3
    for _ in range(3):
        packets, wire = group(2, 1, encoder)
        found = [packet for each in wire[1:] for packet in decoder.decode(each)]
        assert found == [packets[0]]
    assert struct.unpack_from("<I", wire[0])[0] == 3


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        pytest.param(struct.pack("<IHH", 1, DATA, 2), DATA, id="data"),
        pytest.param(struct.pack("<IHH", 1, PARITY, 2), PARITY, id="parity"),
        pytest.param(struct.pack("<IBBH", 1, 81, 0, 2), 0, id="kcp"),
        pytest.param(b"\0\0\0\0\xf1\0", 0, id="cut"),
        pytest.param(b"", 0, id="empty"),
    ],
)
def test_kinds(packet: bytes, kind: int) -> None:
    assert kind_of(packet) == kind


@given(
    st.lists(
        st.tuples(
            st.integers(0, 60) | st.integers(0, 2**32 - 1),
            st.sampled_from([DATA, PARITY]),
            st.binary(min_size=2, max_size=80),
        ),
        max_size=120,
    )
)
@settings(max_examples=50, deadline=None)
def test_forged_packets_keep_memory_bounded(made: list) -> None:
    decoder = Decoder(3, 2)
    for number, kind, shard in made:
        for packet in decoder.decode(struct.pack("<IH", number, kind) + shard):
            assert len(packet) <= 80
        assert len(decoder._groups) <= 3
        assert sum(decoder._data + decoder._parity for _ in decoder._groups) <= 3 * 256


def test_oversized_shards_are_not_kept() -> None:
    decoder = Decoder(2, 1)
    assert not decoder.decode(struct.pack("<IH", 0, DATA) + bytes(3000))
    assert not decoder._groups
