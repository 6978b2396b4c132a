"""Globs over host names, as bypass lists write them, compiled to a linear-time expression.

``*`` any characters (dots too) · ``?`` one character · ``[abc]``, ``[!abc]``, ``[a-z]`` one of a
set · ``{x,y}`` one of several globs, also nested · a backslash takes the next character as it is.

An unclosed brace ends with the glob and a backslash at the end is dropped, as in gost. A set may
mix ranges and characters (``[a-z0-9]``), which gost rejects.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gostpy.errors import ConfigError

__all__ = ["compile_glob"]

_MOST_ALTERNATIVES = 512
_DEEPEST = 16
_STAR = "*"

Sequence = tuple[str, ...]  # of _STAR and expressions that match exactly one character


@lru_cache(maxsize=256)
def compile_glob(glob: str) -> re.Pattern[str]:
    """An expression for ``fullmatch``. Raises ConfigError: not a glob, or too many alternatives."""
    alternatives, _ = _sequence(glob, 0, 0)
    return re.compile("|".join(_expression(a) for a in dict.fromkeys(alternatives)), re.DOTALL)


def _sequence(glob: str, at: int, depth: int) -> tuple[list[Sequence], int]:
    """Alternatives from ``at`` up to the end of this part, and where that is."""
    done: list[Sequence] = []
    current: list[Sequence] = [()]
    while at < len(glob):
        char = glob[at]
        at += 1
        if depth and char == "}":
            return done + current, at
        if depth and char == ",":
            done += current
            current = [()]
            continue
        if char == "{":
            if depth == _DEEPEST:
                raise ConfigError(f"{glob!r}: braces are nested more than {_DEEPEST} deep")
            inner, at = _sequence(glob, at, depth + 1)
            if len(current) * len(inner) > _MOST_ALTERNATIVES:
                raise ConfigError(f"{glob!r}: braces stand for too many alternatives")
            current = [head + tail for head in current for tail in inner]
            continue
        if char == "*":
            part = _STAR
        elif char == "?":
            part = "."
        elif char == "[":
            part, at = _set(glob, at)
        elif char == "\\":
            if at == len(glob):
                break
            part, at = re.escape(glob[at]), at + 1
        else:
            part = re.escape(char)
        current = [head + (part,) for head in current]
    return done + current, at


def _set(glob: str, at: int) -> tuple[str, int]:
    """The expression of a set; ``at`` is behind its bracket."""
    negated = glob[at : at + 1] == "!"
    at += negated
    chars: list[str] = []
    while at < len(glob) and glob[at] != "]":
        at += glob[at] == "\\" and at + 1 < len(glob)
        chars.append(glob[at])
        at += 1
    if at == len(glob) or not chars:
        raise ConfigError(f"{glob!r}: a set of characters is empty or not closed")
    if len(chars) < 3 or chars[1] != "-":
        members = "".join(map(re.escape, chars))
    else:
        members = _ranges(glob, chars)
    return f"[{'^' if negated else ''}{members}]", at + 1


def _ranges(glob: str, chars: list[str]) -> str:
    parts = []
    at = 0
    while at < len(chars):
        low = chars[at]
        if chars[at + 1 : at + 2] == ["-"] and at + 2 < len(chars):
            high = chars[at + 2]
            if high < low:
                raise ConfigError(f"{glob!r}: {low}-{high} is not a range")
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            parts.append(re.escape(low))
            at += 1
    return "".join(parts)


def _expression(sequence: Sequence) -> str:
    """Each star takes as little as it can and keeps it, so that nothing is tried twice."""
    segments: list[str] = [""]
    for part in sequence:
        if part is _STAR:
            segments.append("")
        else:
            segments[-1] += part
    first, *rest = segments
    if not rest:
        return f"(?:{first})\\Z"
    middle = "".join(f"(?>.*?{segment})" for segment in rest[:-1] if segment)
    return f"(?:{first}{middle}.*{rest[-1]})\\Z"
