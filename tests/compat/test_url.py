"""URLs of the command line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.cmd import build
from compat.url import parse_url, port_range, split_host_port
from gostpy.errors import ConfigError


def test_parts() -> None:
    url = parse_url("HTTP+tls://us%3Aer:p%40ss@[::1]:80/a%2Fb/c?x=1&x=2&y=a+b&bad=%zz&z;=1#frag")
    assert url.scheme == "http+tls"
    assert (url.user, url.password) == ("us:er", "p@ss")
    assert (url.host, url.hostname) == ("[::1]:80", "::1")
    assert (url.path, url.escaped_path) == ("/a/b/c", "/a%2Fb/c")
    assert url.query == {"x": "1", "y": "a b"}
    assert url.dropped == ["bad=%zz", "z;=1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("://h", "scheme"),
        ("a_b://h", "scheme"),
        ("http://h:x", "invalid port ':x'"),
        ("http://[::1", "missing ']'"),
        ("http://[1.2.3.4]:80", "not an IPv6 address"),
        ("http://a[b]:80", "IPv6"),
        ("http://a b:80", "invalid character"),
        ("http://h%20x", "invalid escape '%20'"),
        ("http://u%zz@h", "invalid escape '%zz'"),
        ("http://u p@h", "escapes"),
        ("http://h/%", "invalid escape '%'"),
        ("http://h/\x01", "control"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_url(text)


def test_bytes_that_are_not_utf8_survive() -> None:
    assert parse_url("http://a%ff@h").user == "a\udcff"


@pytest.mark.parametrize(
    ("address", "lenient", "strict"),
    [
        (":80", [":80"], [":80"]),
        ("h:80-82", ["h:80", "h:81", "h:82"], ["h:80", "h:81", "h:82"]),
        ("[::1]:7-8", ["[::1]:7", "[::1]:8"], ["[::1]:7", "[::1]:8"]),
        (":82-80", [":82-80"], [":82-80"]),
        (":http", [":http"], [":0"]),
        (":99999", [":99999"], [":0"]),
        (":1-2-3", [":1-2-3"], [":0"]),
        ("h:", ["h:0"], ["h:0"]),
        ("h", ["h"], ["h"]),
        ("::1:80", ["::1:80"], ["::1:80"]),
        ("tls://h:1-2", ["tls://h:1-2"], ["tls://h:1-2"]),
    ],
)
def test_port_ranges(address: str, lenient: list[str], strict: list[str]) -> None:
    assert port_range(address) == lenient
    assert port_range(address, strict=True) == strict


def test_host_and_port() -> None:
    assert split_host_port("[::1]:80") == ("::1", "80")
    assert split_host_port("h:") == ("h", "")
    for text in ("h", "[::1]", "[::1", "a:b:c", "[a]b:1"):
        assert split_host_port(text) is None


URLS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["http", "+tls", "://", ":", "@", "/", "?", "&", "=", "#", "%", "%41", "%zz", "[", "]"]
            + ["::1", "80-82", ",", "a", "é", " ", ";", "bypass=~a", "limiter.in=1MB", "retries=3"]
        ),
        max_size=12,
    ).map("".join),
)


@given(URLS, URLS, st.booleans())
def test_nothing_but_config_errors(service: str, node: str, strict: bool) -> None:
    try:
        build([service], [node], strict=strict)
    except ConfigError:
        pass


def test_errors_name_the_argument() -> None:
    with pytest.raises(ConfigError) as caught:
        build([":80"], ["http://h:1", "http://h:x"])
    assert str(caught.value) == "-F 2: invalid port ':x' after the host"
