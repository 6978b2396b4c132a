"""Secrets of addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.observe.redact import redact

CASES = [
    ("socks5://u:p@h:1080", "socks5://***@h:1080"),
    ("ss://YWVzOnB3@h:1", "ss://***@h:1"),
    ("http+tls://u@h", "http+tls://***@h"),
    ("http://u:p@w@h:80/x", "http://***@h:80/x"),
    ("http://u:p/w@h:80", "http://***@h:80"),
    ("http://u:p#w@h", "http://***@h"),
    ("http://h:80/x@y", "http://h:80/x@y"),
    ("http://[::1]:80/x@y", "http://[::1]:80/x@y"),
    ("http://h", "http://h"),
    ("dial http://u:p@h failed, http://v:q@i too", "dial http://***@h failed, http://***@i too"),
    ("u:p@h:80", "***@h:80"),
    ("-L=u:p@:8080", "-L=***@:8080"),
    ("n1@1.2.3.4:80 > n2@5.6.7.8:90", "n1@1.2.3.4:80 > n2@5.6.7.8:90"),
    ("127.0.0.1:1 <> 127.0.0.1:2", "127.0.0.1:1 <> 127.0.0.1:2"),
    ("http://h?auth=dTpw&x=1", "http://h?auth=***&x=1"),
    ("http://h?connector.password=p", "http://h?connector.password=***"),
    ("http://h?Token=p#x", "http://h?Token=***"),
    ("http://h?path=/x", "http://h?path=/x"),
    ('["http://a:b@h","http://c:d@i"]', '["http://***@h","http://***@i"]'),
    ("listening on http://h:80, then", "listening on http://h:80, then"),
    ("http://fe80::1", "http://fe80::1"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_redact(text: str, expected: str) -> None:
    assert redact(text) == expected


_NAME = st.text("abcXYZ019-_.~%", min_size=1, max_size=8)


@given(_NAME, st.text("pqPQ7!$&'*+,;=:/?#@", min_size=1, max_size=10).map(lambda s: "p4ss" + s))
def test_no_password_is_left(user: str, password: str) -> None:
    assert "p4ss" not in redact(f"proxy http://{user}:{password}@host.example:80")


def test_no_text_is_slow() -> None:
    for text in (":" * 50_000 + "@", "a://" * 20_000, "a=:" * 20_000 + "@", "@:" * 20_000):
        redact(text)


@given(st.text(max_size=60))
def test_anything_may_be_written(text: str) -> None:
    redact(text)
