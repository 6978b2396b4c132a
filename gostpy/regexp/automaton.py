"""The automaton behind an expression: built once, walked one character at a time.

The tree becomes a program of four instructions. A state is a set of places in the program; which
state follows on a character is found out when it first happens and kept. Both the program and what
is kept are bounded, so neither an expression nor a subject can use much time or memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from gostpy.errors import ConfigError
from gostpy.regexp.syntax import Alternative, Assertion, Chars, Node, Repeat, Sequence, parse

__all__ = ["LONGEST_SUBJECT", "Regexp"]

LONGEST_SUBJECT = 16_384
"""Characters; what is longer never matches."""

_LARGEST_PROGRAM = 5_000
_MOST_STEPS = 20_000
_WORD_CHARS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


@dataclass(slots=True)
class _Instruction:
    """Consume a character (chars), go both ways (other >= 0), or hold only here (kind)."""

    following: int
    other: int = -1
    chars: Chars | None = None
    kind: str = ""


@dataclass(slots=True, eq=False)
class _State:
    """Places in the program before the next character, and what came before it."""

    places: frozenset[int]
    before: str
    steps: dict[str, _State | None] = field(default_factory=dict)


class Regexp:
    """A compiled expression. Raises ConfigError: its syntax is wrong, or it is too large."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._program: list[_Instruction] = [_Instruction(0)]  # place 0: matched
        self._start = self._emit(parse(pattern), 0)
        self._forget()

    def __repr__(self) -> str:
        return f"Regexp({self.pattern!r})"

    def search(self, subject: str) -> bool:
        """Whether the expression matches anywhere in the subject."""
        if len(subject) > LONGEST_SUBJECT:
            return False
        state = self._initial
        for char in subject:
            try:
                following = state.steps[char]
            except KeyError:
                following = self._step(state, char)
            if following is None:
                return True
            state = following
        matched, _ = self._reach(state, "")
        return matched

    def _forget(self) -> None:
        self._states: dict[tuple[frozenset[int], str], _State] = {}
        self._known = 0
        self._initial = _State(frozenset({self._start}), "")

    def _step(self, state: _State, char: str) -> _State | None:
        """The state behind ``char``; None when the expression has matched before it."""
        if self._known >= _MOST_STEPS:
            self._forget()
        self._known += 1
        matched, waiting = self._reach(state, char)
        following: _State | None = None
        if not matched:
            places = frozenset(
                {self._start, *(i.following for i in waiting if i.chars and char in i.chars)}
            )
            key = (places, _kind(char))
            following = self._states.get(key)
            if following is None:
                following = self._states[key] = _State(places, key[1])
        state.steps[char] = following
        return following

    def _reach(self, state: _State, char: str) -> tuple[bool, list[_Instruction]]:
        """Whether the end is reached without a character, and what waits for one.

        Args:
            char: the character ahead, empty at the end of the subject.
        """
        ahead = _kind(char)
        seen = set(state.places)
        todo = list(seen)
        waiting = []
        while todo:
            place = todo.pop()
            if place == 0:
                return True, []
            instruction = self._program[place]
            if instruction.chars is not None:
                waiting.append(instruction)
                continue
            if instruction.kind and not _holds(instruction.kind, state.before, ahead):
                continue
            for following in (instruction.following, instruction.other):
                if following >= 0 and following not in seen:
                    seen.add(following)
                    todo.append(following)
        return False, waiting

    def _emit(self, node: Node, following: int) -> int:
        """Append the program of a node that goes on at ``following``; returns where it begins."""
        match node:
            case Chars():
                return self._append(_Instruction(following, chars=node))
            case Assertion(kind):
                return self._append(_Instruction(following, kind=kind))
            case Sequence(parts):
                for part in reversed(parts):
                    following = self._emit(part, following)
                return following
            case Alternative(options):
                begin = self._emit(options[-1], following)
                for option in options[-2::-1]:
                    begin = self._append(_Instruction(self._emit(option, following), begin))
                return begin
            case Repeat(body, low, high):
                return self._emit_repeat(body, low, high, following)

    def _emit_repeat(self, body: Node, low: int, high: int | None, following: int) -> int:
        begin = following
        if high is None:
            begin = self._append(_Instruction(-1, following))
            self._program[begin].following = self._emit(body, begin)
        else:
            for _ in range(high - low):
                begin = self._append(_Instruction(self._emit(body, begin), following))
        for _ in range(low):
            begin = self._emit(body, begin)
        return begin

    def _append(self, instruction: _Instruction) -> int:
        if len(self._program) >= _LARGEST_PROGRAM:
            raise ConfigError(f"expression {self.pattern[:80]!r} is too large")
        self._program.append(instruction)
        return len(self._program) - 1


@lru_cache(maxsize=1024)
def _kind(char: str) -> str:
    """Class of a neighbour: ``""`` none, ``n`` newline, ``w`` word, ``o`` other."""
    if not char:
        return ""
    return "n" if char == "\n" else "w" if char in _WORD_CHARS else "o"


def _holds(kind: str, before: str, ahead: str) -> bool:
    if kind == "text-begin":
        return not before
    if kind == "text-end":
        return not ahead
    if kind == "line-begin":
        return before in ("", "n")
    if kind == "line-end":
        return ahead in ("", "n")
    at_word_edge = (before == "w") is not (ahead == "w")
    return at_word_edge is (kind == "word")
