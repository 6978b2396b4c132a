"""Every option key of every finished component is owned, or refused by name with a reason.

testdata/components holds gost's keys. A component is finished when it stands in the registry or in
the table of stacks; its options must own each spelling. ``REFUSED`` is what is known and refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compat.build import metadata
from compat.build.parts import side_options
from gostpy.channel.stacks import DIALERS, LISTENERS, part_options
from gostpy.options import options_of
from gostpy.registry import KNOWN, component, names

FOLDER = Path(__file__).resolve().parents[2] / "testdata/components"
METADATA = {
    "service": metadata.ServiceOptions,
    "hop": metadata.HopOptions,
    "node": metadata.NodeOptions,
    "chain": metadata.ChainOptions,
    "handler": metadata.HandlerOptions,
}

REFUSED: dict[tuple[str, str], str] = {}
"""(kind, key) -> why a key is not an option here."""


def table(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load((FOLDER / f"{name}.yml").read_text())


def finished(kind: str) -> set[str]:
    if kind in ("handler", "connector"):
        return set(names(kind))
    return set(LISTENERS if kind == "listener" else DIALERS)


def spellings(kind: str, name: str) -> dict[str, tuple[str, ...]]:
    """Options of a component: lower-cased canonical key -> lower-cased spellings in order."""
    found: list[tuple[str, ...]] = []
    if kind in ("handler", "connector"):
        found += [
            each.keys for each in options_of(side_options(kind, component(kind, name))).values()
        ]
    else:
        row = (LISTENERS if kind == "listener" else DIALERS)[name]
        for part in row.parts:
            for field, option in options_of(part_options(part, kind == "listener")).items():
                found.append(row.keys.get(field, option.keys))
    return {keys[0].lower(): tuple(key.lower() for key in keys) for keys in found if keys}


def expected(entry: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(line.removesuffix(" since 3.3").lower().split("|")) for line in entry["keys"]]


CASES = [
    pytest.param(kind, name, entry, id=f"{kind}-{name}")
    for kind in ("handler", "listener", "dialer", "connector")
    for first, entry in table(f"{kind}s").items()
    for name in (first, *entry.get("aliases", ()))
    if name in finished(kind)
]


@pytest.mark.parametrize(("kind", "name", "entry"), CASES)
def test_every_key_is_owned(kind: str, name: str, entry: dict[str, Any]) -> None:
    owned = spellings(kind, name)
    every = {key for keys in owned.values() for key in keys}
    missing = []
    for keys in expected(entry):
        if "<" in keys[0]:
            keys = tuple(key.split("<")[0] + "404" for key in keys)
        left = [key for key in keys if key not in every and (kind, key) not in REFUSED]
        missing += left
    assert not missing


@pytest.mark.parametrize(("kind", "name", "entry"), CASES)
def test_first_spelling_that_exists_wins(kind: str, name: str, entry: dict[str, Any]) -> None:
    """Spellings of one option are looked up in gost's order."""
    owned = spellings(kind, name)
    for keys in expected(entry):
        if len(keys) > 1 and keys[0] in owned:
            mine = [key for key in owned[keys[0]] if key in keys]
            assert mine == list(keys)


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_keys_are_owned(kind: str) -> None:
    owned = {key.lower() for each in options_of(METADATA[kind]).values() for key in each.keys}
    entry = table("metadata")[kind]
    assert not [key for keys in expected(entry) for key in keys if key not in owned]


@pytest.mark.parametrize("kind", ["handler", "listener", "dialer", "connector"])
def test_every_name_is_known(kind: str) -> None:
    """A name of gost that is not finished is told from a typo."""
    listed = {
        name
        for first, entry in table(f"{kind}s").items()
        for name in (first, *entry.get("aliases", ()))
    }
    assert listed <= KNOWN[kind]
