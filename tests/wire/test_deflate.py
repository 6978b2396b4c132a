"""permessage-deflate: offers, answers, and streams with and without takeover."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.deflate import OFFER, agree, answered

OFFERS = [
    pytest.param(OFFER, OFFER, id="gost's"),
    pytest.param("permessage-deflate", OFFER, id="bare"),
    pytest.param("permessage-deflate; client_max_window_bits", OFFER, id="a browser's"),
    pytest.param("x-other, permessage-deflate", OFFER, id="second of a list"),
    pytest.param(
        'permessage-deflate; server_max_window_bits="10"',
        OFFER + "; server_max_window_bits=10",
        id="small window of ours",
    ),
    pytest.param(
        "permessage-deflate; server_max_window_bits=8, permessage-deflate", OFFER, id="fall-back"
    ),
]


@pytest.mark.parametrize(("offer", "answer"), OFFERS)
def test_agreed(offer, answer):
    found = agree(offer)
    assert found is not None
    assert found[1] == answer


REFUSED = [
    "",
    "x-other",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; unknown",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
]


@pytest.mark.parametrize("offer", REFUSED)
def test_not_agreed(offer):
    assert agree(offer) is None


@pytest.mark.parametrize(
    "answer",
    ["x-other", f"{OFFER}, {OFFER}", "permessage-deflate; nonsense=1", OFFER + "; client_x"],
)
def test_an_answer_that_was_not_offered(answer):
    with pytest.raises(ProtocolError):
        answered(answer)


def test_no_answer():
    assert answered("") is None


def test_a_peer_with_takeover():
    codec = answered("permessage-deflate; client_no_context_takeover")
    assert codec is not None
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    for data in (b"the same words", b"the same words", b"other words"):
        body = (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        assert codec.decompress(body, True) == data


@given(st.text(max_size=80))
def test_any_header(text):
    agree(text)
    try:
        answered(text)
    except ProtocolError:
        pass


@given(st.binary(max_size=500))
def test_round_trip(data):
    server, answer = agree(OFFER)
    client = answered(answer)
    assert server.decompress(client.compress(data), True) == data
    assert client.decompress(server.compress(data), True) == data
