"""Matcher rules: which requests a node takes, as an expression over facts of the request.

    Host(`*.example.org`) && (PathPrefix(`/api`) || !Method("GET"))

``&&`` binds tighter than ``||``; ``!`` and parentheses as usual. Arguments are texts in back-quotes
or in double quotes with Go's escapes. Names are the functions in conditions.py, in any case.

Differs   An invalid rule is an error (in gost it matches everything); a rule may be broken into
          lines anywhere; expressions are matched in linear time (see gostpy.regexp).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gostpy.errors import ConfigError, Position
from gostpy.route.conditions import FUNCTIONS, Facts, Named, Test

__all__ = ["Facts", "Rule", "RuleError", "parse_rule", "priority_of"]

_DEEPEST = 64
_LONGEST_RULE = 65_536


class RuleError(ConfigError):
    """A rule cannot be read; ``column`` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(
            f"{message}, column {column} of the rule", position=Position(column=column)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule."""

    text: str
    _test: Test = field(repr=False, compare=False)

    def matches(self, facts: Facts) -> bool:
        return self._test(facts)


def priority_of(rule: str, priority: int = 0) -> int:
    """The priority of a node with this rule: as configured, or the length of the rule in bytes."""
    return priority or len(rule.encode())


def parse_rule(text: str, *, bypass: Named | None = None, admission: Named | None = None) -> Rule:
    """Read a rule.

    Args:
        bypass, admission: look up the names in ``Bypass()`` and ``Admission()`` when matching;
            without them these functions match nothing.

    Raises: RuleError: syntax, an unknown function, or arguments that it cannot take.
    """
    if len(text) > _LONGEST_RULE:
        raise RuleError("the rule is too long", _LONGEST_RULE)
    parser = _Parser(text, {"bypass": bypass, "admission": admission})
    test = parser.either(0)
    if parser.kind != "end":
        raise parser.error(f"unexpected {parser.value!r}")
    return Rule(text, test)


_TOKEN = re.compile(
    r"""(?P<and>&&)|(?P<or>\|\|)|(?P<not>!)|(?P<open>\()|(?P<close>\))|(?P<comma>,)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)|`(?P<raw>[^`]*)`|"(?P<text>(?:[^"\\\n]|\\.)*)"|(?P<end>\Z)""",
    re.VERBOSE,
)
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)


class _Parser:
    """Recursive descent with one token of look-ahead: ``kind`` and ``value`` at ``start``."""

    def __init__(self, text: str, named: dict[str, Named | None]) -> None:
        self._text = text
        self._named = named
        self._at = 0
        self.advance()

    def advance(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        self.start = blank.end() if blank else self._at
        token = _TOKEN.match(self._text, self.start)
        if token is None:
            raise self.error(f"unexpected {self._text[self.start]!r}")
        self.kind = token.lastgroup or ""
        self.value = token[self.kind]
        self._at = token.end()

    def error(self, message: str) -> RuleError:
        return RuleError(message, self.start + 1)

    def either(self, depth: int) -> Test:
        tests = [self.both(depth)]
        while self.kind == "or":
            self.advance()
            tests.append(self.both(depth))
        return tests[0] if len(tests) == 1 else _any(tests)

    def both(self, depth: int) -> Test:
        tests = [self.single(depth)]
        while self.kind == "and":
            self.advance()
            tests.append(self.single(depth))
        return tests[0] if len(tests) == 1 else _all(tests)

    def single(self, depth: int) -> Test:
        if depth > _DEEPEST:
            raise self.error("nested too deep")
        if self.kind == "not":
            self.advance()
            return _not(self.single(depth + 1))
        if self.kind == "open":
            self.advance()
            test = self.either(depth + 1)
            self.expect("close", ")")
            return test
        if self.kind == "name":
            return self.call()
        found = "the end" if self.kind == "end" else repr(self.value)
        raise self.error(f"expected a function, found {found}")

    def expect(self, kind: str, text: str) -> None:
        if self.kind != kind:
            raise self.error(f"expected {text}")
        self.advance()

    def call(self) -> Test:
        name, start = self.value, self.start
        make = FUNCTIONS.get(name.lower())
        if make is None:
            raise self.error(f"unknown function {name}")
        self.advance()
        self.expect("open", "(")
        arguments: list[str] = []
        while self.kind in ("raw", "text"):
            arguments.append(self.value if self.kind == "raw" else self.unquoted())
            if not arguments[-1]:
                raise self.error(f"{name} has an empty argument")
            self.advance()
            if self.kind != "comma":
                break
            self.advance()
        self.expect("close", ") or a quoted text")
        try:
            return make(arguments, self._named.get(name.lower()))
        except ConfigError as error:
            raise RuleError(f"{name}: {error.message}", start + 1) from None

    def unquoted(self) -> str:
        try:
            return _unquote(self.value)
        except (ValueError, OverflowError):
            raise self.error("unknown escape in a text") from None


_ESCAPE = re.compile(
    r'\\(?:([abfnrtv\\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))'
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unquote(text: str) -> str:
    """The value of a Go string literal's inside. Raises ValueError."""

    def value(found: re.Match[str]) -> str:
        simple, *codes, octal, _ = found.groups()
        if simple:
            return _SIMPLE.get(simple, simple)
        code = next((int(c, 16) for c in codes if c), int(octal, 8) if octal else -1)
        return chr(code)

    return _ESCAPE.sub(value, text)


def _any(tests: list[Test]) -> Test:
    return lambda facts: any(test(facts) for test in tests)


def _all(tests: list[Test]) -> Test:
    return lambda facts: all(test(facts) for test in tests)


def _not(test: Test) -> Test:
    return lambda facts: not test(facts)
