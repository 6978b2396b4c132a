"""Log lines. Expected lines were printed by gost 3.2.6, with its time put in."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gostpy.observe.formats import Duration, json_line, text_line

MOMENT = 1795389435.8285
FIELDS = {"kind": "service", "service": "service-0", "listener": "tcp", "handler": "http"}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_json() -> None:
    assert json_line(MOMENT, "info", "listening on 127.0.0.1:28080/tcp", FIELDS) == (
        '{"handler":"http","kind":"service","level":"info","listener":"tcp",'
        '"msg":"listening on 127.0.0.1:28080/tcp","service":"service-0",'
        '"time":"2026-11-22T23:17:15.828Z"}'
    )


def test_json_values() -> None:
    fields = {"duration": Duration(2295944), "inputBytes": 0, "network": "", "on": True, "no": None}
    line = json_line(MOMENT, "info", "a <-> b & é \n", fields)
    assert line == (
        '{"duration":2295944,"inputBytes":0,"level":"info","msg":"a <-> b & é \\n",'
        '"network":"","no":null,"on":true,"time":"2026-11-22T23:17:15.828Z"}'
    )


def test_text() -> None:
    fields = {
        **FIELDS,
        "client": "127.0.0.1:47852",
        "duration": Duration(1188387),
        "network": "",
        "sid": "dc1nfutqmd2u1mdfavk0",
        "caller": "http/handler.go:506",
    }
    assert text_line(MOMENT, "info", "127.0.0.1:47852 >-< 127.0.0.1:1", fields) == (
        'time="2026-11-22T23:17:15Z" level=info msg="127.0.0.1:47852 >-< 127.0.0.1:1" '
        'caller="http/handler.go:506" client="127.0.0.1:47852" duration=1.188387ms handler=http '
        "kind=service listener=tcp network= service=service-0 sid=dc1nfutqmd2u1mdfavk0"
    )


def test_text_on_a_terminal() -> None:
    fields = {"caller": "tcp/listener.go:64", "handler": "http"}
    assert text_line(MOMENT, "debug", "pp: 0", fields, color=True) == (
        "\x1b[37mDEBU\x1b[0m[2026-11-22T23:17:15Z] pp: 0                                         "
        '\x1b[37mcaller\x1b[0m="tcp/listener.go:64" \x1b[37mhandler\x1b[0m=http'
    )


def test_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-05:30")
    time.tzset()
    moment = MOMENT + 7
    assert '"time":"2026-11-23T04:47:22.828+05:30"' in json_line(moment, "info", "", {})
    assert text_line(moment, "info", "", {}) == 'time="2026-11-23T04:47:22+05:30" level=info'


def test_fields_do_not_hide_parts_of_the_line() -> None:
    line = json.loads(json_line(MOMENT, "warning", "m", {"msg": "x", "time": 1, "level": 2}))
    assert (line["msg"], line["level"]) == ("m", "warning")
    assert (line["fields.msg"], line["fields.time"], line["fields.level"]) == ("x", 1, 2)


QUOTED = [
    ("plain-1._/@^+", "plain-1._/@^+"),
    ("", ""),
    ("a b", '"a b"'),
    ('a"b\\', '"a\\"b\\\\"'),
    ("a\n\t\x00\x7f", '"a\\n\\t\\x00\\x7f"'),
    ("é", '"é"'),
    ("\u2028\U000e0001", '"\\u2028\\U000e0001"'),
    (None, '"<nil>"'),
    (True, "true"),
    (["a", 1], '"[a 1]"'),
]


@pytest.mark.parametrize(("value", "shown"), QUOTED)
def test_text_values(value: object, shown: str) -> None:
    assert text_line(MOMENT, "info", "", {"k": value}).partition(" k=")[2] == shown


def test_no_control_characters_reach_a_terminal() -> None:
    line = text_line(MOMENT, "info", 'say "\x1b[2J\n"', {}, color=True)
    assert 'say "\\x1b[2J\\n"' in line


DURATIONS = [
    (0, "0s"),
    (1, "1ns"),
    (1500, "1.5µs"),
    (1188387, "1.188387ms"),
    (1_000_000_000, "1s"),
    (90_500_000_000, "1m30.5s"),
    (3_600_000_000_000, "1h0m0s"),
    (-1_500_000_000, "-1.5s"),
]


@pytest.mark.parametrize(("nanoseconds", "text"), DURATIONS)
def test_duration(nanoseconds: int, text: str) -> None:
    assert str(Duration(nanoseconds)) == text


def test_duration_of_seconds() -> None:
    assert Duration.of(0.0015) == 1_500_000


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=10), st.text(max_size=20)))
def test_one_line_whatever_comes(message: str, fields: dict[str, str]) -> None:
    assert "\n" not in json_line(MOMENT, "info", message, fields)
    assert json.loads(json_line(MOMENT, "info", message, fields))["msg"] == message
    if all(key.isprintable() for key in fields):
        for color in (False, True):
            assert "\n" not in text_line(MOMENT, "info", message, fields, color=color)
