"""Plain values (what YAML, JSON or TOML yield) -> configuration objects.

Two sets of rules, both gost's: :data:`WEAK` for files and stdin, where ``"3"`` may be a number, a
single object may stand for a list and keys ignore case; :data:`STRICT` for inline JSON and web
API bodies, where types must fit and durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from compat.schema.fields import Field, key_of
from compat.values import (
    Duration,
    Timestamp,
    float_plain,
    parse_bool,
    parse_duration,
    parse_integer,
)

__all__ = ["STRICT", "WEAK", "DecodeError", "Decoder", "Path", "describe", "lower_keys"]

T = TypeVar("T")
Path = tuple[str | int, ...]
_INT64 = range(-(1 << 63), 1 << 63)
_DEPTH = 200


class DecodeError(Exception):
    """The value at ``path`` does not fit. Callers turn it into a ConfigError with a position."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def describe(value: Any) -> str:
    """What a value is, for an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Timestamp):
        return f"the date {str(value)!r} (put it in quotes to make it text)"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a map" if isinstance(value, Mapping) else "a list"


def lower_keys(value: Any) -> Any:
    """A free map as it arrives from a file: keys in lower case at every depth."""
    if isinstance(value, dict):
        return {str(key).lower(): lower_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [lower_keys(item) for item in value]
    return value


class _Mismatch(Exception):
    """A value is not what was expected; the message says what was."""


class Rules:
    """Files: gost's weak typing.

    Every method turns a value that is not None into a field's value or raises _Mismatch.
    """

    def text(self, value: Any) -> str:
        if isinstance(value, str) and not isinstance(value, Timestamp):
            return value
        if isinstance(value, bool):
            return "1" if value else "0"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            return float_plain(value)
        raise _Mismatch("text")

    def integer(self, value: Any) -> int:
        if isinstance(value, bool | int) or (
            isinstance(value, float) and value == value and abs(value) < 2**63
        ):
            number = int(value)
        elif isinstance(value, str) and not isinstance(value, Timestamp):
            try:
                number = parse_integer(value) if value else 0
            except ValueError:
                raise _Mismatch("a whole number") from None
        else:
            raise _Mismatch("a whole number")
        if number not in _INT64:
            raise _Mismatch("a whole number of 64 bits")
        return number

    def flag(self, value: Any) -> bool:
        if isinstance(value, bool | int | float):
            return bool(value)
        if isinstance(value, str):
            try:
                return parse_bool(value) if value else False
            except ValueError:
                pass
        raise _Mismatch("true or false")

    def span(self, value: Any) -> Duration:
        if isinstance(value, str) and not isinstance(value, Timestamp):
            try:
                return parse_duration(value)
            except ValueError as error:
                raise _Mismatch(f"a duration such as 10s or 1m30s ({error})") from None
        try:
            return Duration(self.integer(value))
        except _Mismatch:
            raise _Mismatch("a duration such as 10s or 1m30s") from None

    def items(self, value: Any) -> list[Any]:
        """A list; a single object or value becomes a list of one, text is split at commas."""
        if isinstance(value, list):
            return value
        if isinstance(value, str) and not isinstance(value, Timestamp):
            return value.split(",") if value else []
        if isinstance(value, Mapping) and not value:
            return []
        return [value]

    def table(self, value: Any) -> dict[str, Any]:
        """A free map with keys in lower case; a list of maps is merged."""
        if isinstance(value, list):
            merged: dict[str, Any] = {}
            for item in value:
                merged.update(self.table(item))
            return merged
        if isinstance(value, Mapping):
            return {str(key).lower(): lower_keys(item) for key, item in value.items()}
        raise _Mismatch("a map")


class _StrictRules(Rules):
    """Inline JSON: types must fit, free maps keep their keys, numbers in them are floats."""

    def text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        raise _Mismatch("text")

    def integer(self, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
            return value
        raise _Mismatch("a whole number")

    def flag(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise _Mismatch("true or false")

    def span(self, value: Any) -> Duration:
        try:
            return Duration(self.integer(value))
        except _Mismatch:
            raise _Mismatch("a duration in nanoseconds, a whole number") from None

    def items(self, value: Any) -> list[Any]:
        if isinstance(value, list):
            return value
        raise _Mismatch("a list")

    def table(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Mapping):
            return {str(key): _floats(item) for key, item in value.items()}
        raise _Mismatch("a map")


def _floats(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return _float(value)
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return value


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _Mismatch("a number that fits in 64 bits") from None


WEAK = Rules()
STRICT = _StrictRules()


class Decoder:
    """Decodes under one set of rules and collects what is worth a warning.

    Attributes:
        unknown: path of every key that no object declares, and the class that was looked at.
        twice: path of every key that repeats another one in other letters.
        errors: values that did not fit; their fields are as if missing.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.errors: list[DecodeError] = []
        self.unknown: list[tuple[Path, type[Any]]] = []
        self.twice: list[Path] = []
        self._kinds: dict[str, Callable[[Field, Any, Path], Any]] = {
            "text": self._scalar,
            "integer": self._scalar,
            "flag": self._scalar,
            "span": self._scalar,
            "table": self._scalar,
            "texts": self._texts,
            "headers": self._headers,
            "one": self._one,
            "many": self._many,
            "values": self._many,
            "chain_names": self._chain_names,
        }

    def object(self, cls: type[T], value: Any, path: Path = ()) -> T:
        """An object of ``cls`` from a map. Raises DecodeError: it is no map."""
        if not isinstance(value, Mapping):
            raise DecodeError(path, f"expected a map, not {describe(value)}")
        if len(path) > _DEPTH:
            raise DecodeError(path, "nested too deeply")
        keys, found = key_of(cls), {}
        for key, item in value.items():
            declared = keys.get(str(key).lower())
            if declared is None:
                self.unknown.append(((*path, str(key)), cls))
                continue
            if declared.name in found:
                self.twice.append((*path, str(key)))
            if item is None:
                continue
            try:
                found[declared.name] = self._value(declared, item, (*path, declared.key))
            except DecodeError as error:
                self.errors.append(error)
        return cls(**found)

    def _value(self, declared: Field, value: Any, path: Path) -> Any:
        try:
            return self._kinds[declared.kind](declared, value, path)
        except _Mismatch as mismatch:
            raise DecodeError(path, f"expected {mismatch}, not {describe(value)}") from None

    def _scalar(self, declared: Field, value: Any, path: Path) -> Any:
        return getattr(self.rules, declared.kind)(value)

    def _texts(self, declared: Field, value: Any, path: Path) -> list[str]:
        texts = []
        for index, item in enumerate(self.rules.items(value)):
            try:
                texts.append("" if item is None else self.rules.text(item))
            except _Mismatch:
                raise DecodeError((*path, index), f"expected text, not {describe(item)}") from None
        return texts

    def _headers(self, declared: Field, value: Any, path: Path) -> dict[str, str]:
        named = {}
        for key, item in self.rules.table(value).items():
            try:
                named[key] = "" if item is None else self.rules.text(item)
            except _Mismatch:
                raise DecodeError((*path, key), f"expected text, not {describe(item)}") from None
        return named

    def _one(self, declared: Field, value: Any, path: Path) -> Any:
        assert declared.cls is not None
        return self.object(declared.cls, value, path)

    def _many(self, declared: Field, value: Any, path: Path) -> list[Any]:
        assert declared.cls is not None
        empty = declared.cls if declared.kind == "values" else None
        return [
            (empty and empty()) if item is None else self.object(declared.cls, item, (*path, index))
            for index, item in enumerate(self.rules.items(value))
        ]

    def _chain_names(self, declared: Field, value: Any, path: Path) -> list[Any]:
        assert declared.cls is not None
        entries = []
        for index, item in enumerate(self.rules.items(value)):
            if isinstance(item, Mapping):
                entries.append(self.object(declared.cls, item, (*path, index)))
                continue
            try:
                entries.append(declared.cls(chain="" if item is None else self.rules.text(item)))
            except _Mismatch:
                raise DecodeError(
                    (*path, index), f"expected the name of a chain, not {describe(item)}"
                ) from None
        return entries
