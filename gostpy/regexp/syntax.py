"""The syntax of Go's regular expressions, read into a tree.

Everything in Go's syntax except script names (``\\p{Greek}``): classes of ``\\p`` are general
categories (``\\pL``, ``\\p{Lu}``). Groups do not capture and repetitions are neither greedy nor
lazy, for only the yes or no counts. Invalid or unsupported syntax is a ConfigError.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

from gostpy.errors import ConfigError

__all__ = ["Alternative", "Assertion", "Chars", "Node", "Repeat", "Sequence", "parse"]

_DEEPEST = 100
_LARGEST_REPEAT = 1000
_LAST = 0x10FFFF
_REPEAT = re.compile(r"\{([0-9]{1,6})(,?)([0-9]{0,6})\}")
_GROUP_NAME = re.compile(r"\?P?<([A-Za-z_][A-Za-z0-9_]*)>")
_FLAGS = re.compile(r"\?([imsU]*)(-[imsU]+)?([:)])")
_POSIX = re.compile(r"\[:(\^?)([a-z]+):\]")
_PROPERTY = re.compile(r"[pP](?:([A-Z])|\{(\^?)([A-Za-z_]+)\})")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((0x30, 0x39),)
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_PERL = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX_CLASSES: dict[str, Ranges] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0, 0x7F),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": ((0x61, 0x7A),),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((9, 13), (32, 32)),
    "upper": ((0x41, 0x5A),),
    "word": _WORD,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
_CATEGORIES = {
    "L": "ultmo",
    "M": "nce",
    "N": "dlo",
    "P": "cdseifo",
    "S": "mcko",
    "Z": "slp",
    "C": "cfos",
}


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of ranges of code points and of general categories (name, negated)."""

    ranges: Ranges
    categories: tuple[tuple[str, bool], ...] = ()
    negated: bool = False
    fold: bool = False

    def __contains__(self, char: str) -> bool:
        found = self._holds(char)
        if not found and self.fold:
            variants = {char.lower(), char.upper(), char.upper().lower(), char.lower().upper()}
            found = any(self._holds(other) for other in variants if len(other) == 1)
        return found is not self.negated

    def _holds(self, char: str) -> bool:
        code = ord(char)
        return any(low <= code <= high for low, high in self.ranges) or any(
            unicodedata.category(char).startswith(name) is not negated
            for name, negated in self.categories
        )


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``low`` to ``high`` times; None is without end."""

    node: Node
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """A place without a character: ``text-begin text-end line-begin line-end word no-word``."""

    kind: str


Node: TypeAlias = Chars | Sequence | Alternative | Repeat | Assertion


def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises ConfigError with the column of what is wrong."""
    parser = _Parser(pattern)
    node = parser.alternatives(0)
    if parser.at < len(pattern):
        raise parser.error("unexpected )")
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.flags = frozenset[str]()

    def error(self, message: str) -> ConfigError:
        return ConfigError(f"{message} in expression {self.text!r}, column {self.at + 1}")

    def match(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        """Match here and step over it."""
        found = expression.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def eat(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.error("groups are nested too deep")
        flags = self.flags
        options: list[Node] = []
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.eat("|"):
                options.append(Sequence(tuple(parts)))
                parts = []
            elif self.eat("\\Q"):
                quoted, _, _ = self.text[self.at :].partition("\\E")
                self.at += len(quoted)
                self.eat("\\E")
                nodes: list[Node] = [self.literal(ord(char)) for char in quoted]
                parts += nodes[:-1] + [self.repeated(node) for node in nodes[-1:]]
            else:
                node = self.atom(depth)
                if node is not None:
                    parts.append(self.repeated(node))
        self.flags = flags
        options.append(Sequence(tuple(parts)))
        return options[0] if len(options) == 1 else Alternative(tuple(options))

    def repeated(self, node: Node) -> Node:
        bounds = self.bounds()
        if bounds is None:
            return node
        self.eat("?")
        if self.bounds() is not None:
            raise self.error("nested repetition")
        return Repeat(node, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        for operator, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.eat(operator):
                return bounds
        found = self.match(_REPEAT)
        if found is None:
            return None
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else None
        if max(low, high or 0) > _LARGEST_REPEAT or (high is not None and high < low):
            raise self.error("invalid repeat count")
        return low, high

    def atom(self, depth: int) -> Node | None:
        """One item; None for a group that only sets flags."""
        char = self.text[self.at]
        if char in "*+?" or _REPEAT.match(self.text, self.at):
            raise self.error("nothing to repeat")
        if char == "[":
            return self.char_class()
        self.at += 1
        if char == "(":
            return self.group(depth)
        if char == "\\":
            return self.escape()
        if char == ".":
            return Chars(((0, _LAST),) if "s" in self.flags else ((0, 9), (11, _LAST)))
        if char == "^":
            return Assertion("line-begin" if "m" in self.flags else "text-begin")
        if char == "$":
            return Assertion("line-end" if "m" in self.flags else "text-end")
        return self.literal(ord(char))

    def literal(self, code: int) -> Chars:
        if "i" not in self.flags:
            return Chars(((code, code),))
        char = chr(code)
        same = {char, char.lower(), char.upper(), char.lower().upper(), char.upper().lower()}
        return Chars(tuple((ord(c), ord(c)) for c in sorted(same) if len(c) == 1), fold=True)

    def group(self, depth: int) -> Node | None:
        outer = self.flags
        if self.text.startswith("?", self.at) and not self.match(_GROUP_NAME):
            found = self.match(_FLAGS)
            if found is None:
                raise self.error("unsupported group (?")
            self.flags = (self.flags | set(found[1])) - set(found[2] or "")
            if found[3] == ")":
                return None
        node = self.alternatives(depth + 1)
        if not self.eat(")"):
            raise self.error("missing )")
        self.flags = outer
        return node

    def escape(self) -> Node:
        """Behind a backslash, outside of a class."""
        for text, kind in (("A", "text-begin"), ("z", "text-end"), ("b", "word"), ("B", "no-word")):
            if self.eat(text):
                return Assertion(kind)
        chars = self.class_escape()
        return chars if chars is not None else self.literal(self.code_escape())

    def class_escape(self) -> Chars | None:
        """A backslash was read: a class such as ``d`` or ``pL``, or None."""
        char = self.text[self.at : self.at + 1]
        if char.lower() in _PERL and char:
            self.at += 1
            return Chars(_PERL[char.lower()], negated=char.isupper())
        found = self.match(_PROPERTY)
        if found is None:
            return None
        name = found[1] or found[3]
        negated = (char == "P") is not bool(found[2])
        if name == "Any":
            return Chars(((0, _LAST),), negated=negated)
        if name[0] not in _CATEGORIES or name[1:] not in ("", *_CATEGORIES[name[0]]):
            raise self.error(f"unsupported class {name}")
        return Chars((), ((name, negated),), fold="i" in self.flags)

    def code_escape(self) -> int:
        """A backslash was read: the code point that it and what follows stand for."""
        found = self.match(_HEX)
        if found:
            code = int(found[1] or found[2], 16)
            if code > _LAST:
                raise self.error("no such character")
            return code
        found = self.match(_OCTAL)
        if found:
            return int(found[0], 8)
        char = self.text[self.at : self.at + 1]
        if not char or not char.isascii() or (char.isalnum() and char not in _CONTROL):
            raise self.error("invalid escape")
        self.at += 1
        return _CONTROL.get(char, ord(char))

    def char_class(self) -> Chars:
        start = self.at
        self.at += 1
        negated = self.eat("^")
        ranges: list[tuple[int, int]] = []
        categories: list[tuple[str, bool]] = []
        first = True
        while first or not self.eat("]"):
            if self.at >= len(self.text):
                self.at = start
                raise self.error("missing ]")
            first = False
            named = self.named_class()
            if named is not None:
                categories += named.categories
                ranges += _complement(named.ranges) if named.negated else named.ranges
                continue
            low = high = self.class_char()
            if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                high = self.class_char()
                if high < low:
                    raise self.error("invalid range")
            ranges.append((low, high))
        return Chars(tuple(ranges), tuple(categories), negated, "i" in self.flags)

    def named_class(self) -> Chars | None:
        found = self.match(_POSIX)
        if found:
            if found[2] not in _POSIX_CLASSES:
                raise self.error(f"unknown class {found[2]}")
            return Chars(_POSIX_CLASSES[found[2]], negated=bool(found[1]))
        if self.text.startswith("\\", self.at):
            self.at += 1
            chars = self.class_escape()
            if chars is not None:
                return chars
            self.at -= 1
        return None

    def class_char(self) -> int:
        if self.at >= len(self.text):
            raise self.error("missing ]")
        if self.eat("\\"):
            return self.code_escape()
        self.at += 1
        return ord(self.text[self.at - 1])


def _complement(ranges: Ranges) -> list[tuple[int, int]]:
    result, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            result.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        result.append((start, _LAST))
    return result
