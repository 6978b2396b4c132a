"""Options of components, declared once.

A component declares a frozen dataclass whose fields are made by :func:`opt`. Parsing, error
messages, the reference pages and the schema all come from that declaration::

    @dataclass(frozen=True)
    class Options:
        backlog: int = opt(128, "backlog", unit="connections", positive=True, doc="Accept queue.")
        timeout: float = opt(0.0, "timeout", kind="duration", doc="Handshake deadline; 0 = none.")

Conversion follows gost: keys ignore case; the first spelling that exists wins even when its value
cannot be used; integers in a duration are seconds; text may be a number with a unit. Unlike gost,
JSON numbers count as numbers, ``yes/on/no/off`` are booleans and a plain string is a list of one
item; a value that cannot be converted is reported instead of silently becoming zero.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gostpy.errors import ConfigError

__all__ = ["Option", "Problem", "duration", "no_effect", "opt", "options_of", "parse"]

T = TypeVar("T")

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off", ""})
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


@dataclass(frozen=True)
class Option:
    """The declaration behind one field.

    Attributes:
        keys: gost's spellings in the order of look-up; the first is the canonical one.
        kind: ``bool int float str duration list map``.
        default: value in effect when no key is present.
        doc: one line of meaning.
        unit: of the number, for the reference page.
        since: gost release that introduced it.
        positive: zero and negative values mean the default.
        choices: accepted values, empty for any.
        effect: False for an option that gost reads but does not use.
    """

    keys: tuple[str, ...]
    kind: str
    default: Any
    doc: str
    unit: str = ""
    since: str = "3.2.6"
    positive: bool = False
    choices: tuple[Any, ...] = ()
    effect: bool = True


@dataclass(frozen=True)
class Problem:
    """Something in metadata that is worth a warning: an unknown key or an unusable value."""

    key: str
    message: str


def opt(
    default: Any,
    *keys: str,
    doc: str,
    kind: str = "",
    unit: str = "",
    since: str = "3.2.6",
    positive: bool = False,
    choices: tuple[Any, ...] = (),
    effect: bool = True,
) -> Any:
    """Declare one option as a dataclass field; see :class:`Option` for the arguments.

    ``kind`` follows from the type of the default; durations (seconds, float) must say so.
    """
    if not kind:
        kind = {bool: "bool", int: "int", float: "float", str: "str", tuple: "list", dict: "map"}[
            type(default)
        ]
    declared = Option(keys, kind, default, doc, unit, since, positive, choices, effect)
    if kind == "map":
        return field(default_factory=lambda: dict(default), metadata={"option": declared})
    return field(default=default, metadata={"option": declared})


def no_effect(*keys: str, doc: str, kind: str = "str", since: str = "3.2.6") -> Any:
    """Declare an option that gost accepts and ignores; so does gostpy, without a warning."""
    defaults = {"bool": False, "int": 0, "float": 0.0, "duration": 0.0, "str": "", "list": ()}
    return opt(defaults[kind], *keys, doc=doc, kind=kind, since=since, effect=False)


def options_of(cls: type) -> dict[str, Option]:
    """The declarations of an options class: field name -> Option."""
    return {f.name: f.metadata["option"] for f in dataclasses.fields(cls) if "option" in f.metadata}


def parse(
    cls: type[T],
    metadata: Mapping[str, Any] | None,
    *,
    strict: bool = False,
    known: Iterable[str] = (),
    problems: list[Problem] | None = None,
    defaults: Mapping[str, Any] | None = None,
    keys: Mapping[str, tuple[str, ...]] | None = None,
) -> T:
    """Make an options object from a metadata map.

    Args:
        cls: a dataclass whose fields were made by :func:`opt`.
        metadata: gost's free map; keys ignore case.
        strict: convert as gost 3.2.6 does (unusable values become zero values in silence).
        known: further keys that are not reported as unknown.
        problems: filled with unknown keys and unusable values.
        defaults: field name -> default that differs here (a stack's row); others are ignored.
        keys: field name -> spellings that differ here, likewise.
    """
    lowered = {str(key).lower(): (key, value) for key, value in (metadata or {}).items()}
    declared = options_of(cls)
    values = {name: value for name, value in (defaults or {}).items() if name in declared}
    owned = {key.lower() for key in known}
    for name, option in declared.items():
        spellings = (keys or {}).get(name, option.keys)
        owned.update(key.lower() for key in spellings)
        found = next((lowered[k.lower()] for k in spellings if k.lower() in lowered), None)
        if found is None:
            continue
        key, raw = found
        try:
            value = convert(raw, option.kind, strict=strict)
            if option.choices and not strict and value not in option.choices:
                expected = ", ".join(repr(c) for c in option.choices)
                raise ConfigError(f"{value!r} is not one of {expected}")
        except ConfigError as error:
            if problems is not None and not strict:
                problems.append(Problem(str(key), error.message))
            value = _zero(option.kind)
        if option.positive and isinstance(value, int | float) and value <= 0:
            value = values.get(name, option.default)
        values[name] = value
    if problems is not None and not strict:
        problems += [
            Problem(str(key), "unknown option")
            for low, (key, _) in lowered.items()
            if low not in owned
        ]
    return cls(**values)


def convert(value: Any, kind: str, *, strict: bool = False) -> Any:
    """Convert one metadata value. Raises ConfigError saying what was expected."""
    return _CONVERTERS[kind](value, strict)


def _zero(kind: str) -> Any:
    return {"bool": False, "int": 0, "float": 0.0, "duration": 0.0, "str": "", "list": ()}.get(
        kind, {}
    )


def _bool(value: Any, strict: bool) -> bool:
    if isinstance(value, bool | int):
        return bool(value)
    text = str(value)
    if strict:
        return text in {"1", "t", "T", "TRUE", "true", "True"}
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ConfigError(f"expected true or false, not {text!r}")


def _int(value: Any, strict: bool) -> int:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) and not strict:
        return int(value)
    if isinstance(value, str):
        try:
            return int(value.strip(), 10)
        except ValueError:
            pass
    raise ConfigError(f"expected a whole number, not {value!r}")


def _float(value: Any, strict: bool) -> float:
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(str(value))
    except ValueError:
        raise ConfigError(f"expected a number, not {value!r}") from None


def _str(value: Any, strict: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str | int):
        return str(value)
    raise ConfigError(f"expected text, not {type(value).__name__}")


def duration(text: str) -> float:
    """Seconds of a Go duration such as ``1h30m``, ``300ms`` or ``-1s``; a bare number is seconds.

    Raises ValueError: anything else.
    """
    text = text.strip()
    sign = -1.0 if text.startswith("-") else 1.0
    body = text.lstrip("+-") if text[:1] in "+-" else text
    if re.fullmatch(r"\d+", body):
        return sign * float(body)
    position, total = 0, 0.0
    for match in _DURATION_PART.finditer(body):
        if match.start() != position:
            break
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    if not body or position != len(body):
        raise ValueError(f"not a duration: {text!r}")
    return sign * total


def _duration(value: Any, strict: bool) -> float:
    if isinstance(value, float) and strict:
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return duration(str(value))
    except ValueError:
        raise ConfigError(f"expected a duration such as 10s or 1m30s, not {value!r}") from None


def _list(value: Any, strict: bool) -> tuple[Any, ...]:
    if isinstance(value, list | tuple):
        return tuple(item for item in value if item is not None)
    if isinstance(value, str) and not strict:
        return (value,) if value else ()
    if strict:
        return ()
    raise ConfigError(f"expected a list, not {type(value).__name__}")


def _map(value: Any, strict: bool) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if strict:
        return {}
    raise ConfigError(f"expected a map, not {type(value).__name__}")


_CONVERTERS: dict[str, Callable[[Any, bool], Any]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "duration": _duration,
    "list": _list,
    "map": _map,
}
