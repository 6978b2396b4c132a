"""Go's notation of durations, numbers and truth values.

gost reads and prints configuration with Go's rules: ``1h30m`` is a duration, ``t`` is true, a
large float prints as ``1e+06``. Everything that depends on those rules goes through here.
"""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = [
    "Duration",
    "Timestamp",
    "atoi",
    "float_json",
    "float_plain",
    "float_yaml",
    "parse_bool",
    "parse_duration",
    "parse_integer",
]

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LIMIT = 1 << 63
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_DIGITS = re.compile(r"[+-]?[0-9]+")
_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)"
    r"|0[bB](?P<bin>_?[01]+(?:_[01]+)*)"
    r"|0[oO](?P<oct>_?[0-7]+(?:_[0-7]+)*)"
    r"|0(?P<old>(?:_?[0-7])+)"
    r"|(?P<dec>0|[1-9](?:_?[0-9])*))"
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "old": 8, "dec": 10}


class Duration(int):
    """Nanoseconds. ``str()`` is Go's notation (``1m30s``)."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """The same span in seconds, the unit of the engine."""
        return int(self) / 1e9

    @classmethod
    def of(cls, seconds: float) -> Duration:
        """The duration of a number of seconds."""
        return cls(round(seconds * 1e9))

    def __str__(self) -> str:
        return _go_duration(int(self))

    def __repr__(self) -> str:
        return f"Duration({int(self)})"


class Timestamp(str):
    """A YAML date. The text is RFC 3339; it is kept apart from strings because gost does."""

    __slots__ = ()


def parse_duration(text: str) -> Duration:
    """Nanoseconds of a Go duration. Raises ValueError saying what is wrong."""
    sign, body = 1, text
    if body[:1] in ("+", "-"):
        sign, body = (-1 if body[0] == "-" else 1), body[1:]
    if body == "0":
        return Duration(0)
    total, at = 0, 0
    for part in _PART.finditer(body):
        if part.start() != at:
            break
        number, scale = part[1], _UNITS[part[2]]
        total += int(Decimal(number) * scale) if "." in number else int(number) * scale
        at = part.end()
    if not body or at != len(body):
        if re.fullmatch(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", body):
            raise ValueError(f"the duration {text!r} has no unit; write {text}s for seconds")
        raise ValueError(f"{text!r} is not a duration such as 10s or 1m30s")
    if total >= _LIMIT:
        raise ValueError(f"the duration {text!r} is too long")
    return Duration(sign * total)


def _go_duration(ns: int) -> str:
    if ns == 0:
        return "0s"
    sign, ns = ("-" if ns < 0 else ""), abs(ns)
    for unit, scale in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if ns < scale * 1000:
            return f"{sign}{_fraction(ns, scale)}{unit}"
    minutes, rest = divmod(ns, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = _fraction(rest, _UNITS["s"]) + "s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _fraction(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(scale)) - 1, '0').rstrip('0')}"


def parse_bool(text: str) -> bool:
    """Go's words for true and false. Raises ValueError: any other."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is not true or false")


def atoi(text: str) -> int:
    """A decimal number of 64 bits, blanks not allowed. Raises ValueError."""
    if _DIGITS.fullmatch(text) and len(text) < 5000 and -_LIMIT <= int(text) < _LIMIT:
        return int(text)
    raise ValueError(f"{text!r} is not a whole number")


def parse_integer(text: str) -> int:
    """An integer of any size in Go's literal notation: 10, 0x1f, 0o17, 017, 0b1, 1_000.

    Raises ValueError.
    """
    match = _INTEGER.fullmatch(text)
    if not match or len(text) > 4000:
        raise ValueError(f"{text!r} is not a whole number")
    kind = match.lastgroup or "dec"
    value = int(match[kind].replace("_", ""), _BASES[kind])
    return -value if match["sign"] == "-" else value


def float_yaml(value: float) -> str:
    """A float as yaml.v3 prints it: shortest digits, with an exponent from 1e+06 on."""
    special = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value))
    if special:
        return special
    sign, digits, point = _decimal(value)
    if -4 <= point - 1 < 6:
        return sign + _positional(digits, point)
    return sign + _scientific(digits, point - 1)


def float_json(value: float) -> str:
    """A float as encoding/json prints it. Raises ValueError: infinite or not a number."""
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("JSON has no notation for infinite numbers")
    sign, digits, point = _decimal(value)
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return sign + _positional(digits, point)
    return sign + re.sub(r"e-0(\d)$", r"e-\1", _scientific(digits, point - 1))


def float_plain(value: float) -> str:
    """A float in full, without exponent: 1000000, 10.5."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[repr(value)]
    sign, digits, point = _decimal(value)
    return sign + _positional(digits, point)


def _decimal(value: float) -> tuple[str, str, int]:
    """Sign, shortest digits and the place of the point: 0.DIGITS x 10^point."""
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    exponent += len(text) - len(text.rstrip("0"))
    text = text.rstrip("0")
    prefix = "-" if sign else ""
    return (prefix, text, len(text) + exponent) if text else (prefix, "0", 1)


def _positional(digits: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _scientific(digits: str, exponent: int) -> str:
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
