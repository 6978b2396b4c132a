"""smux frames: both ways, cut anywhere, and whatever a peer may send."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.smux import FIN, NOP, PSH, SYN, FrameReader, header, window_update


class Events:
    """A receiver that writes down what it is told; data of one stream in a row is joined."""

    def __init__(self):
        self.alive = True
        self.seen = []

    def opened(self, stream_id):
        self.seen.append(("opened", stream_id))

    def arrived(self, stream_id, data):
        if self.seen and self.seen[-1][:2] == ("data", stream_id):
            self.seen[-1] = ("data", stream_id, self.seen[-1][2] + bytes(data))
        else:
            self.seen.append(("data", stream_id, bytes(data)))

    def ended(self, stream_id):
        self.seen.append(("ended", stream_id))

    def credited(self, stream_id, consumed, window):
        self.seen.append(("credited", stream_id, consumed, window))


# the first frames of a relay request over mtcp, as gost 3.2.6 and its server send them
FRAMES = [
    pytest.param(2, header(2, SYN, 3), "0200000003000000", [("opened", 3)], id="syn"),
    pytest.param(
        2, header(2, PSH, 3, 2) + b"hi", "02020200030000006869", [("data", 3, b"hi")], id="psh"
    ),
    pytest.param(1, header(1, FIN, 5), "0101000005000000", [("ended", 5)], id="fin"),
    pytest.param(1, header(1, NOP, 0), "0103000000000000", [], id="nop"),
    pytest.param(1, header(1, PSH, 3), "0102000003000000", [], id="psh-without-data"),
    pytest.param(
        2,
        window_update(2, 3, 4, 65536),
        "02040800030000000400000000000100",
        [("credited", 3, 4, 65536)],
        id="upd",
    ),
    pytest.param(
        2,
        window_update(2, 3, (1 << 32) + 7, 1),
        "02040800030000000700000001000000",
        [("credited", 3, 7, 1)],
        id="upd-wraps",
    ),
]


def read(version, *pieces):
    events = Events()
    reader = FrameReader(version, events)
    for piece in pieces:
        reader.feed(piece)
    return events.seen


@pytest.mark.parametrize(("version", "wire", "expected", "events"), FRAMES)
def test_frames(version, wire, expected, events):
    assert wire.hex() == expected
    assert read(version, wire) == events
    for cut in range(len(wire)):
        assert read(version, wire[:cut], wire[cut:]) == events


CONVERSATION = b"".join(
    [
        header(2, SYN, 3),
        header(2, PSH, 3, 5) + b"first",
        header(2, NOP, 0),
        header(2, SYN, 5),
        window_update(2, 3, 5, 65536),
        header(2, PSH, 5, 6) + b"second",
        header(2, FIN, 3),
    ]
)


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=8))
def test_any_cuts(cuts):
    places = [0, *sorted(cuts), len(CONVERSATION)]
    pieces = [CONVERSATION[a:b] for a, b in itertools.pairwise(places)]
    assert read(2, *pieces) == [
        ("opened", 3),
        ("data", 3, b"first"),
        ("opened", 5),
        ("credited", 3, 5, 65536),
        ("data", 5, b"second"),
        ("ended", 3),
    ]


def test_byte_by_byte():
    assert read(2, *(CONVERSATION[i : i + 1] for i in range(len(CONVERSATION)))) == read(
        2, CONVERSATION
    )


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(header(1, SYN, 3), BadVersion, id="version"),
        pytest.param(header(2, 5, 3), ProtocolError, id="unknown-command"),
        pytest.param(header(2, SYN, 3, 1) + b"x", ProtocolError, id="syn-with-data"),
        pytest.param(header(2, 4, 3, 4) + bytes(8), ProtocolError, id="short-upd"),
    ],
)
def test_bad_frames(wire, error):
    with pytest.raises(error):
        read(2, wire)


def test_stops_when_the_receiver_is_dead():
    events = Events()
    events.ended = lambda _: setattr(events, "alive", False)
    FrameReader(1, events).feed(header(1, FIN, 3) + header(1, SYN, 5))
    assert events.seen == []


@given(st.sampled_from([1, 2]), st.lists(st.binary(max_size=40), max_size=6))
def test_noise(version, pieces):
    try:
        read(version, *pieces)
    except ProtocolError:
        pass
