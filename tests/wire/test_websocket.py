"""WebSocket frames: both roles, cut anywhere, the rules of RFC 6455, whatever a peer may send."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConnectionClosed, ProtocolError
from gostpy.wire import websocket
from gostpy.wire.deflate import OFFER, agree, answered
from gostpy.wire.websocket import WebSocket, apply_mask

MASK = b"\x01\x02\x03\x04"


def frame(first, payload=b"", mask=MASK):
    """A client's frame, or with an empty mask a server's."""
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + (websocket._apply_mask(payload, mask) if mask else payload)


def receive(codec, *pieces):
    return b"".join(bytes(codec.decode(piece)) for piece in pieces)


def cuts(data):
    """The data in two, at every byte, and byte by byte."""
    for at in range(len(data) + 1):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


FRAMES = [
    pytest.param([(0x82, b"hello")], b"hello", id="binary"),
    pytest.param([(0x81, b"text")], b"text", id="text is bytes, too"),
    pytest.param([(0x82, b"")], b"", id="empty"),
    pytest.param([(0x82, b"x" * 126)], b"x" * 126, id="16-bit length"),
    pytest.param([(0x02, b"ab"), (0x00, b"cd"), (0x80, b"ef")], b"abcdef", id="fragments"),
    pytest.param([(0x02, b"ab"), (0x89, b"?"), (0x80, b"ef")], b"abef", id="ping between"),
    pytest.param([(0x02, b""), (0x00, b""), (0x80, b"")], b"", id="empty fragments"),
    pytest.param([(0x8A, b"unasked"), (0x82, b"a")], b"a", id="unasked pong"),
    pytest.param([(0x82, b"one"), (0x81, b"two"), (0x82, b"three")], b"onetwothree", id="many"),
]


@pytest.mark.parametrize("mask", [MASK, b"\0\0\0\0", b""], ids=["masked", "zero mask", "plain"])
@pytest.mark.parametrize(("frames", "data"), FRAMES)
def test_receives_at_every_cut(frames, data, mask):
    wire = b"".join(frame(first, payload, mask) for first, payload in frames)
    for pieces in cuts(wire):
        codec = WebSocket(client=not mask)
        assert receive(codec, *pieces) == data


def test_payload_is_delivered_as_it_arrives():
    codec = WebSocket(client=False)
    wire = frame(0x82, b"abcdefghij")
    assert bytes(codec.decode(wire[:9])) == b"abc"
    assert bytes(codec.decode(wire[9:10])) == b"d"
    assert bytes(codec.decode(wire[10:])) == b"efghij"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70001])
@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_both_roles_understand_each_other(client, size):
    data = bytes(index & 255 for index in range(size))
    sender, receiver = WebSocket(client), WebSocket(not client)
    wire = sender.encode(memoryview(data))
    if size:
        assert wire[0] == 0x82
        assert bool(wire[1] & 0x80) is client
    half = len(wire) // 2
    assert receive(receiver, wire[:half], wire[half:]) == data


def test_masks_differ():
    codec = WebSocket(client=True)
    assert len({bytes(codec.encode(b"\0\0\0\0")) for _ in range(50)}) == 50


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_mask_fallback_is_the_compiled_one(data, mask):
    expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    assert websocket._apply_mask(data, mask) == expected
    assert apply_mask(memoryview(data), mask) == expected


def test_ping_is_answered_with_its_payload():
    codec = WebSocket(client=False)
    wire = b"".join(frame(0x89, bytes([n]) * n) for n in range(10))
    assert receive(codec, wire) == b""
    assert codec.own
    assert codec.take() == b"".join(frame(0x8A, bytes([n]) * n, b"") for n in range(10))
    assert not codec.own


def test_pong_may_ride_on_data():
    codec = WebSocket(client=False)
    codec.decode(frame(0x89, b"p"))
    assert codec.encode(b"data") == frame(0x8A, b"p", b"") + frame(0x82, b"data", b"")
    assert not codec.own


def test_own_ping_and_the_peers_pong():
    codec = WebSocket(client=False)
    codec.ping(b"abc")
    assert codec.held
    assert codec.take() == frame(0x89, b"abc", b"")
    codec.decode(frame(0x8A, b"abc"))
    assert codec.pongs == 1


CLOSES = [
    pytest.param(b"", b"", 1005, id="without code"),
    pytest.param(b"\x03\xe8", b"\x03\xe8", 1000, id="normal"),
    pytest.param(b"\x03\xe9bye \xc3\xbc", b"\x03\xe9", 1001, id="with reason"),
    pytest.param(b"\x0f\xa0", b"\x0f\xa0", 4000, id="private code"),
]


@pytest.mark.parametrize(("payload", "answer", "code"), CLOSES)
def test_close_is_answered_and_ends(payload, answer, code):
    codec = WebSocket(client=False)
    assert receive(codec, frame(0x82, b"last") + frame(0x88, payload) + b"garbage") == b"last"
    assert codec.ended
    assert codec.close_code == code
    assert codec.take() == frame(0x88, answer, b"")
    with pytest.raises(ConnectionClosed):
        codec.encode(b"more")
    assert receive(codec, frame(0x82, b"after")) == b""


def test_our_close_is_answered_without_another():
    codec = WebSocket(client=False)
    codec.close(1001)
    assert codec.take() == frame(0x88, b"\x03\xe9", b"")
    codec.decode(frame(0x88, b"\x03\xe9"))
    assert codec.ended
    assert not codec.own


WRONG = [
    pytest.param(frame(0xC2, b"x"), 1002, id="rsv1 without extension"),
    pytest.param(frame(0xA2, b"x"), 1002, id="rsv2"),
    pytest.param(frame(0x92, b"x"), 1002, id="rsv3"),
    *[pytest.param(frame(0x80 | n), 1002, id=f"opcode {n}") for n in (3, 4, 5, 6, 7, 11, 12, 15)],
    pytest.param(frame(0x82, b"x", b""), 1002, id="not masked"),
    pytest.param(frame(0x09, b"x"), 1002, id="fragmented ping"),
    pytest.param(frame(0x89, b"x" * 126), 1002, id="long ping"),
    pytest.param(frame(0x88, b"\x03"), 1002, id="close of one byte"),
    pytest.param(frame(0x88, b"\x03\xec"), 1002, id="close code 1004"),
    pytest.param(frame(0x88, b"\x03\xed"), 1002, id="close code 1005"),
    pytest.param(frame(0x88, b"\x00\x00"), 1002, id="close code 0"),
    pytest.param(frame(0x88, b"\x13\x88"), 1002, id="close code 5000"),
    pytest.param(frame(0x88, b"\x03\xe8\xff\xfe"), 1007, id="reason not UTF-8"),
    pytest.param(frame(0x80, b"x"), 1002, id="continuation of nothing"),
    pytest.param(frame(0x02, b"x") + frame(0x82, b"y"), 1002, id="message in a message"),
    pytest.param(b"\x82\xff\x80" + bytes(7) + MASK, 1002, id="length above 2^63"),
]


@pytest.mark.parametrize(("wire", "code"), WRONG)
def test_wrong_frames_are_told(wire, code):
    codec = WebSocket(client=False)
    with pytest.raises(ProtocolError):
        codec.decode(wire)
    assert codec.own
    assert codec.take() == frame(0x88, code.to_bytes(2, "big"), b"")


def test_a_server_must_not_mask():
    with pytest.raises(ProtocolError):
        WebSocket(client=True).decode(frame(0x82, b"x"))


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans(), st.booleans())
def test_any_bytes_give_data_or_a_protocol_error(pieces, client, compressed):
    codec = WebSocket(client, answered(OFFER) if compressed else None)
    try:
        receive(codec, *pieces)
    except ProtocolError:
        assert codec.ended


@given(st.binary(max_size=200), st.lists(st.integers(0, 250), max_size=6))
def test_any_cut_of_good_frames(data, places):
    sender, receiver = WebSocket(True), WebSocket(False)
    wire = bytes(sender.encode(data)) + frame(0x89, b"p") + bytes(sender.encode(data[::-1]))
    places = sorted({0, len(wire), *(min(place, len(wire)) for place in places)})
    pieces = [wire[a:b] for a, b in itertools.pairwise(places)]
    assert receive(receiver, *pieces) == data + data[::-1]


# -- permessage-deflate ------------------------------------------------------------------------


def compressing_pair():
    server, answer = agree(OFFER)
    return WebSocket(True, answered(answer)), WebSocket(False, server)


def test_compressed_both_ways():
    client, server = compressing_pair()
    for sender, receiver in ((client, server), (server, client)):
        for data in (b"a" * 70000, b"short", bytes(range(256)) * 3):
            wire = bytes(sender.encode(data))
            assert wire[0] == 0xC2
            for pieces in ([wire], [wire[:1], wire[1:7], wire[7:]], [bytes([b]) for b in wire]):
                assert receive(receiver, *pieces) == data
    assert len(client.encode(b"a" * 70000)) < 500


def test_compressed_fragments_and_plain_messages_mix():
    client, server = compressing_pair()
    body = answered(OFFER).compress(b"fragmented message " * 20)
    wire = frame(0x42, body[:5]) + frame(0x89, b"") + frame(0x00, body[5:]) + frame(0x80, b"")
    assert receive(server, wire, frame(0x82, b"plain")) == b"fragmented message " * 20 + b"plain"
    assert receive(client, frame(0x82, b"plain", b"")) == b"plain"


def test_bad_compressed_data_is_told():
    _, server = compressing_pair()
    with pytest.raises(ProtocolError):
        server.decode(frame(0xC2, b"\xff\xff\xff\xff"))
    assert server.take() == frame(0x88, b"\x03\xef", b"")


@pytest.mark.parametrize("first", [0xC0, 0xC9], ids=["continuation", "ping"])
def test_only_the_first_frame_of_a_message_is_marked(first):
    _, server = compressing_pair()
    with pytest.raises(ProtocolError):
        server.decode(frame(0x42, b"") + frame(first, b""))
