"""TCP segments with a datagram each: bytes, checksum, numbers of a flow."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.rawtcp import ACK, FIN, PSH, RST, SYN, Flow, Segment, checksum

HERE, THERE = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
HERE6, THERE6 = (socket.inet_pton(socket.AF_INET6, text) for text in ("fd00::1", "fd00::2"))

CASES = [
    pytest.param(
        Segment(4660, 443, 1, 2, PSH | ACK, 0xABCD, b"hello"),
        HERE,
        THERE,
        "123401bb00000001000000025018abcd9833000068656c6c6f",
        id="ipv4, odd size",
    ),
    pytest.param(
        Segment(1, 2, 0xFFFFFFFF, 0, FIN | ACK, 0x8000, b""),
        HERE6,
        THERE6,
        "00010002ffffffff000000005011800035cc0000",
        id="ipv6, empty",
    ),
]


def reference_sum(data: bytes) -> int:
    """The internet checksum, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(source: bytes, destination: bytes, size: int) -> bytes:
    return source + destination + size.to_bytes(4, "big") + b"\0\0\0\6"


@pytest.mark.parametrize(("segment", "source", "destination", "wire"), CASES)
def test_both_ways(segment, source, destination, wire):
    data = segment.encode(source, destination)
    assert data.hex() == wire
    assert Segment.read(data) == segment
    for cut in range(20):
        with pytest.raises(ProtocolError):
            Segment.read(data[:cut])
    assert reference_sum(pseudo(source, destination, len(data)) + data) == 0


@given(st.binary(max_size=200))
def test_checksum(data):
    whole = pseudo(HERE, THERE, len(data)) + data
    assert checksum(HERE, THERE, data) == reference_sum(whole)


@given(st.binary(max_size=64))
def test_any_bytes(data):
    try:
        segment = Segment.read(data)
    except ProtocolError:
        return
    assert len(segment.payload) <= len(data) - 20


def test_options_are_skipped():
    wire = Segment(1, 2, 3, 4, payload=b"\1\1\1\1data").encode(HERE, THERE)
    assert Segment.read(wire[:12] + b"\x60" + wire[13:]).payload == b"data"


def pair() -> tuple[Flow, Flow]:
    """A client and a server after the handshake with numbers 1000 and 5000."""
    client, server = Flow(HERE, 1, THERE, 2), Flow(THERE, 2, HERE, 1)
    assert client.arrived(Segment(2, 1, 5000, 1001, SYN | ACK)) is None
    return client, server


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_a_conversation(datagrams):
    client, server = pair()
    for data in datagrams:
        segment = Segment.read(client.datagram(data))
        assert segment.flags == PSH | ACK
        assert segment.window & 0x8000
        assert server.arrived(segment) == data
        back = Segment.read(server.datagram(data))
        assert back.ack == (segment.seq + len(data))
        assert client.arrived(back) == data
    size = sum(map(len, datagrams))
    assert Segment.read(client.datagram(b"")).seq == 1001 + size


@given(st.binary(max_size=60))
def test_checksum_of_a_flow(data):
    client, _ = pair()
    wire = client.datagram(data)
    assert reference_sum(pseudo(HERE, THERE, len(wire)) + wire) == 0


def test_losses_do_not_hold_the_acknowledgement():
    client, server = pair()
    server.arrived(Segment.read(client.datagram(b"one")))
    client.datagram(b"lost")
    server.arrived(Segment.read(client.datagram(b"three")))
    assert Segment.read(server.datagram(b"")).ack == 1001 + 12
    server.arrived(Segment(1, 2, 1001, 5001, payload=b"one"))  # an old one again
    assert Segment.read(server.datagram(b"")).ack == 1001 + 12


def test_numbers_wrap():
    server = Flow(THERE, 2, HERE, 1)
    server.arrived(Segment(1, 2, 0xFFFFFFFE, 0xFFFFFFFD, payload=b"four"))
    segment = Segment.read(server.datagram(b"12345"))
    assert (segment.seq, segment.ack) == (0xFFFFFFFD, 2)
    assert Segment.read(server.datagram(b"")).seq == 2


@pytest.mark.parametrize("flag", [FIN, RST])
@pytest.mark.parametrize(
    ("seq", "ends"),
    [
        pytest.param(1004, True, id="where the data is"),
        pytest.param(1001, True, id="where the system is"),
        pytest.param(1002, False, id="elsewhere"),
    ],
)
def test_end(flag, seq, ends):
    client, server = pair()
    server.arrived(Segment.read(client.datagram(b"one")))
    end = Segment(1, 2, seq, 5001, flag | ACK)
    if ends:
        with pytest.raises(ProtocolError):
            server.arrived(end)
    else:
        assert server.arrived(end) is None


def test_nothing_ends_what_did_not_begin():
    server = Flow(THERE, 2, HERE, 1)
    assert server.arrived(Segment(1, 2, 0, 0, RST)) is None
