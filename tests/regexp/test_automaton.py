"""Expressions. Expectations were recorded from Go's regexp package."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError
from gostpy.regexp import Regexp
from gostpy.regexp.automaton import LONGEST_SUBJECT

CASES = [
    ("a$", ["a"], ["a\n"]),
    ("(?i)abc", ["xABCx"], ["ab"]),
    ("a(?i)b|c", ["aB", "C"], ["AB"]),
    ("(?i-s:a.)b", ["A1b"], ["A1B"]),
    ("\\Aab\\z", ["ab"], ["abc"]),
    ("\\bfoo\\b", ["a foo b"], ["afoo"]),
    ("a\\Bb", ["ab"], ["a b"]),
    ("[[:alpha:]]+\\d", ["a1"], ["1a"]),
    ("[[:^alpha:]x]", ["1", "x"], ["y"]),
    ("\\pL\\p{Nd}\\PN", ["a1b", "é1b"], ["11b"]),
    ("\\p{^L}", ["1"], ["a"]),
    ("(?P<x>a)(?<y>b)", ["ab"], ["a"]),
    ("^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
    ("a{,2}", ["a{,2}"], ["a"]),
    ("a{2", ["a{2"], ["aa"]),
    ("a{2,}", ["aa", "aaaa"], ["a"]),
    ("a*?b", ["b", "ab"], ["a"]),
    ("[^a]", ["\n"], ["a"]),
    (".", ["a"], ["\n"]),
    ("(?s).", ["\n"], [""]),
    ("(?m)^b$", ["a\nb\nc"], ["ab"]),
    ("\\Q.*\\Ex", [".*x"], ["abx"]),
    ("\\x41\\x{42}\\101", ["ABA"], ["AB"]),
    ("\\w", ["a", "_"], ["é", "-"]),
    ("\\W\\D\\S", ["-a-"], ["aa-"]),
    ("[\\d\\s-]", ["1", " ", "-"], ["a"]),
    ("[]a]", ["]"], ["b"]),
    ("[a&&b]", ["&"], ["c"]),
    ("a|", ["x", ""], []),
    ("()", [""], []),
    ("^*", ["a"], []),
    ("\\-\\/\\_", ["-/_"], ["-/"]),
    ("(?i)[^a]", ["b"], ["A"]),
    ("(?U)a+", ["a"], [""]),
    ("^(a|ab)(c|bcd)$", ["abcd", "ac"], ["abd"]),
]

WRONG = [
    "x{1001}",
    "x{2,1}",
    "(?=a)",
    "(?<!a)",
    "\\1",
    "\\8",
    "a**",
    "a*+",
    "a{1,2}{3}",
    "*a",
    "{2}",
    "[a-\\d]",
    "[z-a]",
    "[a",
    "[[:nope:]]",
    "(",
    "a)",
    "\\Z",
    "\\C",
    "\\e",
    "[\\b]",
    "\\",
    "\\x{110000}",
    "\\p{Greek}",
    "((a{100}){100}){100}",
    "(" * 500,
]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_search(pattern: str, yes: list[str], no: list[str]) -> None:
    expression = Regexp(pattern)
    assert [text for text in yes if not expression.search(text)] == []
    assert [text for text in no if expression.search(text)] == []


@pytest.mark.parametrize("pattern", WRONG)
def test_wrong(pattern: str) -> None:
    with pytest.raises(ConfigError):
        Regexp(pattern)


def test_no_subject_is_slow() -> None:
    assert not Regexp("^(a+)+$").search("a" * 10_000 + "!")
    assert not Regexp("(a|aa)*.{200}c$").search("ab" * 5_000)


def test_long_subjects_never_match() -> None:
    assert Regexp("a").search("a" * LONGEST_SUBJECT)
    assert not Regexp("a").search("a" * (LONGEST_SUBJECT + 1))


def test_what_is_kept_is_bounded() -> None:
    expression = Regexp("ab")
    for start in range(0, 60_000, 5_000):
        assert not expression.search("".join(map(chr, range(0x2000 + start, 0x7000 + start))))
    assert expression._known <= 20_000
    assert expression.search("xab")


_SYNTAX = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            ".",
            "*",
            "+",
            "?",
            "|",
            "(",
            ")",
            "(?:",
            "[ab]",
            "[ab ]",
            "^",
            "$",
            "{2}",
            "\\b",
        ]
    ),
    max_size=10,
).map("".join)


@given(_SYNTAX, st.text("ab ", max_size=8))
def test_agrees_with_the_standard_module(pattern: str, subject: str) -> None:
    try:
        expression = Regexp(pattern)
    except ConfigError:
        return
    try:
        standard = re.compile(pattern.replace("$", "(?:\\Z)").replace("^", "(?:\\A)"))
    except re.error:
        return
    assert expression.search(subject) is bool(standard.search(subject))


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_config_errors(pattern: str, subject: str) -> None:
    try:
        Regexp(pattern).search(subject)
    except ConfigError:
        pass


@given(st.text("ab\\(){}[]^$?*+-|:dpPxQE!<>is019,", max_size=24), st.text(max_size=8))
def test_signs_in_any_order(pattern: str, subject: str) -> None:
    try:
        Regexp(pattern).search(subject)
    except ConfigError:
        pass
