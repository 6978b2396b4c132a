"""Lists of rules as text: one rule a line, ``#`` starts a comment, and each rule keeps its place.

Bypass, admission, hosts, limits and users are such lists. Their items come from the configuration,
from a file, from Redis or over HTTP; a verdict names the line that decided it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gostpy.errors import Position

__all__ = ["NO_LINE", "Line", "Remark", "as_lines", "read_lines"]

_NOWHERE = Position()


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a list and where it was written."""

    text: str
    position: Position = _NOWHERE

    def __str__(self) -> str:
        place = str(self.position)
        return f"{self.text!r} ({place})" if place else repr(self.text)


NO_LINE = Line("")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a line that is worth a warning; the line is used as gost would use it."""

    line: Line
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {self.message}"


def as_lines(items: Iterable[str | Line]) -> list[Line]:
    """Items of a configuration list: blanks around them go, empty items are left out."""
    lines = (item if isinstance(item, Line) else Line(item) for item in items)
    return [
        line if line.text == text else Line(text, line.position)
        for line in lines
        if (text := line.text.strip())
    ]


def read_lines(text: str, source: str = "", *, comments_at_start_only: bool = False) -> list[Line]:
    """The rules of a text, without comments and empty lines.

    Args:
        text: content of a file or answer; lines end with ``\\n`` or ``\\r\\n``.
        source: file name or URL for the positions.
        comments_at_start_only: ``#`` inside a line belongs to the rule (passwords may hold it).
    """
    lines = []
    for number, raw in enumerate(text.split("\n"), 1):
        if comments_at_start_only:
            rule = raw.strip()
            if rule.startswith("#"):
                continue
        else:
            rule = raw.partition("#")[0].strip()
        if rule:
            column = len(raw) - len(raw.lstrip()) + 1
            lines.append(Line(rule, Position(source, number, column)))
    return lines
