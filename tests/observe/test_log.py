"""Loggers: levels, bound fields, several sinks, secrets."""

import json
from typing import Any

import pytest

from gostpy.interfaces import Log
from gostpy.observe.log import LEVELS, Logger, Sink, combine, level_number, silent


def logger(level: str = "info", **options: Any) -> tuple[Logger, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    sink = Sink(lambda data: lines.append(json.loads(data)), level, clock=lambda: 0.0, **options)
    return Logger(sink), lines


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level: str) -> None:
    log, lines = logger(level)
    for name in LEVELS:
        getattr(log, name)("m")
    shown = [line["level"].removesuffix("ing") for line in lines]
    assert shown == list(LEVELS[LEVELS.index(level) :])
    assert log.trace_on is (level == "trace")
    assert log.debug_on is (level in ("trace", "debug"))
    assert log.info_on is (level in ("trace", "debug", "info"))


def test_unknown_levels_mean_info() -> None:
    assert level_number("loud") is None
    assert level_number("warning") == level_number("warn")
    assert logger("loud")[0].info_on
    assert not logger("loud")[0].debug_on


def test_bound_fields() -> None:
    log, lines = logger()
    bound = log.bind(kind="service", service="a")
    bound.bind(kind="handler").info("one", sid="x")
    bound.info("two")
    log.info("three")
    assert [(line["msg"], line.get("kind"), line.get("sid")) for line in lines] == [
        ("one", "handler", "x"),
        ("two", "service", None),
        ("three", None, None),
    ]


def test_caller_at_debug_level_only() -> None:
    log, lines = logger("debug")
    log.info("m")
    log.bind(a=1).debug("m")
    for line in lines:
        assert line["caller"].startswith("observe/test_log.py:")
    log, lines = logger("info")
    log.info("m")
    assert "caller" not in lines[0]


def test_secrets() -> None:
    log, lines = logger()
    log = log.bind(password="p", node="http://u:p@h")
    log.info("to socks5://u:p@h?auth=p", Token="p", user="u", empty="", secret="")
    (line,) = lines
    assert line["msg"] == "to socks5://***@h?auth=***"
    assert (line["password"], line["Token"], line["node"]) == ("***", "***", "http://***@h")
    assert (line["user"], line["secret"]) == ("u", "")


def test_named_and_combined() -> None:
    one, first = logger("error", name="one")
    two, second = logger("debug")
    log = combine(one.bind(a=1), two.bind(b=2), two)
    assert log.debug_on
    log.debug("quiet")
    log.error("loud")
    assert [(line["msg"], line["logger"], line["a"]) for line in first] == [("loud", "one", 1)]
    assert [(line["msg"], line["b"]) for line in second] == [("quiet", 2), ("loud", 2)]
    assert "logger" not in second[0]


def test_silence_costs_nothing() -> None:
    log = silent()
    log.fatal("m")
    assert not log.bind(a=1).info_on


def test_a_broken_output_ends_nothing() -> None:
    def broken(data: bytes) -> None:
        raise OSError("no space left")

    sink = Sink(broken)
    Logger(sink).info("m")
    assert sink.lost == 1


def test_an_odd_value_ends_nothing() -> None:
    log, lines = logger()
    log.info("m", value={1: 2, "a": 3})
    log.info("m", value=object)
    assert len(lines) == 1
    assert log.sinks[0].lost == 1


def test_text_format() -> None:
    lines: list[bytes] = []
    Logger(Sink(lines.append, format="text")).warn("lone \ud800")
    assert b'level=warning msg="lone ' in lines[0]
    assert lines[0].endswith(b"\n")


def test_is_what_the_engine_expects() -> None:
    log: Log = silent()
    assert log.bind(a=1) is not log
