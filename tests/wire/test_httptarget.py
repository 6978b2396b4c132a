"""Hidden host names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ProtocolError
from gostpy.wire.httptarget import decode_name, encode_name

CASES = [  # as gost 3.2.6 sends them
    pytest.param("real.example", "CSnKBWNtVmhiQzVsZUdGdGNHeGw", id="name"),
    pytest.param("", "AAAAAA", id="empty"),
]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_both_ways(name: str, text: str) -> None:
    assert encode_name(name) == text
    assert decode_name(text) == name
    for cut in range(len(text)):
        if text[:cut] != "AAAAAA"[:cut]:
            with pytest.raises(ProtocolError):
                decode_name(text[:cut])


@given(st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_names_survive(name: str) -> None:
    assert decode_name(encode_name(name)) == name


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    try:
        decode_name(text)
    except ProtocolError:
        return
