"""A quick reader for the YAML that configurations are usually written in.

Block maps and lists, scalars on one line, flow collections on one line, comments. It is twenty
times as fast as a complete reader, and raises :class:`Unsure` at anything it does not know for
certain (anchors, tags, text over several lines, tabs, errors): the complete reader then decides.
"""

from __future__ import annotations

import re
from typing import Any

from compat.values import float_plain
from compat.yaml_scalar import resolve

__all__ = ["Unsure", "key_text", "parse_quick"]

_ODD = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]|^(?:---|\.\.\.|%)", re.M
)
_KEY = re.compile(
    r"(?:(?P<plain>[A-Za-z0-9_][A-Za-z0-9_./\-]*)|'(?P<single>[^'\n]*)'|\"(?P<double>[^\"\\\n]*)\")"
    r" *:(?: +|$)"
)
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\["\\/nt])*)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t"}
_TAIL = re.compile(r" *(?: #.*)?$")
_PLAIN_START = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`]|[\-?:](?=[^\s,\[\]{}])")
_FLOW_PLAIN = re.compile(
    r"(?:[A-Za-z0-9_./$~+]|-(?=[A-Za-z0-9.]))"
    r"(?:[A-Za-z0-9_./$~+*=;()@|\\^<>&%!\-]|:(?=[A-Za-z0-9_./])| +(?=[A-Za-z0-9_./]))*"
)
_BLANKS = re.compile(r" *")
_DEPTH_MAX = 50


class Unsure(Exception):
    """The text needs the complete reader."""


def parse_quick(text: str) -> Any:
    """The value of a document. Raises Unsure."""
    if text.startswith("---\n"):
        text = text[4:]
    if _ODD.search(text):
        raise Unsure
    lines = []
    for line in text.split("\n"):
        content = line.lstrip(" ")
        if content and content[0] != "#":
            lines.append((len(line) - len(content), content))
    if not lines:
        return None
    reader = _Reader(lines)
    value = reader.block(lines[0][0], 0)
    if reader.at != len(lines):
        raise Unsure
    return value


def key_text(key: Any) -> str:
    """A map's key as text; gost makes text of numbers and null too."""
    if isinstance(key, str):
        return key
    if key is None:
        return ""
    if isinstance(key, bool):
        return "true" if key else "false"
    return float_plain(key) if isinstance(key, float) else str(key)


class _Reader:
    """A cursor over the lines that have content: (indent, text without indent)."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines
        self.at = 0

    def _peek(self) -> tuple[int, str]:
        return self.lines[self.at] if self.at < len(self.lines) else (-1, "")

    def block(self, indent: int, depth: int) -> Any:
        """The list or map that begins at the current line."""
        if depth > _DEPTH_MAX:
            raise Unsure
        if _is_item(self.lines[self.at][1]):
            return self._list(indent, depth)
        return self._map(indent, depth)

    def _map(self, indent: int, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while True:
            here, content = self._peek()
            if here != indent or _is_item(content):
                if here > indent:
                    raise Unsure
                return items
            match = _KEY.match(content)
            if not match:
                raise Unsure
            plain = match["plain"]
            key = key_text(resolve(plain)) if plain else match["single"] or match["double"] or ""
            if key in items:
                raise Unsure
            self.at += 1
            items[key] = self._value(content[match.end() :], indent, depth, in_map=True)

    def _list(self, indent: int, depth: int) -> list[Any]:
        items: list[Any] = []
        while True:
            here, content = self._peek()
            if here != indent or not _is_item(content):
                if here > indent:
                    raise Unsure
                return items
            rest = content[1:].lstrip(" ")
            if rest and (_is_item(rest) or _KEY.match(rest)):
                inner = indent + len(content) - len(rest)
                self.lines[self.at] = (inner, rest)
                items.append(self.block(inner, depth + 1))
                continue
            self.at += 1
            items.append(self._value(rest, indent, depth, in_map=False))

    def _value(self, rest: str, indent: int, depth: int, *, in_map: bool) -> Any:
        """What follows ``key:`` or ``-``: a value on the line or a block below it."""
        below, content = self._peek()
        if not rest or rest[0] == "#":
            if below > indent or (in_map and below == indent and _is_item(content)):
                return self.block(below, depth + 1)
            return None
        if below > indent:
            raise Unsure
        return _inline(rest)


def _is_item(content: str) -> bool:
    return content.startswith("- ") or content == "-"


def _inline(text: str) -> Any:
    first = text[0]
    if first in "[{":
        value, end = _flow(text, 0, 0)
        if not _TAIL.match(text, end):
            raise Unsure
        return value
    if first in "'\"":
        value, end = _quoted(text, 0)
        if not _TAIL.match(text, end):
            raise Unsure
        return value
    if not _PLAIN_START.match(text):
        raise Unsure
    comment = text.find(" #")
    plain = (text if comment < 0 else text[:comment]).rstrip(" ")
    if ": " in plain or plain[-1] == ":":
        raise Unsure
    return resolve(plain)


def _quoted(text: str, at: int) -> tuple[str, int]:
    if text[at] == "'":
        match = _SINGLE.match(text, at)
        if not match:
            raise Unsure
        return match[1].replace("''", "'"), match.end()
    match = _DOUBLE.match(text, at)
    if not match:
        raise Unsure
    value = match[1]
    if "\\" in value:
        value = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), value)
    return value, match.end()


def _flow(text: str, at: int, depth: int) -> tuple[Any, int]:
    """A value inside brackets that begins at ``at``, and where it ends."""
    if depth > _DEPTH_MAX or at >= len(text):
        raise Unsure
    first = text[at]
    if first == "[":
        return _flow_list(text, at + 1, depth)
    if first == "{":
        return _flow_map(text, at + 1, depth)
    if first in "'\"":
        return _quoted(text, at)
    match = _FLOW_PLAIN.match(text, at)
    if not match:
        raise Unsure
    return resolve(match[0]), match.end()


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None
    if match.end() >= len(text):
        raise Unsure
    return match.end()


def _flow_list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _skip(text, at)
    while text[at] != "]":
        value, at = _flow(text, at, depth + 1)
        items.append(value)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != "]":
            raise Unsure
    return items, at + 1


def _flow_map(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    items: dict[str, Any] = {}
    at = _skip(text, at)
    while text[at] != "}":
        match = _KEY.match(text, at)
        if not match or match.end() >= len(text):
            raise Unsure
        plain = match["plain"]
        key = key_text(resolve(plain)) if plain else match["single"] or match["double"] or ""
        if key in items or text[match.end()] in ",}":
            raise Unsure
        items[key], at = _flow(text, match.end(), depth + 1)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != "}":
            raise Unsure
    return items, at + 1
