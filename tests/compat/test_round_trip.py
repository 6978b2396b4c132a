"""A configuration with every key of the schema, 3.3 included, survives dump and load."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat.dump import to_json, to_yaml
from compat.load import load_text
from compat.schema import Config, present
from compat.schema.fields import Field, fields_of
from compat.values import Duration
from compat.yaml_read import parse_fully
from compat.yaml_write import write

VALUES: dict[str, Any] = {
    "text": "text",
    "integer": 7,
    "flag": True,
    "span": Duration(90_000_000_000),
    "texts": ["a", "b"],
    "table": {"key": {"inner": [1, 1.5, None, "yes"]}},
    "headers": {"x-a": "1"},
}


def full(cls: type[Any]) -> Any:
    """An object with every field set."""

    def value(declared: Field) -> Any:
        if declared.cls is None:
            return VALUES[declared.kind]
        item = full(declared.cls)
        return item if declared.kind == "one" else [item]

    return cls(**{declared.name: value(declared) for declared in fields_of(cls)})


def count(cls: type[Any], seen: set[type[Any]]) -> int:
    """Number of declared keys of a class and all that it refers to."""
    if cls in seen:
        return 0
    seen.add(cls)
    fields = fields_of(cls)
    return len(fields) + sum(count(f.cls, seen) for f in fields if f.cls)


def test_the_schema_is_whole() -> None:
    seen: set[type[Any]] = set()
    assert count(Config, seen) == 400
    assert len(seen) == 69
    assert sum(f.since == "3.3" for cls in seen for f in fields_of(cls)) == 87


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_every_key(form: str) -> None:
    config = full(Config)
    text = to_yaml(config) if form == "yaml" else to_json(config)
    loaded, warnings = load_text(text, form)
    assert not warnings
    assert loaded == config
    assert (to_yaml(loaded) if form == "yaml" else to_json(loaded)) == text


def test_the_json_of_a_full_configuration_is_json() -> None:
    tree = json.loads(to_json(full(Config)))
    rewrite = tree["services"][0]["forwarder"]["nodes"][0]["http"]["rewrite"][0]
    assert rewrite == {"Match": "text", "Replacement": "text"}


def test_chain_groups_take_names_and_objects() -> None:
    text = (
        "services:\n  - name: s\n    handler:\n      type: http\n      chainGroup:\n"
        "        chains:\n          - a\n          - chain: b\n            matcher:\n"
        "              rule: Host(`x`)\n"
    )
    config, _ = load_text(text)
    assert to_yaml(config) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "8080", "yes", "~", "a: b", "#", " a", "a ", "- a", "'", '"', "\\", "é", "1:30"),
        *("a\nb", "a\n", "a\n\n", " a\nb", "a\n b", "a \nb", "\ta", "a\tb\nc", "😀", "\x07", "\r"),
        *("2001-01-01", "null", "<<", "=", "---", "...", "!x", "&x", "*x", "|", ">", "%", "@", "`"),
    ],
)
def test_text_survives_yaml(text: str) -> None:
    tree = {"key": text, "list": [text], "deep": {"list": [{"key": text}]}}
    assert parse_fully(write(tree), "t") == tree


def test_long_and_broken_keys() -> None:
    tree = {"k" * 129: {"a": 1}, "a\nb": [1, {"x": None}], "c\nd": "e"}
    assert parse_fully(write(tree), "t") == tree


def test_free_maps_sort_naturally() -> None:
    keys = ["k10", "k9", "k1a", "a", "B", "_", "1", "a b", "zz01", "zz1", "k09"]
    config, _ = load_text(json.dumps({"chains": [{"metadata": dict.fromkeys(keys, True)}]}), "json")
    lines = [line.strip().split(":")[0].strip('"') for line in to_yaml(config).splitlines()]
    assert lines[5:] == ["_", "1", "a", "a b", "b", "k1a", "k9", "k09", "k10", "zz1", "zz01"]


def test_missing_lists_and_nulls() -> None:
    config, _ = load_text("services: [null, {name: a}]\nchains: [{name: c}]")
    assert [service.name for service in present(config.services)] == ["a"]
    assert config.chains
    assert config.chains[0]
    assert config.chains[0].hops is None
    assert '"hops": null' in to_json(config)
    assert "hops: []" in to_yaml(config)
    assert to_json(Config()) == '{\n  "services": null\n}\n'
