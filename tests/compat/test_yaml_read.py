"""YAML text -> values: gost's type rules, and the quick reader agrees with the complete one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.values import Timestamp
from compat.yaml_quick import Unsure, parse_quick
from compat.yaml_read import parse_fully, parse_yaml
from compat.yaml_scalar import resolve
from gostpy.errors import ConfigError

RECORD = Path(__file__).parents[2] / "testdata" / "configs" / "generated.json"
TEXTS = [
    case["text"]
    for case in json.loads(RECORD.read_text(encoding="utf-8"))
    if case["name"].endswith(".yml")
]
PIECES = [
    *("a: ", "- ", "\n", "\n  ", "\n    ", "b", "c: ", '"x"', "'y'", "{", "}", "[", "]", ", ", ":"),
    *(" #z", "#", "1", "~", "-", "k:\n", "\n- ", " ", "&a", "*a", "!t", "|", ">", "?", "%", "x y"),
    *("http://h:1", ".5", "0x1", "\\", "''", '"', "é", "<<: ", "- - ", "- a: 1", "{a: b}", "a:b"),
]

SCALARS = [
    ("", None),
    ("~", None),
    ("Null", None),
    ("true", True),
    ("FALSE", False),
    ("yes", "yes"),
    ("off", "off"),
    ("tRue", "tRue"),
    ("12", 12),
    ("-12", -12),
    ("+7", 7),
    ("1_000", 1000),
    ("0777", 511),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b101", 5),
    ("-0b11", -3),
    ("08", 8.0),
    ("18446744073709551615", 18446744073709551615),
    ("99999999999999999999", 1e20),
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    ("1e3", 1000.0),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("10s", "10s"),
    ("1:30", "1:30"),
    ("127.0.0.1", "127.0.0.1"),
    ("2001-01-01", Timestamp("2001-01-01T00:00:00Z")),
    ("2001-1-2 3:4:5", Timestamp("2001-01-02T03:04:05Z")),
    ("2001-01-01T10:00:00.50Z", Timestamp("2001-01-01T10:00:00.5Z")),
    ("2001-01-01T10:00:00+02:00", Timestamp("2001-01-01T10:00:00+02:00")),
    ("2001-13-01", "2001-13-01"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars(text: str, value: Any) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_tags_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: !!str 2}\nmore:\n  <<: *b\n  y: 3\nraw: !!binary aGk=\n"
    assert parse_yaml(text, "t") == {
        "base": {"x": 1, "y": "2"},
        "more": {"x": 1, "y": 3},
        "raw": "hi",
    }


def test_only_the_first_document_counts() -> None:
    assert parse_yaml("a: 1\n---\nb: [", "t") == {"a": 1}


def test_other_keys_become_text() -> None:
    assert parse_yaml("x: {1: a, true: b, null: c, 2.5: d}", "t") == {
        "x": {"1": "a", "true": "b", "": "c", "2.5": "d"}
    }


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [\n", "t:3:1"),
        ("a: 1\na: 2\n", "t:2:1"),
        ("a: *x\n", "t:1:4"),
        ("a:\n\t- b\n", "t:2:1"),
        ("a: @x\n", "t:1:4"),
        ('a: "\\ud83d"\n', "t:1:4"),
        ("a: !!int x\n", "t:1:4"),
        ("? [a]\n: b\n", "t:1:3"),
        ("a: \x01\n", "t"),
    ],
)
def test_errors_have_a_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "t")
    assert str(caught.value.position) == place


def test_aliases_cannot_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        inner = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{inner}]")
    with pytest.raises(ConfigError, match="aliasing"):
        parse_yaml("\n".join(lines), "t")


@pytest.mark.parametrize("text", TEXTS[::4])
def test_quick_reader_agrees(text: str) -> None:
    try:
        quick = parse_quick(text)
    except Unsure:
        return
    assert repr(quick) == repr(parse_fully(text, "t"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_quick_reader_agrees_on_fragments(text: str) -> None:
    try:
        quick = parse_quick(text)
    except Unsure:
        return
    assert repr(quick) == repr(parse_fully(text, "t"))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_nothing_but_config_errors(text: str) -> None:
    try:
        parse_yaml(text, "t")
    except ConfigError:
        pass


def test_most_generated_files_take_the_quick_way() -> None:
    plain = (
        "services:\n- name: a  # x\n  addr: ':80'\n  metadata: {b: [1, 'c']}\nlog:\n    level: x\n"
    )
    assert parse_quick(plain) == {
        "services": [{"name": "a", "addr": ":80", "metadata": {"b": [1, "c"]}}],
        "log": {"level": "x"},
    }
