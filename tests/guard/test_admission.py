"""Admission lists. Expectations were recorded from gost 3.2.6, except those marked ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.guard.admission import Admission, decide_group
from gostpy.lines import read_lines


def resolve(name: str) -> list[str]:
    if name == "localhost":
        return ["127.0.0.1", "::1"]
    raise OSError(f"{name} is unknown")


PATTERNS = ["10.0.0.1", "192.168.0.0/16", "localhost", "fe80:0:0::1"]
CASES = [
    ("10.0.0.1:5", True),
    ("10.0.0.1", True),
    ("10.0.0.2:5", False),
    ("192.168.3.4:1", True),
    ("127.0.0.1:1", True),
    ("[fe80::1]:80", True),
    ("[fe80::1%eth0]:80", True),  # ours
    ("[::ffff:10.0.0.1]:4", True),  # ours
    ("[::1]:1", True),  # ours: gost takes the first address of a name only
    ("@", False),
    ("localhost:1", False),
]


@pytest.mark.parametrize(("address", "matched"), CASES)
def test_decide(address: str, matched: bool) -> None:
    assert Admission(PATTERNS, resolve=resolve).decide(address).admitted is not matched
    assert Admission(PATTERNS, True, resolve=resolve).decide(address).admitted is matched


@pytest.mark.parametrize("whitelist", [False, True])
def test_an_unknown_address_is_admitted(whitelist: bool) -> None:
    assert Admission(PATTERNS, whitelist).decide("")


def test_reason() -> None:
    lines = read_lines("10.0.0.0/8 # ours\n", "deny.txt")
    assert Admission(lines).decide("10.1.1.1:1").reason == "blacklist: '10.0.0.0/8' (deny.txt:1:1)"
    assert Admission(lines, True).decide("9.1.1.1:1").reason == "whitelist: no pattern matches"


@pytest.mark.parametrize(
    ("resolver", "text"), [(resolve, "unknown"), (None, "no address"), (lambda _: [], "no address")]
)
def test_names_without_address(resolver: object, text: str) -> None:
    admission = Admission(["nowhere"], True, resolve=resolver)  # type: ignore[arg-type]
    assert text in str(admission.remarks[0])
    assert not admission.decide("1.2.3.4:1")


def test_group_wants_all() -> None:
    home, office = Admission(["10.0.0.0/8"], True), Admission(["10.9.0.0/16"])
    assert decide_group([home, office], "10.1.1.1:1")
    assert not decide_group([home, office], "10.9.1.1:1")
    refusal = decide_group([office, home], "11.1.1.1:1")
    assert not refusal
    assert refusal.whitelist
    assert decide_group([], "1.1.1.1:1")


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=30), st.booleans())
def test_anything_may_be_written(patterns: list[str], address: str, whitelist: bool) -> None:
    Admission(patterns, whitelist, resolve=resolve).decide(address)
