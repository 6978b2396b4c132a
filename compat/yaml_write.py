"""YAML output, byte for byte as gost prints it.

Writes plain trees of dict, list, str, bool, int, float, None, :class:`Duration` and
:class:`Timestamp`: block style, two blanks of indent, lists indented under their key. Maps of
type dict keep their order; callers sort free maps with :func:`natural_key`.
"""

from __future__ import annotations

import base64
import re
from functools import cmp_to_key, lru_cache
from typing import Any

from compat.values import Duration, Timestamp, float_yaml
from compat.yaml_scalar import is_text

__all__ = ["natural_key", "write"]

_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_OLD_BOOLS = frozenset(
    [
        "y",
        "Y",
        "yes",
        "Yes",
        "YES",
        "on",
        "On",
        "ON",
        "n",
        "N",
        "no",
        "No",
        "NO",
        "off",
        "Off",
        "OFF",
    ]
)
_FIRST = frozenset("#,[]{}&*!|>'\"%@`")
_BREAKS = "\r\n\x85\u2028\u2029"
_SPECIAL = re.compile(
    "[^\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]"  # what the original calls printable
)
_SIMPLE = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.\-]*")
_ESCAPES = {
    0x00: "0",
    0x07: "a",
    0x08: "b",
    0x09: "t",
    0x0A: "n",
    0x0B: "v",
    0x0C: "f",
    0x0D: "r",
    0x1B: "e",
    0x22: '"',
    0x5C: "\\",
    0x85: "N",
    0xA0: "_",
    0x2028: "L",
    0x2029: "P",
}


def write(tree: Any) -> str:
    """One YAML document."""
    lines: list[str] = []
    if isinstance(tree, dict) and tree:
        _write_map(tree, 0, "", lines)
    elif isinstance(tree, list) and tree:
        _write_list(tree, 0, "", lines)
    else:
        lines.append(_inline(tree, 0) + "\n")
    return "".join(lines)


def _write_map(tree: dict[str, Any], indent: int, lead: str, lines: list[str]) -> None:
    """``lead`` is written instead of the indent of the first line (``  - `` in a list)."""
    blanks = " " * indent
    lead = lead or blanks
    for key, value in tree.items():
        if "\n" in key or _length(key) > 128 or any(mark in key for mark in _BREAKS):
            lines.append(f"{lead}? {_inline(key, indent)}\n")
            lead = f"{blanks}: "
            _write_value(value, indent, lead, lines, in_key=True)
        else:
            _write_value(value, indent, f"{lead}{_key(key)}:", lines)
        lead = blanks


def _write_value(
    value: Any, indent: int, lead: str, lines: list[str], *, in_key: bool = False
) -> None:
    inner = indent + 2
    if isinstance(value, dict) and value:
        if in_key:
            _write_map(value, inner, lead, lines)
            return
        lines.append(lead + "\n")
        _write_map(value, inner, "", lines)
    elif isinstance(value, list) and value:
        if in_key:
            _write_list(value, inner, lead, lines)
            return
        lines.append(lead + "\n")
        _write_list(value, inner, "", lines)
    else:
        gap = "" if in_key else " "
        lines.append(f"{lead}{gap}{_inline(value, indent)}\n")


def _write_list(items: list[Any], indent: int, lead: str, lines: list[str]) -> None:
    blanks = " " * indent
    lead = lead or blanks
    for item in items:
        lead += "- "
        if isinstance(item, dict) and item:
            _write_map(item, indent + 2, lead, lines)
        elif isinstance(item, list) and item:
            _write_list(item, indent + 2, lead, lines)
        else:
            lines.append(f"{lead}{_inline(item, indent)}\n")
        lead = blanks


def _inline(value: Any, indent: int) -> str:
    """A scalar or an empty collection; a literal block has its lines indented below."""
    if isinstance(value, str):
        return value if isinstance(value, Timestamp) else _text(value, indent)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Duration):
        return _text(str(value), indent)
    if isinstance(value, float):
        return float_yaml(value)
    if isinstance(value, dict | list):
        return "[]" if isinstance(value, list) else "{}"
    return str(value)


def _text(value: str, indent: int) -> str:
    if "\n" in value or any(mark in value for mark in _BREAKS[1:]):
        return _broken(value, indent)
    return _one_line(value)


@lru_cache(maxsize=4096)
def _key(key: str) -> str:
    return _one_line(key)


def _one_line(value: str) -> str:
    """Text without line breaks: plain, single or double quotes."""
    if _SIMPLE.fullmatch(value) and is_text(value) and value not in _OLD_BOOLS:
        return value
    if _invalid(value):
        return _binary(value, 0)
    if not is_text(value) or value in _OLD_BOOLS or _BASE60.fullmatch(value):
        return _double(value)
    if _SPECIAL.search(value):
        return _double(value)
    return value if _plain_allowed(value) else _single(value)


def _plain_allowed(value: str) -> bool:
    if value[0] == " " or value[-1] == " " or value.startswith(("---", "...")):
        return False
    if value[0] in _FIRST or (value[0] in "?:-" and (len(value) == 1 or value[1] in " \t")):
        return False
    return not (": " in value or value[-1] == ":" or " #" in value)


def _single(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _double(value: str) -> str:
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(char: str) -> str:
    code = ord(char)
    if char not in '"\\' and char not in _BREAKS and not _SPECIAL.match(char):
        return char
    if code in _ESCAPES:
        return "\\" + _ESCAPES[code]
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _broken(value: str, indent: int) -> str:
    """Text with line breaks: a literal block where possible."""
    if _invalid(value):
        return _binary(value, indent)
    unprintable = _SPECIAL.search(value.replace("\t", ""))
    space_break = re.search(f" [{_BREAKS}]", value)
    if "\n" not in value:
        break_space = re.search(f"[{_BREAKS}] ", value)
        if unprintable or space_break or break_space or "\t" in value:
            return _double(value)
        return _folded_single(value, indent)
    if value[-1] == " " or space_break or unprintable:
        return _double(value)
    return _literal(value, indent)


def _literal(value: str, indent: int) -> str:
    hint = "2" if value[0] == " " or value[0] in _BREAKS else ""
    if value[-1] not in _BREAKS:
        hint += "-"
    elif len(value) == 1 or value[-2] in _BREAKS:
        hint += "+"
    return f"|{hint}{_block(value, indent + 2)}"


def _block(value: str, indent: int) -> str:
    """The lines of a literal block, with the leading line break of the first one.

    The original puts a break before a line only when the previous character was not one, so an
    empty first line is lost; so it is here.
    """
    out: list[str] = []
    fresh, breaks = False, True
    for char in value:
        if char in _BREAKS:
            out.append(char)
            fresh = breaks = True
            continue
        if breaks:
            out.append(("" if fresh else "\n") + " " * indent)
        out.append(char)
        fresh = breaks = False
    text = "".join(out)
    return text[:-1] if text.endswith("\n") else text


def _folded_single(value: str, indent: int) -> str:
    """Single quotes around the two rare line breaks that are not ``\\n``."""
    out, breaks = [], False
    for char in value.replace("'", "''"):
        if breaks and char not in _BREAKS:
            out.append(" " * (indent + 2))
        breaks = char in _BREAKS
        out.append(char)
    return "'" + "".join(out) + "'"


def _invalid(value: str) -> bool:
    """Whether the text came from bytes that are not UTF-8."""
    return any("\ud800" <= char <= "\udfff" for char in value)


def _binary(value: str, indent: int) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    encoded = base64.b64encode(raw).decode("ascii")
    if len(encoded) <= 70:
        return f"!!binary {encoded}"
    lines = "".join(encoded[at : at + 70] + "\n" for at in range(0, len(encoded), 70))
    return "!!binary " + _literal(lines, indent)


def _length(key: str) -> int:
    return len(key) if key.isascii() else len(key.encode("utf-8", "surrogateescape"))


def natural_key(text: str) -> Any:
    """Sort key of free maps: letters after other characters, digits by value (k9 before k10)."""
    return _sort_key(text)


def _compare(a: str, b: str) -> int:
    return -1 if _less(a, b) else int(_less(b, a))


_sort_key = cmp_to_key(_compare)


def _less(a: str, b: str) -> bool:
    digits = False
    for at, (x, y) in enumerate(zip(a, b, strict=False)):
        if x == y:
            digits = x.isdecimal()
            continue
        if x.isalpha() or y.isalpha():
            if x.isalpha() and y.isalpha():
                return x < y
            return x.isalpha() if digits else y.isalpha()
        return _less_numbers(a, b, at)
    return len(a) < len(b)


def _less_numbers(a: str, b: str, at: int) -> bool:
    first, second = _digits(a, at), _digits(b, at)
    ones = ""
    if a[at] == "0" or b[at] == "0":
        before = at - 1
        while before >= 0 and a[before].isdecimal():
            if a[before] != "0":
                ones = "1"
                break
            before -= 1
    left, right = int(ones + first or "0"), int(ones + second or "0")
    if left != right:
        return left < right
    if len(first) != len(second):
        return len(first) < len(second)
    return a[at] < b[at]


def _digits(text: str, at: int) -> str:
    end = at
    while end < len(text) and text[end].isdecimal():
        end += 1
    return text[at:end]
