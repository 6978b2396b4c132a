"""Go's notation of durations and numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.values import (
    Duration,
    atoi,
    float_json,
    float_plain,
    float_yaml,
    parse_bool,
    parse_duration,
    parse_integer,
)

DURATIONS = [
    ("0", 0, "0s"),
    ("1ns", 1, "1ns"),
    ("1500ns", 1_500, "1.5µs"),
    ("1us", 1_000, "1µs"),
    ("1µs", 1_000, "1µs"),
    ("100ms", 100_000_000, "100ms"),
    ("1.5s", 1_500_000_000, "1.5s"),
    (".5s", 500_000_000, "500ms"),
    ("90s", 90_000_000_000, "1m30s"),
    ("1h", 3_600_000_000_000, "1h0m0s"),
    ("1h30m", 5_400_000_000_000, "1h30m0s"),
    ("-1m", -60_000_000_000, "-1m0s"),
    ("+2s", 2_000_000_000, "2s"),
    ("8760h", 31_536_000_000_000_000, "8760h0m0s"),
]


@pytest.mark.parametrize(("text", "nanoseconds", "shown"), DURATIONS)
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert str(Duration(nanoseconds)) == shown
    assert Duration(nanoseconds).seconds == nanoseconds / 1e9


@pytest.mark.parametrize(
    "text", ["", "10", "1x", "s", "1s ", " 1s", "--1s", "1h-1m", "9999999h", "."]
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)


@given(st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1))
def test_durations_round_trip(nanoseconds: int) -> None:
    assert parse_duration(str(Duration(nanoseconds))) == nanoseconds


@given(st.text(max_size=20))
def test_duration_fails_with_value_error_only(text: str) -> None:
    try:
        parse_duration(text)
    except ValueError:
        pass


FLOATS = [
    (0.0, "0", "0", "0"),
    (-0.0, "-0", "-0", "-0"),
    (1.0, "1", "1", "1"),
    (10.5, "10.5", "10.5", "10.5"),
    (100000.0, "100000", "100000", "100000"),
    (1000000.0, "1e+06", "1000000", "1000000"),
    (123456789.5, "1.234567895e+08", "123456789.5", "123456789.5"),
    (1e21, "1e+21", "1e+21", "1" + "0" * 21),
    (0.0001, "0.0001", "0.0001", "0.0001"),
    (0.00001, "1e-05", "0.00001", "0.00001"),
    (1e-7, "1e-07", "1e-7", "0.0000001"),
]


@pytest.mark.parametrize(("value", "yaml", "json", "plain"), FLOATS)
def test_floats(value: float, yaml: str, json: str, plain: str) -> None:
    assert (float_yaml(value), float_json(value), float_plain(value)) == (yaml, json, plain)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(value: float) -> None:
    assert (
        float(float_yaml(value)) == float(float_json(value)) == float(float_plain(value)) == value
    )


def test_words_and_integers() -> None:
    assert [parse_bool(word) for word in ("1", "t", "TRUE")] == [True] * 3
    assert [parse_bool(word) for word in ("0", "f", "False")] == [False] * 3
    for word in ("yes", "tRUE", ""):
        with pytest.raises(ValueError, match="true or false"):
            parse_bool(word)
    assert [parse_integer(text) for text in ("0x10", "010", "0b11", "1_000", "-5")] == [
        16,
        8,
        3,
        1000,
        -5,
    ]
    for text in ("", "1_", "_1", "0x", "08", "1.0", " 1"):
        with pytest.raises(ValueError, match="whole number"):
            parse_integer(text)
    assert atoi("010") == 10
    with pytest.raises(ValueError, match="whole number"):
        atoi("1_0")
