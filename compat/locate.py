"""Search of a path in YAML, JSON or TOML text, for messages only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from compat.decode import Path

__all__ = ["find"]

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.S)
_TOML_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_TOML_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")


class _Node:
    """A value in a text: its place, and its children with the places of their keys."""

    __slots__ = ("items", "keys", "mark")

    def __init__(self, mark: tuple[int, int]) -> None:
        self.mark = mark
        self.keys: dict[str, tuple[tuple[int, int], _Node]] = {}
        self.items: list[_Node] = []


def find(text: str, form: str, path: Path, *, key: bool) -> tuple[int, int]:
    """Line and column, from 1; (0, 0) when the text cannot be read."""
    if form == "toml":
        return _find_toml(text, path)
    tree = _yaml_tree(text) if form == "yaml" else _json_tree(text)
    return (0, 0) if tree is None else _walk(tree, path, key)


def _walk(node: _Node, path: Path, key: bool) -> tuple[int, int]:
    mark, at = node.mark, 0
    while at < len(path):
        part = path[at]
        if isinstance(part, int):
            if part < len(node.items):
                node = node.items[part]
                mark = node.mark
            elif node.items or part:
                break
            at += 1
            continue
        found = _child(node, path, at)
        if found is None:
            break
        at, key_mark, node = found
        mark = key_mark if key or node.mark == (0, 0) else node.mark
    return mark


def _child(node: _Node, path: Path, at: int) -> tuple[int, tuple[int, int], _Node] | None:
    """The child of the next part, or of several parts written as one dotted key."""
    name = ""
    for end in range(at, len(path)):
        part = path[end]
        if isinstance(part, int):
            break
        name = f"{name}.{part.lower()}" if name else part.lower()
        if name in node.keys:
            key_mark, child = node.keys[name]
            return end + 1, key_mark, child
    return None


@lru_cache(maxsize=4)
def _yaml_tree(text: str) -> _Node | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        root = YAML(typ="safe", pure=True).compose(text)
        return None if root is None else _from_yaml(root, 0)
    except (YAMLError, RecursionError, ValueError):
        return None


def _from_yaml(node: Any, depth: int) -> _Node:
    mark = node.start_mark
    made = _Node((mark.line + 1, mark.column + 1))
    kind = type(node).__name__
    if depth > 60:
        return made
    if kind == "MappingNode":
        for key, value in node.value:
            start = key.start_mark
            name = str(key.value).lower() if type(key).__name__ == "ScalarNode" else ""
            place = (start.line + 1, start.column + 1)
            if name == "<<":
                _merge(made, value, depth)
            else:
                made.keys[name] = (place, _from_yaml(value, depth + 1))
    elif kind == "SequenceNode":
        made.items = [_from_yaml(item, depth + 1) for item in node.value]
    return made


def _merge(made: _Node, value: Any, depth: int) -> None:
    sources = value.value if type(value).__name__ == "SequenceNode" else [value]
    for source in sources:
        for name, child in _from_yaml(source, depth + 1).keys.items():
            made.keys.setdefault(name, child)


@lru_cache(maxsize=4)
def _json_tree(text: str) -> _Node | None:
    tokens = _json_tokens(text)
    try:
        return _from_json(next(tokens), tokens)
    except (StopIteration, RecursionError):
        return None


def _json_tokens(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    line, line_start, at = 1, 0, 0
    for match in _JSON_TOKEN.finditer(text):
        breaks = text.count("\n", at, match.start())
        if breaks:
            line += breaks
            line_start = text.rfind("\n", 0, match.start()) + 1
        at = match.start()
        yield match[0], (line, at - line_start + 1)


def _from_json(
    token: tuple[str, tuple[int, int]], tokens: Iterator[tuple[str, tuple[int, int]]]
) -> _Node:
    word, mark = token
    made = _Node(mark)
    if word == "{":
        while (key := next(tokens))[0] != "}":
            if key[0] == ",":
                continue
            next(tokens)
            child = _from_json(next(tokens), tokens)
            made.keys[key[0].strip('"').lower()] = (key[1], child)
    elif word == "[":
        while (item := next(tokens))[0] != "]":
            if item[0] != ",":
                made.items.append(_from_json(item, tokens))
    return made


def _find_toml(text: str, path: Path) -> tuple[int, int]:
    """The line that sets the longest part of the path; values in braces are not looked into."""
    wanted = _flat(path)
    counts: dict[str, int] = {}
    table = ""
    best, found = 0, (1, 1)
    for number, line in enumerate(text.splitlines(), start=1):
        header = _TOML_HEADER.match(line)
        if header:
            table = _numbered(header[2], counts, grow=header[1] == "[[")
            name, column = table, line.index("[") + 1
        else:
            match = _TOML_KEY.match(line)
            if not match:
                continue
            name = f"{table}.{match[1]}" if table else match[1]
            column = match.start(1) + 1
        parts = [part.strip("\"' ").lower() for part in name.split(".")]
        if len(parts) > best and parts == wanted[: len(parts)]:
            best, found = len(parts), (number, column)
    return found


def _flat(path: Path) -> list[str]:
    """Keys with indexes glued on: ``services#0``."""
    flat: list[str] = []
    for part in path:
        if isinstance(part, int) and flat:
            flat[-1] += f"#{part}"
        elif isinstance(part, str):
            flat += [piece.lower() for piece in part.split(".")]
    return flat


def _numbered(name: str, counts: dict[str, int], *, grow: bool) -> str:
    """A table name with the index of every array of tables in it."""
    parts, done = [part.strip("\"' ") for part in name.split(".")], ""
    for index, part in enumerate(parts):
        done = f"{done}.{part}" if done else part
        if grow and index == len(parts) - 1:
            counts[done] = counts.get(done, -1) + 1
        if done in counts:
            done += f"#{counts[done]}"
    return done
