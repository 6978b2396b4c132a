"""Which type a YAML scalar without quotes has, by the rules of the YAML library that gost uses.

YAML 1.2 with leftovers of 1.1: ``yes`` and ``off`` are text, ``0777`` and ``1_000`` are numbers,
``2001-01-01`` is a date.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from compat.values import Timestamp, parse_integer

__all__ = ["Scalar", "is_text", "resolve"]

Scalar = None | bool | int | float | str

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_HEX_FLOAT = re.compile(r"[-+]?0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*[pP][-+]?[0-9]+")
_PREFIXED = re.compile(r"(-?)0([bo])([+-]?[0-9]+)")
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_HINTS = frozenset("+-.0123456789yYnNtTfFoO~")


@lru_cache(maxsize=4096)
def resolve(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text and text[0] not in _HINTS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return float(text) if _FLOAT.fullmatch(text) else text
    if text[0] not in "+-0123456789":
        return text
    date = _timestamp(text)
    if date is not None:
        return date
    number = _number(text)
    return text if number is None else number


def is_text(text: str) -> bool:
    """Whether a plain scalar would be read back as text. ``<<`` would not."""
    if text == "<<":
        return True
    value = resolve(text)
    return isinstance(value, str) and not isinstance(value, Timestamp)


def _number(text: str) -> int | float | None:
    plain = text.replace("_", "")
    try:
        value = parse_integer(plain)
    except ValueError:
        value = None
    if value is not None and -(1 << 63) <= value < (1 << 64):
        return value
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        return None if number in (float("inf"), float("-inf")) else number
    match = _PREFIXED.fullmatch(plain)
    if match:
        try:
            return int(match[1] + match[3], 2 if match[2] == "b" else 8)
        except ValueError:
            return None
    return None


def _timestamp(text: str) -> Timestamp | None:
    match = _DATE.fullmatch(text)
    if not match:
        return None
    year, month, day, gap, hour, minute, second, fraction, zone = match.groups()
    if (gap in ("T", "t")) != bool(zone):
        return None
    try:
        date = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError:
        return None
    fraction = (fraction or "")[:9].rstrip("0")
    offset = "Z" if zone in (None, "Z", "+00:00") else zone
    return Timestamp(date.isoformat() + (f".{fraction}" if fraction else "") + offset)
