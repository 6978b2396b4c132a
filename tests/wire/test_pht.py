"""PHT's tokens, targets and lines."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire import pht


def test_tokens():
    made = {pht.new_token() for _ in range(100)}
    assert len(made) == 100
    assert not any(pht.is_own_token(token) for token in made)
    assert pht.is_own_token("9m4e2mr0ui3e8a215n4g")
    for wrong in ("", "9m4e2mr0ui3e8a215n4", "9m4e2mr0ui3e8a215n4w", "9m4e2mr0ui3e8a215n4g\n"):
        assert not pht.is_own_token(wrong)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/push?token=abc", ("/push", "abc")),
        ("/push?token=abc&x=1", ("/push", "abc")),
        ("/push?x=1&token=abc", ("/push", "abc")),
        ("/push?tok=abc", ("/push", "")),
        ("/push", ("/push", "")),
        ("", ("", "")),
    ],
)
def test_target(target, parts):
    assert pht.split_target(target) == parts


def test_token_in_an_answer():
    assert pht.token_in(b"token=9m4e2mr0ui3e8a215n4g") == "9m4e2mr0ui3e8a215n4g"
    for wrong in (b"", b"token=", b"<html>", b"token=a b", b"token=" + b"a" * 300):
        with pytest.raises(ProtocolError):
            pht.token_in(wrong)


@pytest.mark.parametrize("size", [1, 3, 49104, 49105, 200_000])
def test_lines_are_short_enough_for_gost(size):
    wire = pht.lines(bytes(size))
    assert wire.endswith(b"\n")
    assert max(map(len, wire.split(b"\n"))) < 65536
    assert pht.LineReader().feed(wire) == bytes(size)
    assert pht.decode_line(pht.one_line(bytes(size))[:-1]) == bytes(size)


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=20))
def test_lines_in_any_pieces(datas, cuts):
    wire = b"".join(pht.one_line(data) for data in datas)
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    reader = pht.LineReader()
    got = b"".join(reader.feed(wire[a:b]) for a, b in itertools.pairwise(ends))
    assert got + reader.finish() == b"".join(datas)
    assert reader.seen == bool(datas)


@given(st.binary(max_size=60), st.lists(st.integers(0, 90), max_size=20))
def test_one_line_in_any_pieces(data, cuts):
    wire = pht.one_line(data)
    ends = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    decoder = pht.LineDecoder()
    got = b""
    for a, b in itertools.pairwise(ends):
        assert not decoder.ended
        got += decoder.feed(wire[a:b])
    assert decoder.ended
    assert got == data


def test_last_line_without_end():
    reader = pht.LineReader()
    assert reader.feed(b"YWJj") == b""
    assert not reader.seen
    assert reader.finish() == b"abc"
    assert reader.seen


@pytest.mark.parametrize("line", [b"YWJ", b"YW=j", b"YWJj!", b"Y", b"YWJj\x00", b"===="])
def test_bad_base64(line):
    with pytest.raises(ProtocolError):
        pht.decode_line(line)
    with pytest.raises(ProtocolError):
        pht.LineReader().feed(line + b"\n")


def test_endless_line():
    reader = pht.LineReader()
    for _ in range(16):
        assert reader.feed(b"A" * 65536) == b""
    with pytest.raises(ProtocolError):
        reader.feed(b"A")


@given(st.binary(max_size=200))
def test_anything(data):
    with contextlib.suppress(ProtocolError):
        reader = pht.LineReader()
        reader.feed(data)
        reader.finish()
    with contextlib.suppress(ProtocolError):
        pht.LineDecoder().feed(data)
    with contextlib.suppress(ProtocolError):
        pht.token_in(data)
