"""yamux frames: both ways, cut anywhere, and whatever a peer may send."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import BadVersion, ProtocolError
from gostpy.wire.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    WINDOW,
    FrameReader,
    frame,
)


class Events:
    """A receiver that writes down what it is told; data of one stream in a row is joined."""

    def __init__(self):
        self.alive = True
        self.seen = []

    def arrived(self, stream_id, data):
        if self.seen and self.seen[-1][:2] == ("arrived", stream_id):
            self.seen[-1] = ("arrived", stream_id, self.seen[-1][2] + bytes(data))
        else:
            self.seen.append(("arrived", stream_id, bytes(data)))

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *facts: self.seen.append((name, *facts))


FRAMES = [
    pytest.param(
        frame(WINDOW, SYN, 1), "000100010000000100000000", [("opened", 1)], id="syn-without-window"
    ),
    pytest.param(
        frame(WINDOW, SYN, 1, 9),
        "000100010000000100000009",
        [("opened", 1), ("credited", 1, 9)],
        id="syn-with-window",
    ),
    pytest.param(frame(WINDOW, ACK, 1), "000100020000000100000000", [("accepted", 1)], id="ack"),
    pytest.param(
        frame(DATA, SYN | FIN, 1, 2) + b"hi",
        "0000000500000001000000026869",
        [("opened", 1), ("announced", 1, 2), ("arrived", 1, b"hi"), ("ended", 1)],
        id="all-in-one",
    ),
    pytest.param(frame(DATA, FIN, 1), "000000040000000100000000", [("ended", 1)], id="fin"),
    pytest.param(frame(WINDOW, RST, 1), "000100080000000100000000", [("was_reset", 1)], id="rst"),
    pytest.param(
        frame(PING, SYN, 0, 7), "000200010000000000000007", [("pinged", 7, False)], id="ping"
    ),
    pytest.param(
        frame(PING, ACK, 0, 7), "000200020000000000000007", [("pinged", 7, True)], id="pong"
    ),
    pytest.param(
        frame(GO_AWAY, 0, 0, 1), "000300000000000000000001", [("told_to_leave", 1)], id="go-away"
    ),
]


def read(*pieces):
    events = Events()
    reader = FrameReader(events)
    for piece in pieces:
        reader.feed(piece)
    return events.seen


@pytest.mark.parametrize(("wire", "expected", "events"), FRAMES)
def test_frames(wire, expected, events):
    assert wire.hex() == expected
    assert read(wire) == events
    for cut in range(len(wire)):
        assert read(wire[:cut], wire[cut:]) == events


CONVERSATION = b"".join(case.values[0] for case in FRAMES)


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=8))
def test_any_cuts(cuts):
    places = [0, *sorted(cuts), len(CONVERSATION)]
    pieces = [CONVERSATION[a:b] for a, b in itertools.pairwise(places)]
    assert read(*pieces) == [event for case in FRAMES for event in case.values[2]]


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(b"\x01" + bytes(11), BadVersion, id="version"),
        pytest.param(frame(4, 0, 0), ProtocolError, id="unknown-type"),
    ],
)
def test_bad_frames(wire, error):
    with pytest.raises(error):
        read(wire)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_noise(pieces):
    try:
        read(*pieces)
    except ProtocolError:
        pass
