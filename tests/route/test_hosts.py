"""The hosts table. Expectations were recorded from gost 3.2.6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.lines import read_lines
from gostpy.route.hosts import Answer, Hosts, Mapping, parse_mappings

TABLE = """
1.1.1.1  a.com
2.2.2.2\t.b.com   # a comment
3.3.3.3 .com
1.1.1.2 a.com
::1 a.com
1.1.1.1 a.com
4.4.4.4 z other
# 5.5.5.5 z
"""

LOOKUPS = [
    ("ip", "a.com", ("1.1.1.1", "1.1.1.2", "::1"), "a.com"),
    ("ip4", "a.com", ("1.1.1.1", "1.1.1.2"), "a.com"),
    ("ip6", "a.com", ("::1",), "a.com"),
    ("ip6", "z", (), "z"),
    ("ip", "b.com", ("2.2.2.2",), ".b.com"),
    ("ip", "x.b.com", ("2.2.2.2",), ".b.com"),
    ("ip", "y.x.b.com", ("2.2.2.2",), ".b.com"),
    ("ip", ".b.com", ("2.2.2.2",), ".b.com"),
    ("ip", "q.com", ("3.3.3.3",), ".com"),
    ("ip", "com", ("3.3.3.3",), ".com"),
    ("ip", "other", ("4.4.4.4",), "other"),
]


@pytest.mark.parametrize(("network", "host", "ips", "name"), LOOKUPS)
def test_lookup(network: str, host: str, ips: tuple[str, ...], name: str) -> None:
    mappings, remarks = parse_mappings(read_lines(TABLE))
    assert not remarks
    for strict in (False, True):
        assert Hosts(mappings, strict=strict).lookup(network, host) == Answer(ips, name)


@pytest.mark.parametrize("host", ["x.z", "org", "", "."])
def test_no_entry(host: str) -> None:
    mappings, _ = parse_mappings(read_lines(TABLE))
    assert Hosts(mappings).lookup("ip", host) is None


def test_case_and_the_last_dot_do_not_matter() -> None:
    mappings = [Mapping("1.2.3.4", ("A.com",))]
    assert Hosts(mappings).lookup("ip", "a.COM.")
    assert not Hosts(mappings, strict=True).lookup("ip", "a.com")


@pytest.mark.parametrize("text", ["1.2.3.4", "a.com 1.2.3.4", "1.2.3 a.com", "fe80::1%eth0 a"])
def test_lines_left_out(text: str) -> None:
    mappings, remarks = parse_mappings(read_lines(text, "hosts.txt"))
    assert not mappings
    assert "hosts.txt:1:1" in str(remarks[0])


def test_wrong_mappings_are_left_out() -> None:
    hosts = Hosts([Mapping("x", ("a",)), Mapping("1.2.3.4", ("", "b"))])
    assert len(hosts.remarks) == 1
    assert hosts.lookup("ip", "a") is None
    assert hosts.lookup("ip", "") is None
    assert hosts.lookup("ip", "b")


@given(st.text(max_size=200), st.text(max_size=30))
def test_anything_may_be_written(text: str, host: str) -> None:
    mappings, _ = parse_mappings(read_lines(text))
    Hosts(mappings).lookup("ip", host)
