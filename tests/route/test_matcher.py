"""Matcher rules. Expectations were recorded from gost 3.2.6, except those marked ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import ConfigError
from gostpy.route.matcher import Facts, RuleError, parse_rule, priority_of

FACTS = Facts(
    network="tcp",
    address="A.b.com:80",
    host="A.b.com:80",
    protocol="http",
    client_ip="1.2.3.4",
    method="GET",
    path="/x/y",
    headers={"x-a": ["1", "2"]},
    query="q=v&e=",
)

RULES = [
    ("Host(`a.b.com`)", True),
    ("Host(`.b.com`)", True),
    ("Host(`*.b.com`)", True),
    ("Host(`*b.com`)", True),
    ("Host(`*.com`)", True),
    ("Host(`.om`)", True),
    ("Host(` A.B.com `)", True),
    ("Host(`b.com`)", False),
    ("HostRegexp(`^a\\.b`)", True),
    ("HostRegexp(`A`)", False),
    ("Method(`get`)", True),
    ("Method(`POST`)", False),
    ("Path(`/x`)", False),
    ("Path(`/x/y`)", True),
    ("PathPrefix(`/x`)", True),
    ("PathRegexp(`y$`)", True),
    ("Header(`x-a`)", True),
    ("Header(`X-A`,`2`)", True),
    ("Header(`x-a`,`3`)", False),
    ("HeaderRegexp(`x-a`,`^2`)", True),
    ("HeaderRegexp(`x-b`,`^2`)", False),
    ("HeaderRegexp(`x-a`)", True),
    ("Query(`q`)", True),
    ("Query(`e`)", True),
    ("Query(`Q`)", False),
    ("Query(`q`,`v`)", True),
    ("QueryRegexp(`q`,`^v`)", True),
    ("QueryRegexp(`z`)", False),
    ("Proto(`HTTP`)", True),
    ("ClientIP(`1.2.3.4`)", True),
    ("ClientIP(`1.2.3.0/24`)", True),
    ("ClientIP(`1.2.4.0/24`)", False),
    ("ClientIP(`::ffff:1.2.3.4`)", True),
    ("ClientIP(`::/0`)", False),
    ('host("\\x61.b.c\\u006f\\155")', True),
    ("HOSTREGEXP(`b`)", True),
    ("Host(`a.b.com`,)", True),
    ("Host( `a.b.com` /* why */ ) // because", True),
    ("!Host(`a.b.com`)", False),
    ("!!Host(`a.b.com`)", True),
    ("Host(`x`) && Method(`GET`) || Path(`/x/y`)", True),
    ("Host(`x`) && (Method(`GET`) || Path(`/x/y`))", False),
    ("!(Host(`x`) || Path(`/q`)) && Method(`GET`)", True),
    ("Path(`/x/y`) || Host(`x`) && Host(`y`)", True),
    ("Host(`x`) ||\n Path(`/x/y`)", True),
    ("Host(`x`)\n|| Path(`/x/y`)", True),  # ours
]

WRONG = [
    ("", 1),
    ("Host(`a`) Host(`b`)", 11),
    ("Host(`a`) and Path(`/`)", 11),
    ("Host(`a`) &&", 13),
    ("Host(`a`) ||", 13),
    ("Host(`a`", 9),
    ("(Host(`a`)", 11),
    ("Host(`a`))", 10),
    ("Host(`a)", 6),
    ("Host", 5),
    ("w(`1`)", 1),
    ("Host()", 1),
    ("Host(``)", 6),
    ("Host(`a`,`b`)", 1),
    ("Host('a')", 6),
    ("Host(1)", 6),
    ("Host(`é`)", 1),
    ('Host("\\q")', 6),
    ('Host("\\U99999999")', 6),
    ("Path(`x`)", 1),
    ("PathPrefix(`x`)", 1),
    ("Header(`a`,`b`,`c`)", 1),
    ("Query(`a`,``)", 11),
    ("ClientIP(`x`)", 1),
    ("HostRegexp(`(`)", 1),
    ("Host(`a`) == Host(`b`)", 11),
    ('"a"', 1),
    ("Host(`a`)(`b`)", 10),
    ("-Host(`a`)", 1),
    ("Host(`a`);", 10),
    ("!" * 100 + "Host(`a`)", 66),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_matches(rule: str, expected: bool) -> None:
    assert parse_rule(rule).matches(FACTS) is expected


@pytest.mark.parametrize(("rule", "column"), WRONG)
def test_errors_have_a_column(rule: str, column: int) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(rule)
    assert caught.value.column == column
    assert caught.value.position is not None
    assert caught.value.position.column == column


@pytest.mark.parametrize(
    "rule",
    [
        "Host(`.`)",
        "HostRegexp(`b`)",
        "Proto(`http`)",
        "Method(`GET`)",
        "PathPrefix(`/`)",
        "Header(`x-a`)",
        "Query(`q`)",
        "ClientIP(`0.0.0.0/0`)",
        "Admission(`any`)",
    ],
)
def test_unknown_facts_match_nothing(rule: str) -> None:
    assert not parse_rule(rule, admission=lambda *_: True).matches(Facts())


def test_named_lists() -> None:
    def passes(name: str, address: str) -> bool:
        return (name, address) in {("b", "A.b.com:80"), ("a", "1.2.3.4")}

    assert parse_rule("Bypass(`b`) && Admission(`a`)", bypass=passes, admission=passes).matches(
        FACTS
    )
    assert not parse_rule("Bypass(`c`)", bypass=passes).matches(FACTS)
    assert not parse_rule("Bypass(`b`)").matches(FACTS)
    assert not parse_rule("Admission(`a`)").matches(FACTS)


def test_priority() -> None:
    assert priority_of("Host(`é`)") == 10
    assert priority_of("Host(`a`)", 3) == 3


def test_queries_are_bounded() -> None:
    assert not parse_rule("Query(`q`)").matches(Facts(query="&".join(["q=1"] * 5000)))


@given(st.text(max_size=60))
def test_only_config_errors(rule: str) -> None:
    try:
        parse_rule(rule).matches(FACTS)
    except ConfigError:
        pass


_PARTS = st.sampled_from(
    ["Host(", "HostRegexp(", "Query(", "ClientIP(", "(", ")", "&&", "||", "!", ",", ";", " "]
    + ["`", '"', "`a`", "`/`", '"\\', "`1.2.3.4/33`", "`(`", "\\x", "1"]
)


@given(st.lists(_PARTS, max_size=14).map("".join))
def test_parts_in_any_order(rule: str) -> None:
    try:
        parse_rule(rule).matches(FACTS)
    except ConfigError:
        pass
