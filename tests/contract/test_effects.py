"""Every option that has an effect is in the mark of a test that sees it.

``@pytest.mark.effect("listener:kcp", "kcp.mtu", "kcp.sndwnd")`` on a test says which options it is
about. An option belongs to a part, so a test of one stack counts for all that share the part.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.build.parts import side_options
from gostpy.channel.stacks import DIALERS, LISTENERS, part_options
from gostpy.options import options_of
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.sniffing import InspectionOptions
from gostpy.registry import component, names

TESTS = Path(__file__).resolve().parents[1]

PROTOCOLS = {
    "handler": "http2 http3 redirect redu serial sshd tap tun tungo",
    "connector": "http2 serial sshd",
}
"""Handlers and connectors that go with a data channel of their own."""

LATER = frozenset(options_of(AccountingOptions)) | frozenset(options_of(InspectionOptions))
"""Fields for observers and limiters of clients, for records and for TLS interception, which no
handler uses yet."""


def marks() -> Iterator[tuple[str, str]]:
    """(``listener:kcp``, key) of every mark in the tests."""
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "mark.effect" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.effect"):
                try:
                    name, *keys = (ast.literal_eval(argument) for argument in node.args)
                except ValueError:
                    raise AssertionError(f"{path.name}:{node.lineno}: only literals") from None
                yield from ((name, key) for key in keys)


def declared(name: str) -> dict[str, tuple[str, str]]:
    """Lower-cased spelling -> (who declares it, field) of a component such as ``listener:kcp``."""
    kind, _, word = name.partition(":")
    found: dict[str, tuple[str, str]] = {}
    if kind in ("handler", "connector"):
        cls = side_options(kind, component(kind, word))
        sources = [(f"{cls.__module__}.{cls.__qualname__}", cls, {})]
    else:
        row = (LISTENERS if kind == "listener" else DIALERS)[word]
        classes = [part_options(part, kind == "listener") for part in row.parts]
        sources = [(f"{cls.__module__}.{cls.__qualname__}", cls, row.keys) for cls in classes]
    for owner, cls, keys in sources:
        for field, option in options_of(cls).items():
            if option.effect:
                for key in keys.get(field, option.keys):
                    found.setdefault(key.lower(), (owner, field))
    return found


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str]]:
    found = set()
    for name, key in marks():
        known = declared(name)
        assert key.lower() in known, f"a mark says {name} {key}, which is no option with an effect"
        found.add(known[key.lower()])
    return found


ALL = [
    *(f"listener:{name}" for name in LISTENERS),
    *(f"dialer:{name}" for name in DIALERS),
    *(
        f"{kind}:{name}"
        for kind, words in PROTOCOLS.items()
        for name in words.split()
        if name in names(kind)
    ),
]


@pytest.mark.parametrize("name", ALL)
def test_every_effect_is_seen(name: str, seen: set[tuple[str, str]]) -> None:
    missing = sorted(
        {
            option: key
            for key, option in reversed(declared(name).items())
            if option not in seen and option[1] not in LATER
        }.values()
    )
    assert not missing
