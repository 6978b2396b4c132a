"""Flags, environment, workers, the front door."""

from __future__ import annotations

from typing import Any

import pytest

from compat.flags import FlagError, parse_flags, split_workers
from compat.settings import load_settings


def test_notations() -> None:
    flags = parse_flags(["-L=a", "--L", "b", "-D", "-DD=false", "-C", "x", "-C=y", "-R", "1m"])
    assert flags.services == ["a", "b"]
    assert flags.configs == ["x", "y"]
    assert (flags.debug, flags.trace) == (True, False)
    assert flags.reload == 60_000_000_000


def test_parsing_stops_at_words() -> None:
    flags = parse_flags(["-L", "a", "word", "-L", "b"])
    assert flags.services == ["a"]
    assert flags.extra == ["word", "-L", "b"]
    assert parse_flags(["--", "-L", "b"]).services == []


@pytest.mark.parametrize(
    "arguments",
    [["-x"], ["---L", "a"], ["-=a"], ["-L"], ["-D=maybe"], ["-R", "10"], ["-l", "a"]],
)
def test_bad_flags(arguments: list[str], command: Any) -> None:
    with pytest.raises(FlagError):
        parse_flags(arguments)
    result = command(*arguments)
    assert result.status == 2
    assert "gostpy -h" in result.errors
    assert result.errors.count("\n") == 1
    assert result.output == ""


def test_help_and_version(command: Any) -> None:
    for flag in ("-h", "--help"):
        result = command(flag)
        assert result.status == 0
        assert "Usage: gostpy" in result.errors
    result = command("-V", "-C", "nothing.yml")
    assert result.status == 0
    assert result.output.startswith("gostpy ")
    assert "(Python 3." in result.output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["-L", "a"], []),
        (["--", "-L", "a"], []),
        (["-L", "a", "--"], []),
        (["-L", "a", "--", "-L", "b"], [["-L", "a"], ["-L", "b"]]),
        (["-D", "--", "-L", "b c", "--", "-V"], [["-D"], ["-L", "b c"], ["-V"]]),
    ],
)
def test_workers(arguments: list[str], parts: list[list[str]]) -> None:
    assert split_workers(arguments) == parts
    assert split_workers(arguments, strict=True) == parts


def test_strict_workers_split_at_double_blanks() -> None:
    assert split_workers(["-L", "a  b", "--", "-V"], strict=True)[0] == ["-L", "a", "b"]
    assert split_workers(["-L", "a  b", "--", "-V"])[0] == ["-L", "a  b"]


def test_environment_keeps_the_section_unless_strict(command: Any) -> None:
    files = {"a.yml": "services: [{name: s}]\nlog: {level: info, format: text}\n"}
    environment = {"GOST_LOGGER_LEVEL": "debug"}
    arguments = ("-O", "yaml", "-C", "a.yml")
    mild = command(*arguments, files=files, environment=environment)
    assert mild.output.endswith("log:\n  level: debug\n  format: text\n")
    strict = command(*arguments, files=files, environment=environment, strict=True)
    assert strict.output.endswith("log:\n  level: debug\n")


def test_settings() -> None:
    environment = {"_GOST_ID": "3", "GOSTPY_COMPAT": "strict"}
    found = load_settings(["-L", ":80", "-DD", "-D", "-R=5s"], environment, lambda: b"")
    assert found.log_level == "trace"
    assert found.reload.seconds == 5.0
    assert found.worker == "3"
    assert found.strict


def test_what_is_ignored_is_said(command: Any) -> None:
    result = command("-O", "yaml", "-L", "foo://:80?a=%zz", "word", "-D")
    assert result.status == 0
    assert result.errors.splitlines() == [
        "gostpy: warning: 'word' is no flag; it and everything after it is ignored",
        "gostpy: warning: -L 1: 'foo' is not a known handler or listener, the defaults are used",
        "gostpy: warning: -L 1: the query parameter 'a' is malformed and ignored",
    ]
    assert command("-O", "yaml", "-L", "foo://:80", strict=True).errors == ""


def test_infinity_has_no_json(command: Any) -> None:
    files = {"a.yml": "services: [{name: s, metadata: {a: .inf}}]"}
    assert "a: .inf" in command("-O", "yaml", "-C", "a.yml", files=files).output
    assert command("-O", "json", "-C", "a.yml").status == 1
    strict = command("-O", "json", "-C", "a.yml", strict=True)
    assert (strict.status, strict.output) == (0, "")


@pytest.mark.parametrize("scheme", ["auth=dXNlcjpwYXNz", "auth=dXNlcjpwYXNz&x=1", "auth=dXNlcg"])
def test_base64_without_padding(scheme: str, command: Any) -> None:
    result = command("-O", "yaml", "-L", f"http://:80?{scheme}")
    assert "username: user" in result.output


def test_every_port_of_a_range_has_its_own_objects() -> None:
    found = load_settings(["-L", "http://u:p@:80-82?climiter=5&x=1"], {}, lambda: b"")
    services = [service for service in found.config.services or () if service]
    assert [service.climiter for service in services] == ["climiter-0", "climiter-1", "climiter-2"]
    assert len({id(service.handler) for service in services}) == 3
    assert all(service.handler and service.handler.auth for service in services)


def test_stdio_takes_its_host_as_target(command: Any) -> None:
    result = command("-O", "yaml", "-L", "stdio://h:22")
    assert result.output == (
        "services:\n  - name: service-0\n    handler:\n      type: forward\n    listener:\n"
        "      type: stdio\n    forwarder:\n      nodes:\n        - name: target-0\n"
        "          addr: h:22\n"
    )


def test_repr_hides_secrets() -> None:
    found = load_settings(["-L", "http://u:secret@:80?x=secret"], {}, lambda: b"")
    assert "secret" not in repr(found.config)
    assert "username='u'" in repr(found.config)
