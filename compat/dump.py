"""What ``-O`` prints: a Config as YAML or JSON, byte for byte as gost prints it.

YAML has durations in Go's notation and drops empty fields; JSON has nanoseconds. In both, fields
that gost always writes are there even when empty, and free maps are sorted.
"""

from __future__ import annotations

import json
from typing import Any

from compat.schema import ChainGroupEntry, Config
from compat.schema.fields import Field, fields_of
from compat.values import float_json
from compat.yaml_write import natural_key, write

__all__ = ["dump", "to_json", "to_yaml", "tree_of"]

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def dump(config: Config, output: str) -> str:
    """The text of ``-O output``: JSON for ``json``, YAML for anything else."""
    return to_json(config) if output == "json" else to_yaml(config)


def to_yaml(config: Any) -> str:
    """A configuration object as YAML."""
    return write(tree_of(config))


def to_json(config: Any) -> str:
    """A configuration object as JSON, two blanks of indent.

    Raises ValueError: a number that JSON cannot write (infinity).
    """
    return _json(tree_of(config, json_names=True), "\n") + "\n"


def tree_of(config: Any, *, json_names: bool = False) -> dict[str, Any]:
    """A configuration object as plain maps and lists, with the fields that get printed.

    Args:
        json_names: for JSON: its key names, missing lists are null, free maps sorted by code
            point; otherwise for YAML.
    """
    tree = {}
    for declared in fields_of(type(config)):
        value = getattr(config, declared.name)
        empty = not value and (value is None or declared.kind != "one")
        if empty and not declared.always:
            continue
        key = declared.json if json_names else declared.key
        tree[key] = _plain(declared, value, json_names)
    return tree


def _plain(declared: Field, value: Any, json_names: bool) -> Any:
    kind = declared.kind
    if kind == "one":
        return tree_of(value, json_names=json_names)
    if kind in ("many", "values", "chain_names"):
        if value is None:
            return None if json_names else []
        return [_item(item, json_names) for item in value]
    if kind in ("table", "headers"):
        return _sorted(value, json_names)
    return value


def _item(item: Any, json_names: bool) -> Any:
    if item is None:
        return None
    if type(item) is ChainGroupEntry and item.matcher is None and item.probe is None:
        return item.chain
    return tree_of(item, json_names=json_names)


def _sorted(value: Any, json_names: bool) -> Any:
    if isinstance(value, dict):
        order = sorted(value) if json_names else sorted(value, key=natural_key)
        return {key: _sorted(value[key], json_names) for key in order}
    if isinstance(value, list | tuple):
        return [_sorted(item, json_names) for item in value]
    return value


def _json(value: Any, newline: str) -> str:
    """``newline`` is the line break with the indent of the current depth."""
    if isinstance(value, dict) and value:
        inner = newline + "  "
        parts = [f"{_json_text(key)}: {_json(item, inner)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(parts) + newline + "}"
    if isinstance(value, list) and value:
        inner = newline + "  "
        return "[" + inner + ("," + inner).join(_json(v, inner) for v in value) + newline + "]"
    if isinstance(value, str):
        return _json_text(value)
    if isinstance(value, float):
        return float_json(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    return "null" if value is None else ("[]" if isinstance(value, list) else "{}")


def _json_text(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    if any("\ud800" <= char <= "\udfff" for char in quoted):
        quoted = "".join("\\ufffd" if "\ud800" <= c <= "\udfff" else c for c in quoted)
    for char, escaped in _HTML.items():
        if char in quoted:
            quoted = quoted.replace(char, escaped)
    return quoted
