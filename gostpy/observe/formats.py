"""The two forms of a log line, as gost 3.2.6 prints them.

JSON  one object, keys in alphabetical order, ``time`` with milliseconds in local time
text  ``time="..." level=info msg="..." key=value ...``; on a terminal ``INFO[time] msg  key=value``
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

__all__ = ["Duration", "json_line", "text_line"]

_BARE = re.compile(r"[A-Za-z0-9._/@^+\-]*")
_COLORS = {"trace": 37, "debug": 37, "info": 36, "warning": 33, "error": 31, "fatal": 31}
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_RESERVED = frozenset({"time", "msg", "level"})


class Duration(int):
    """Nanoseconds: a number in JSON, ``1.5s`` in text."""

    def __str__(self) -> str:
        return _go_duration(self)

    @classmethod
    def of(cls, seconds: float) -> Duration:
        return cls(round(seconds * 1e9))


def json_line(moment: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    """One JSON object without a newline. ``moment`` is in seconds since 1970."""
    data = _unclashed(fields)
    data["level"] = level
    data["msg"] = message
    data["time"] = _stamp(moment, milliseconds=True)
    parts = []
    for key in sorted(data):
        value = data[key]
        kind = type(value)
        shown = _string(value) if kind is str else str(value) if kind is int else _other(value)
        parts.append(f"{_key(key)}{shown}")
    return "{" + ",".join(parts) + "}"


def text_line(
    moment: float, level: str, message: str, fields: Mapping[str, Any], *, color: bool = False
) -> str:
    """One line without a newline; control characters of messages and values are escaped."""
    data = sorted(_unclashed(fields).items())
    data = [(k, Duration(v) if k == "duration" and type(v) is int else v) for k, v in data]
    stamp = _stamp(moment, milliseconds=False)
    if color:
        on, off = f"\x1b[{_COLORS[level]}m", "\x1b[0m"
        shown = message if message.isprintable() else _quoted(message)[1:-1].replace('\\"', '"')
        parts = "".join(f" {on}{key}{off}={_value(value)}" for key, value in data)
        return f"{on}{level.upper()[:4]}{off}[{stamp}] {shown:<44} {parts}"
    head = [("time", stamp), ("level", level), *([("msg", message)] if message else [])]
    return " ".join(f"{key}={_value(value)}" for key, value in head + data)


_string = encode_basestring
_other = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str).encode


@lru_cache(maxsize=512)
def _key(key: str) -> str:
    """``"key":``; field names are few."""
    return f"{_string(key)}:"


def _unclashed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which no field has the name of a part of the line."""
    data = dict(fields)
    if not _RESERVED.isdisjoint(data):
        for key in _RESERVED & data.keys():
            data[f"fields.{key}"] = data.pop(key)
    return data


def _stamp(moment: float, *, milliseconds: bool) -> str:
    second = int(moment)
    date, zone = _second(second)
    return f"{date}.{int((moment - second) * 1000):03d}{zone}" if milliseconds else date + zone


@lru_cache(maxsize=4)
def _second(second: int) -> tuple[str, str]:
    """Date and time, and the zone as ``Z`` or ``+02:00``."""
    text = datetime.datetime.fromtimestamp(second).astimezone().isoformat()
    date, zone = text[:19], text[19:]
    return date, "Z" if zone == "+00:00" else zone


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else _plain(value)
    return text if _BARE.fullmatch(text) else _quoted(text)


def _plain(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_plain, value)) + "]"
    return str(value)


def _quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x80
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _go_duration(nanoseconds: int) -> str:
    """Go's form of a duration: ``1h2m3.5s``, ``1.5ms``, ``20µs``, ``0s``."""
    number = int(nanoseconds)
    if number == 0:
        return "0s"
    sign, number = ("-", -number) if number < 0 else ("", number)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if number < size * 1000 and number < 1_000_000_000:
            return sign + _decimal(number, size) + unit
    minutes, rest = divmod(number, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(number: int, size: int) -> str:
    whole, fraction = divmod(number, size)
    if not fraction:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{fraction:0{digits}d}".rstrip("0")
