"""Tokens of Retry packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.stream.quicretry import LIFETIME, RetryTokens

FIRST, RETRY, ADDRESS = b"first id", b"retry id", "192.0.2.1:4433"


@pytest.mark.parametrize(
    ("address", "asked", "later", "found"),
    [
        pytest.param(ADDRESS, RETRY, 1.0, FIRST, id="returned"),
        pytest.param("192.0.2.2:4433", RETRY, 1.0, None, id="another address"),
        pytest.param(ADDRESS, b"other id", 1.0, None, id="another connection"),
        pytest.param(ADDRESS, RETRY, LIFETIME + 1, None, id="too late"),
        pytest.param(ADDRESS, RETRY, -1.0, None, id="before its time"),
    ],
)
def test_first_id(address, asked, later, found):
    tokens = RetryTokens()
    token = tokens.create(ADDRESS, FIRST, RETRY, 1000.0)
    assert tokens.first_id(address, asked, token, 1000.0 + later) == found


def test_of_another_listener():
    token = RetryTokens().create(ADDRESS, FIRST, RETRY, 1000.0)
    assert RetryTokens().first_id(ADDRESS, RETRY, token, 1000.0) is None


@given(st.binary(max_size=80))
def test_any_bytes(token):
    assert RetryTokens().first_id(ADDRESS, RETRY, token, 1000.0) is None
