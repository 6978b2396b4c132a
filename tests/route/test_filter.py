"""The node filter."""

import pytest

from gostpy.route.filter import Filter

CASES = [
    (Filter(), "a.com:80", True),
    (Filter(), "", True),
    (Filter(host="a.com"), "a.com:80", True),
    (Filter(host="a.com"), "A.com", True),
    (Filter(host="a.com"), "x.a.com", False),
    (Filter(host="a.com"), "", False),
    (Filter(host="*.b.com"), "x.b.com", True),
    (Filter(host="*b.com"), "x.b.com", True),
    (Filter(host=".b.com"), "b.com", True),
    (Filter(host=".b.com"), "ab.com", True),
    (Filter(host="::1"), "[::1]:80", True),
]


@pytest.mark.parametrize(("filter", "host", "expected"), CASES)
def test_host(filter: Filter, host: str, expected: bool) -> None:
    assert filter.matches(host) is expected


def test_protocol_and_path() -> None:
    both = Filter(protocol="http", path="/api")
    assert both.matches("a", "http", "/api/x")
    assert both.mismatch("a", "tls", "/api") == "protocol is not http"
    assert both.mismatch("a", "http", "/") == "path does not begin with /api"
    assert both.mismatch("a", "http") == "path does not begin with /api"
