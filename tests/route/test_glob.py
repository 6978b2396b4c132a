"""Globs by themselves; test_bypass.py has the cases recorded from gost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError
from gostpy.route.glob import compile_glob

CASES = [
    ("a*{b,c*d}e", "axxbe", True),
    ("a*{b,c*d}e", "axcyde", True),
    ("a*{b,c*d}e", "axcyee", False),
    ("{a,{b,c}}*", "c1", True),
    ("{,a}*b", "b", True),
    ("x}y*", "x}yz", True),
    ("*,*", "a,b", True),
    ("?\\", "q", True),
    ("{x*", "xyz", True),
    ("[-a]?", "-x", True),
    ("[ab-d]", "c", False),
    ("[ab-d]", "-", True),
    ("[a-cx-z]", "y", True),
    ("é?", "éx", True),
    ("", "", True),
]


@pytest.mark.parametrize(("glob", "text", "expected"), CASES)
def test_matches(glob: str, text: str, expected: bool) -> None:
    assert bool(compile_glob(glob).fullmatch(text)) is expected


@pytest.mark.parametrize("glob", ["[", "[]", "[a", "[z-a]", "{" * 20, "{a,b}" * 12])
def test_not_a_glob(glob: str) -> None:
    with pytest.raises(ConfigError):
        compile_glob(glob)


@given(st.text("ab*?[]{}!,-\\", max_size=20), st.text("ab-", max_size=20))
def test_only_config_errors(glob: str, text: str) -> None:
    try:
        compile_glob(glob).fullmatch(text)
    except ConfigError:
        pass
