"""Bypass lists. The expectations were recorded from gost 3.2.6, except those marked ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.errors import Position
from gostpy.lines import Line
from gostpy.route.bypass import Bypass, decide_group

MATCHES = [
    ("*.a.com", "x.a.com"),
    ("*.a.com", "x.y.a.com"),
    ("*.a.com", ".a.com"),
    ("**.q.com", "q.q.com"),
    (".b.com", "b.com:1"),
    (".b.com", "q.b.com"),
    ("c.com:80-90", "c.com:80"),
    ("10.0.0.0/8", "10.1.1.1"),
    ("10.1.2.3/8", "10.1.1.1:8"),
    ("10.0.0.0/8", "[::ffff:10.1.1.1]:8"),
    ("1.2.3.4-1.2.3.9", "1.2.3.5:1"),
    ("1.2.3.4 - 1.2.3.9", "1.2.3.9"),
    ("192.168.1.1", "192.168.1.1:5"),
    ("192.168.1.2:80", "192.168.1.2:80"),
    ("ex?.org", "exa.org"),
    ("*.p.com:443", "z.p.com:443"),
    ("{k,l}.net*", "k.netx"),
    ("{k,l}.net*", "l.net"),
    ("fe80::/10", "[fe80::1]:1"),
    ("fe80::/10", "fe80::1"),
    ("h.com:*", "h.com:5"),
    ("[a-c]m.x.io*", "bm.x.io"),
    ("[abc]n*", "bnq"),
    ("[!abc]o*", "xo"),
    ("x{a,b*}{c,}z?", "xaczq"),
    ("x{a,b*}{c,}z?", "xbbbbczq"),
    ("::1", "[::1]:1"),
    ("::1", "0:0::1"),
    ("[::2]:80", "[::2]:80"),
    ("e.com:abc", "e.com:7"),
    ("a\\*b*", "a*bc"),
    ("0.0.0.0/0", "8.8.8.8:1"),
    ("::/0", "[2001:db8::1]:1"),
]
MISSES = [
    ("*.a.com", "a.com"),
    (".b.com", "bb.com"),
    ("c.com:80-90", "c.com:91"),
    ("c.com:80-90", "c.com"),
    ("c.com:80-90", "x.c.com:80"),
    ("192.168.1.2:80", "192.168.1.2"),
    ("192.168.1.2:80", "192.168.1.2:81"),
    ("1.2.3.9-1.2.3.4", "1.2.3.5"),
    ("ex?.org", "exab.org"),
    ("*.p.com:443", "z.p.com"),
    ("{k,l}.net*", "m.net"),
    ("[!abc]o*", "ao"),
    ("[a-c]m.x.io*", "dm.x.io"),
    ("10.0.0.0/8:80", "10.1.1.1:80"),
    ("10.0.0.0/8", "10.example.org"),
    ("::/0", "8.8.8.8:1"),
    ("[::2]:80", "[::2]:81"),
    ("a\\*b*", "axbc"),
]
OURS = [
    ("D.com", "d.com:1"),
    ("d.com", "D.COM."),
    ("*.d.com", "X.D.com"),
    ("d.com.", "d.com"),
    ("1.2.3.4", "[::ffff:1.2.3.4]:80"),
    ("[::2]:80", "[0::2]:80"),
    ("127.0.0.1", "127.1"),
    ("127.0.0.0/8", "0x7f000001:80"),
    ("127.0.0.0/8", "2130706433"),
    ("[a-z0-9].x.io*", "5.x.io"),
    ("10.*", "[::ffff:10.1.1.1]:1"),
]


def _id(value: str) -> str:
    return value or "empty"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("pattern", "address"), MATCHES, ids=_id)
def test_matches(pattern: str, address: str, strict: bool) -> None:
    verdict = Bypass([pattern], strict=strict).decide("tcp", address)
    assert verdict
    assert verdict.matched
    assert verdict.rule == Line(pattern)
    assert not Bypass([pattern], whitelist=True, strict=strict).decide("tcp", address)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("pattern", "address"), MISSES, ids=_id)
def test_does_not_match(pattern: str, address: str, strict: bool) -> None:
    assert not Bypass([pattern], strict=strict).decide("tcp", address)
    verdict = Bypass([pattern], whitelist=True, strict=strict).decide("tcp", address)
    assert verdict
    assert verdict.reason == "whitelist: no pattern matches"


@pytest.mark.parametrize(("pattern", "address"), OURS, ids=_id)
def test_spellings_that_gost_misses(pattern: str, address: str) -> None:
    assert Bypass([pattern]).decide("tcp", address)


@pytest.mark.parametrize(("pattern", "address"), [*OURS[:4], OURS[5]], ids=_id)
def test_strict_compares_text(pattern: str, address: str) -> None:
    assert not Bypass([pattern], strict=True).decide("tcp", address)


@pytest.mark.parametrize("whitelist", [False, True])
def test_empty_address_is_never_bypassed(whitelist: bool) -> None:
    assert not Bypass(["*"], whitelist).decide("tcp", "")


def test_several_ports_of_a_host() -> None:
    patterns = ["f.com:80", "f.com:443"]
    assert Bypass(patterns).decide("tcp", "f.com:80")
    assert Bypass(patterns).decide("tcp", "f.com:443")
    assert not Bypass(patterns, strict=True).decide("tcp", "f.com:80")


def test_reason_names_the_line() -> None:
    line = Line("*.a.com", Position("list.txt", 3, 1))
    verdict = Bypass([line]).decide("tcp", "x.a.com:80")
    assert verdict.reason == "blacklist: '*.a.com' (list.txt:3:1)"


def test_network() -> None:
    bypass = Bypass(["a.com"], network="udp")
    assert not bypass.decide("tcp", "a.com:53").applies
    assert bypass.decide("udp", "a.com:53")
    assert bypass.decide("udp4", "a.com:53")


def test_whitelist_for_another_network_has_no_say() -> None:
    only_udp = Bypass(["a.com"], whitelist=True, network="udp")
    assert not only_udp.decide("tcp", "b.com:80")
    assert decide_group([only_udp, Bypass(["b.com"])], "tcp", "b.com:80")
    assert decide_group([only_udp, Bypass([], whitelist=True)], "tcp", "b.com:80")


GROUPS = [
    pytest.param("w.com", False, id="a whitelist lets pass"),
    pytest.param("bad.w.com", True, id="a blacklist on top of a whitelist"),
    pytest.param("x.com", True, id="no whitelist lets pass"),
    pytest.param("v.com", False, id="one whitelist is enough"),
]


@pytest.mark.parametrize(("address", "expected"), GROUPS)
def test_group(address: str, expected: bool) -> None:
    group = [
        Bypass([".w.com"], whitelist=True),
        Bypass(["bad.w.com"]),
        Bypass(["v.com"], whitelist=True),
    ]
    assert decide_group(group, "tcp", address).bypassed is expected
    assert decide_group(reversed(group), "tcp", address).bypassed is expected


def test_empty_group() -> None:
    assert not decide_group([], "tcp", "a.com:80")


REMARKS = [
    ("10.0.0.0/8:80", "not a network"),
    ("1.2.3.9-1.2.3.4", "range is empty"),
    ("a.com:90-80", "range of ports is empty"),
    ("a.com:http", "not numbers"),
    ("[z-a]*", "never matches"),
    ("[*", "never matches"),
    ("{a,b}" * 20 + "*", "too many alternatives"),
]


@pytest.mark.parametrize(("pattern", "text"), REMARKS, ids=_id)
def test_remarks(pattern: str, text: str) -> None:
    (remark,) = Bypass([pattern]).remarks
    assert text in str(remark)


def test_overlapping_ranges() -> None:
    bypass = Bypass(["10.0.0.0-10.0.0.255", "10.0.0.5-10.0.0.6", "fe80::1-fe80::5", "9.0.0.1"])
    for address in ("10.0.0.0", "10.0.0.200", "10.0.0.5", "fe80::3", "9.0.0.1"):
        assert bypass.decide("tcp", address), address
    for address in ("10.0.1.0", "9.255.255.255", "fe80::6", "9.0.0.2"):
        assert not bypass.decide("tcp", address), address


def test_large_lists_take_few_steps() -> None:
    networks = [f"{a}.{b}.{c}.0/24" for a in (11, 12) for b in range(100) for c in range(100)]
    domains = [f"*.d{n}.example" for n in range(20_000)]
    bypass = Bypass(networks + domains)
    assert bypass.decide("tcp", "12.99.99.7:80")
    assert not bypass.decide("tcp", "13.0.0.1:80")
    assert bypass.decide("tcp", "www.d19999.example:80")
    assert not bypass.decide("tcp", "www.e1.example:80")
    assert not bypass._globs


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=40), st.booleans())
def test_anything_may_be_written(patterns: list[str], address: str, strict: bool) -> None:
    Bypass(patterns, strict=strict).decide("tcp", address)


_SIGNS = st.text("ab.*?{},[]!-\\:/019", max_size=16)


@given(_SIGNS, _SIGNS)
def test_signs_in_any_order(pattern: str, address: str) -> None:
    Bypass([pattern]).decide("tcp", address)


def test_globs_take_linear_time() -> None:
    assert not Bypass(["*a" * 20 + "*b"]).decide("tcp", "a" * 250)
    assert Bypass(["*a" * 20 + "*b"]).decide("tcp", "a" * 250 + "b")
