"""The reference of all keys, as docs/config.md shows it.

``python -m compat.schema.reference`` prints it; a test holds the page to it.
"""

from __future__ import annotations

from typing import Any

from compat.schema.fields import Field, fields_of
from compat.schema.root import Config

__all__ = ["reference"]

_TYPES = {
    "text": "text",
    "integer": "number",
    "flag": "true/false",
    "span": "duration",
    "texts": "list of text",
    "table": "map",
    "headers": "map of text",
}


def reference() -> str:
    """Markdown: one table per object, in the order in which they are met from the root."""
    order: list[type[Any]] = []
    _collect(Config, order)
    return "\n".join(_section(cls) for cls in order)


def _collect(cls: type[Any], order: list[type[Any]]) -> None:
    if cls in order:
        return
    order.append(cls)
    for declared in fields_of(cls):
        if declared.cls is not None:
            _collect(declared.cls, order)


def _section(cls: type[Any]) -> str:
    lines = [f"### {cls.__name__}", "", (cls.__doc__ or "").strip(), ""]
    lines += ["| key | type | remarks |", "| --- | --- | --- |"]
    lines += [f"| `{f.key}` | {_type(f)} | {_remarks(f)} |" for f in fields_of(cls)]
    return "\n".join([*lines, ""])


def _type(declared: Field) -> str:
    if declared.cls is None:
        return _TYPES[declared.kind]
    link = f"[{declared.cls.__name__}](#{declared.cls.__name__.lower()})"
    if declared.kind == "one":
        return link
    return f"list of text or {link}" if declared.kind == "chain_names" else f"list of {link}"


def _remarks(declared: Field) -> str:
    parts = []
    if declared.since != "3.2.6":
        parts.append(f"since {declared.since}")
    if declared.deprecated:
        parts.append("deprecated")
    if declared.json != declared.key:
        parts.append(f"`{declared.json}` in JSON")
    if declared.doc:
        parts.append(declared.doc.replace("|", "\\|"))
    return "; ".join(parts)


if __name__ == "__main__":
    print(reference())
