"""YAML text -> plain values, with the type rules of gost's YAML library.

A quick reader takes the block style that nearly all configurations use; whatever it does not
know for certain goes to ruamel.yaml, which also words the errors.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from compat.values import Timestamp
from compat.yaml_quick import Unsure, key_text, parse_quick
from compat.yaml_scalar import resolve
from gostpy.errors import ConfigError, Position

__all__ = ["parse_fully", "parse_yaml"]

_EXPANDED_MAX = 1_000_000
_DEPTH_MAX = 500
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"


def parse_yaml(text: str, source: str) -> Any:
    """The first document of a text.

    Raises:
        ConfigError: with line and column of ``source``.
    """
    try:
        return parse_quick(text)
    except Unsure:
        return parse_fully(text, source)


def parse_fully(text: str, source: str) -> Any:
    """The same by the complete reader alone. Raises ConfigError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text), source).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(source, mark.line + 1, mark.column + 1) if mark else Position(source)
        parts = [part for part in (error.context, error.problem) if part]
        raise ConfigError(f"not valid YAML: {', '.join(parts)}", "", position) from None
    except RecursionError:
        raise ConfigError("nested too deeply", "", Position(source)) from None
    except (YAMLError, ValueError) as error:
        message = " ".join(str(error).split())
        raise ConfigError(f"not valid YAML: {message}", "", Position(source)) from None


class _Builder:
    """Builds values from parser events; anchors share their value."""

    def __init__(self, events: Iterator[Any], source: str) -> None:
        self._events = events
        self._source = source
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._size = 0

    def document(self) -> Any:
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                return self._node(next(self._events), 0)
        return None

    def _fail(self, message: str, event: Any) -> ConfigError:
        mark = event.start_mark
        return ConfigError(message, "", Position(self._source, mark.line + 1, mark.column + 1))

    def _node(self, event: Any, depth: int) -> Any:
        if depth > _DEPTH_MAX:
            raise self._fail("nested too deeply", event)
        before = self._size
        kind = type(event).__name__
        self._size += 1
        if kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise self._fail(f"unknown anchor {event.anchor!r}", event)
            value, size = self._anchors[event.anchor]
            self._size += size
            if self._size > _EXPANDED_MAX:
                raise self._fail("the document contains excessive aliasing", event)
            return value
        if kind == "ScalarEvent":
            value = self._scalar(event)
        elif kind == "SequenceStartEvent":
            value = self._list(depth)
        else:
            value = self._map(depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._size - before)
        return value

    def _list(self, depth: int) -> list[Any]:
        items = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(event, depth + 1))
        return items

    def _map(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            plain = type(event).__name__ == "ScalarEvent" and event.style is None
            merge = plain and event.value == "<<" and not event.tag
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if merge:
                merged = {**self._merged(value, event), **merged}
                continue
            if isinstance(key, dict | list):
                raise self._fail("a key must be text", event)
            name = key_text(key)
            if name in items:
                raise self._fail(f"the key {name!r} is there twice", event)
            items[name] = value
        return {**merged, **items} if merged else items

    def _merged(self, value: Any, event: Any) -> dict[str, Any]:
        """What ``<<`` adds: one map, or a list of maps of which the first wins."""
        maps = value if isinstance(value, list) else [value]
        found: dict[str, Any] = {}
        for item in maps:
            if not isinstance(item, dict):
                raise self._fail("'<<' needs a map or a list of maps", event)
            found = {**item, **found}
        return found

    def _joined(self, text: str, event: Any) -> str:
        """JSON writes characters beyond U+FFFF as two escapes."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._fail("an escape names half a character", event) from None

    def _scalar(self, event: Any) -> Any:
        tag = str(event.tag or "").replace(_TAG, "!!")
        text = event.value
        if event.style == '"' and _SURROGATE.search(text):
            text = self._joined(text, event)
        if not tag:
            return resolve(text) if event.style is None else text
        if tag == "!!binary":
            try:
                raw = base64.b64decode("".join(text.split()), validate=True)
            except ValueError:
                raise self._fail("!!binary needs base64", event) from None
            return raw.decode("utf-8", "surrogateescape")
        value = resolve(text)
        wanted = {
            "!!int": int,
            "!!float": float,
            "!!bool": bool,
            "!!null": type(None),
            "!!timestamp": Timestamp,
        }.get(tag)
        if wanted is None:
            return text
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            raise self._fail(f"{text!r} is not a {tag[2:]}", event)
        return value
